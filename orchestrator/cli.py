"""The command `pare`: parse, call, print. Whatever is heavy is imported inside the command that needs it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli_cluster import app as cluster_app
from orchestrator.cli_jobs import AddressOption, cancel, jobs_of, logs, submit, wait
from orchestrator.cli_modules import app as modules_app
from orchestrator.cli_nightly import nightly
from orchestrator.cli_options import (
    DEFAULT_STORE,
    ExecutorOption,
    Group,
    JsonOption,
    OtherStoreOption,
    StoreOption,
    TrackingOption,
    existing_store,
    print_json,
)
from orchestrator.cli_runs import export, morph, rerun

if TYPE_CHECKING:
    from orchestrator.spec import Study
    from orchestrator.study_run import StudySummary

_EPILOG = (
    "Exit codes: 0 done; 1 the study ended with failed runs; 2 wrong study file or command line; 3 data; "
    "4 store; 5 a package or server is missing; 130 interrupted, go on with `pare resume`."
)


app = typer.Typer(
    cls=Group,
    help="Compare methods that make neural networks smaller, on equal terms.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(modules_app, name="modules")
app.add_typer(cluster_app, name="cluster")


def main() -> None:
    """Entry point of the command."""
    app()


@app.command()
def validate(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="Study files.")],
    as_json: JsonOption = False,
) -> None:
    """Check study files.

    Shows every fault with its line and its mend; what this machine lacks is a warning.
    """
    from dataclasses import asdict

    from orchestrator.errors import StudyInvalid
    from orchestrator.machine import machine_faults
    from orchestrator.spec.study_file import load_study

    checked: list[dict[str, Any]] = []
    for path in studies:
        try:
            study = load_study(path)
        except StudyInvalid as error:
            checked.append({"file": str(path), "valid": False, "faults": [asdict(fault) for fault in error.faults]})
            if not as_json:
                print(error, file=sys.stderr)
            continue
        warnings = machine_faults(study)
        checked.append(
            {
                "file": str(path),
                "valid": True,
                "study": study.name,
                "cells": [cell.name for cell in study.cells],
                "warnings": [asdict(warning) for warning in warnings],
            }
        )
        if not as_json:
            trials = sum(cell.num_trials for cell in study.cells)
            print(f"{path}: ok: {len(study.cells)} cells, {trials} trials, {len(study.seeds)} seeds")
            for warning in warnings:
                print(f"{warning} (on this machine)", file=sys.stderr)
    if as_json:
        print_json(checked)
    if not all(one["valid"] for one in checked):
        raise typer.Exit(2)


@app.command()
def plan(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file.")],
    as_json: JsonOption = False,
    executor: ExecutorOption = None,
    store: OtherStoreOption = None,
) -> None:
    """Show what a study would do and cost.

    Loads the data and trains a few batches to learn how fast this machine is.
    """
    from orchestrator.display import show_plan
    from orchestrator.plan import make_plan

    found = make_plan(_loaded(study, executor=executor, store=store, tracking=None))
    if as_json:
        print_json(found.to_json())
    else:
        show_plan(found)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file.")],
    executor: ExecutorOption = None,
    store: OtherStoreOption = None,
    tracking: TrackingOption = None,
) -> None:
    """Run a study, or go on with it.

    Progress goes to stderr, results to stdout.
    """
    _run(_loaded(study, executor=executor, store=store, tracking=tracking))


@app.command()
def resume(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study file, or name of a study in the store.")],
    executor: ExecutorOption = None,
    store: OtherStoreOption = None,
    tracking: TrackingOption = None,
) -> None:
    """Go on with an interrupted study.

    By its file, or from anywhere by its name and --store.
    """
    if _is_file(study):
        _run(_loaded(Path(study), executor=executor, store=store, tracking=tracking))
        return
    from orchestrator.status import stored_study

    place = store or os.environ.get("PAREDOWN_STORE") or DEFAULT_STORE
    stored = stored_study(existing_store(place), study)
    _run(_changed(stored, executor=executor, store=place, tracking=tracking))


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of a study; without it, all in the store.")
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    address: AddressOption = None,
) -> None:
    """Show how far studies are.

    Works while they run, from any machine that reaches the store; with a cluster's address its jobs as well.
    """
    from orchestrator.display import show_status
    from orchestrator.status import study_status

    opened = existing_store(store)
    found = [study_status(opened, each) for each in ([name] if name else opened.study_names())]
    if as_json:
        print_json([one.to_json() for one in found])
        return
    jobs = jobs_of([one.study for one in found], address) if address else []
    for one in found:
        show_status(one)
        for job in jobs:
            if job.study == one.study:
                print(f"job {job.id}: {job.status}{f', since {job.started}' if job.status == 'running' else ''}")
    if not found:
        print(f"no studies in {opened}")


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a study.")],
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[Path | None, typer.Option(help="Where to write it instead of beside the study.")] = None,
) -> None:
    """Write a study's report anew, print its path."""
    from orchestrator.report import write_report

    print(write_report(existing_store(store), name, output=output))


