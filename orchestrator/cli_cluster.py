"""The commands under `pare cluster`: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli_options import Group, JsonOption, print_json

app = typer.Typer(
    cls=Group,
    help="Ray clusters: check the description of one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For `ray up`.")] = Path("cluster.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Check a cluster's description.

    By Ray's own rules and ours: open dashboards, missing tokens, versions that are not pinned, addresses that nodes
    cannot reach. Nothing is started.
    """
    from orchestrator.cluster.check import check_cluster

    findings = check_cluster(file)
    faults = sum(one.level == "fault" for one in findings)
    if as_json:
        print_json({"file": str(file), "valid": not faults, "findings": [one.to_json() for one in findings]})
    else:
        for one in findings:
            print(one, file=sys.stderr)
        if not faults:
            print(f"{file}: ok")
    if faults:
        raise typer.Exit(2)
