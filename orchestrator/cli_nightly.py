"""The command `pare nightly`: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli_options import ExecutorOption, JsonOption, OtherStoreOption, TrackingOption

if TYPE_CHECKING:
    from orchestrator.nightly.model import Night
    from orchestrator.spec import Study

_DATE = r"^\d{4}-\d\d-\d\d$"


def nightly(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file, with or without `nightly:`.")],
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Of the night; today, UTC, unless given.")
    ] = None,
    store: OtherStoreOption = None,
    executor: ExecutorOption = None,
    tracking: TrackingOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder that gets night.json, junit.xml, night.md and history.png as well.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Run nothing: have later nights compared with the one of --date.")
    ] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Run nothing: have no night compared with it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study as tonight's gate.

    Trains anew, compares with the last accepted nights by paired seeds. Exits 0 for ok, improved and flaky, 1 for
    regressed and broken.
    """
    import re

    from orchestrator.nightly.history import History
    from orchestrator.nightly.running import run_night
    from orchestrator.progress import watching
    from orchestrator.spec.study_file import load_study
    from orchestrator.store import Store

    if date is not None and not re.match(_DATE, date):
        raise typer.BadParameter(f"'{date}' is no date such as 2026-01-31", param_hint="--date")
    if accept and reject:
        raise typer.BadParameter("give one of --accept and --reject", param_hint="--accept")
    options = {"store": store, "executor": executor, "tracking": tracking}
    loaded = load_study(study).with_changes(**{name: value for name, value in options.items() if value is not None})
    if accept or reject:
        if date is None:
            raise typer.BadParameter("say which night", param_hint="--date")
        night = History(Store.open(loaded.store), loaded.name).accept(date, accepted=accept)
        print(f"{night.study} {night.date}: {night.verdict}, {'accepted' if night.accepted else 'not accepted'}")
        return
    with watching(sys.stderr) as observer:
        night = run_night(loaded, date=date, observer=observer)
    _tell(loaded, night, output=output, as_json=as_json)
    if night.verdict in ("regressed", "broken"):
        raise typer.Exit(1)


def _tell(study: Study, night: Night, *, output: Path | None, as_json: bool) -> None:
    from orchestrator.nightly.publishing import files_of, post
    from orchestrator.nightly.reports import summary

    files = files_of(study, night)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (output / name).write_bytes(data)
    if as_json:
        print(night.model_dump_json(indent=2))
    else:
        for line in summary(night):
            print(line)
    if (
        study.nightly is not None
        and study.nightly.webhook is not None
        and (problem := post(study.nightly.webhook, night))
    ):
        print(problem, file=sys.stderr)