for command in (nightly, submit, logs, cancel, wait, rerun, export, morph):
    app.command()(command)


@app.command()
def sync(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a study.")],
    store: StoreOption = DEFAULT_STORE,
    tracking: TrackingOption = None,
) -> None:
    """Bring MLflow up to what the store holds."""
    from orchestrator.status import stored_study
    from orchestrator.tracking import sync as sync_study
    from orchestrator.tracking.connection import without_password

    opened = existing_store(store)
    uri = tracking or stored_study(opened, name).tracking
    sync_study(opened, name, uri)
    print(f"{name}: MLflow ({without_password(uri)}) holds what the store holds")


@app.command()
def ui(
    store: Annotated[Path, typer.Option(help="Local store folder.")] = Path(DEFAULT_STORE),
    port: Annotated[int | None, typer.Option(help="Any free one unless given.", min=1, max=65535)] = None,
) -> None:
    """Show a store's runs in MLflow.

    Serves this machine only, until Ctrl-C.
    """
    from orchestrator.tracking_server import tracking_server

    def stop(signum: int, frame: object) -> None:
        del frame
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    print("starting MLflow ...", file=sys.stderr)
    with tracking_server(store, port=port) as (address, process):
        print(f"{address}  (stop with Ctrl-C)", flush=True)
        try:
            process.wait()
        except KeyboardInterrupt:
            print("stopping MLflow ...", file=sys.stderr)


@app.command("compare")
def compare_studies(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY STUDY...", help="Names of studies; STORE:NAME for one elsewhere.")
    ],
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Compare the methods of several studies.

    On the tasks they share, by the seeds they share, as if they had been one study.
    """
    from dataclasses import asdict

    from orchestrator.comparison import StudyPlace, compare_across
    from orchestrator.report import summary_lines

    places = []
    for text in studies:
        elsewhere, _, name = text.rpartition(":")
        # Studies of one name in two stores are told apart by where they lie.
        label = text if sum(other.rpartition(":")[2] == name for other in studies) > 1 else name
        places.append(StudyPlace(existing_store(elsewhere or store), name, label))
    found = compare_across(places)
    if as_json:
        print_json(asdict(found))
        return
    for line in [*summary_lines(found.comparison, {}), *(f"Note: {note}." for note in found.notes)]:
        print(line)


@app.command()
def doctor(
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    tracking: Annotated[str, typer.Option(help="As in a study.")] = "sqlite",
) -> None:
    """Check this machine.

    Versions, memory, devices, store, tracking, Ray; each finding says how to mend it.
    """
    from orchestrator.display import show_checks
    from orchestrator.doctor import examine

    checks = examine(store=store, tracking=tracking)
    if as_json:
        print_json([check.to_json() for check in checks])
    else:
        show_checks(checks)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(5)


def _run(study: Study) -> None:
    from orchestrator.progress import watching
    from orchestrator.study_run import run_study

    with watching(sys.stderr) as observer:
        summary = run_study(study, observer=observer)
    _print_summary(summary)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _print_summary(summary: StudySummary) -> None:
    from orchestrator.progress import duration

    for line in summary.lines:
        print(line)
    cached = f" ({summary.cached} of these from the store)" if summary.cached else ""
    counts = f"{summary.finished} finished{cached}, {summary.stopped_early} stopped early, {summary.failed} failed"
    nothing = summary.finished == summary.stopped_early == 0
    done = f"no run was left to do, {summary.failed} failed" if nothing else f"runs: {counts}"
    print(f"{summary.study}: {summary.status.replace('_', ' ')} after {duration(summary.seconds)}; {done}")
    if summary.report:
        print(f"report: {summary.report}")
    if summary.tracking_problem:
        print(f"MLflow is behind: {summary.tracking_problem}; `pare sync {summary.study}` mends it", file=sys.stderr)


def _loaded(path: Path, *, executor: str | None, store: str | None, tracking: str | None) -> Study:
    from orchestrator.spec.study_file import load_study

    return _changed(load_study(path), executor=executor, store=store, tracking=tracking)


def _changed(study: Study, **options: str | None) -> Study:
    """The study with what the command line says instead.

    Raises:
        typer.BadParameter: An option's value is not valid.
    """
    from pydantic import ValidationError

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return study.with_changes(**given) if given else study
    except ValidationError as error:
        from orchestrator.spec import StudySettings
        from orchestrator.spec.validation import problems

        (name, *_), message = problems(error, StudySettings)[0]
        raise typer.BadParameter(message, param_hint=f"--{name}") from error


def _is_file(study: str) -> bool:
    return study.endswith((".yaml", ".yml")) or Path(study).is_file()
