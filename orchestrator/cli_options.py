"""What the commands share: options, how errors are shown, the store they look into."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.errors import PareError

if TYPE_CHECKING:
    from orchestrator.store import Store

DEFAULT_STORE = "./pare-results"

StoreOption = Annotated[str, typer.Option(help="Folder or s3://bucket/path.", envvar="PAREDOWN_STORE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TrackingOption = Annotated[
    str | None, typer.Option(help="sqlite, none, http://... or sqlite:///...; instead of the study's.")
]
ExecutorOption = Annotated[
    str | None, typer.Option(help="inline, ray, ray://host:port or auto; instead of the study's.")
]
OtherStoreOption = Annotated[str | None, typer.Option("--store", help="Instead of the study's store.")]
ClassesOption = Annotated[
    list[str],
    typer.Option(
        "--class",
        metavar="NAME",
        help="A class, by name; give it once for each. Of several runs RUN_KEY:NAME takes the module of that run.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(help="safetensors, artefact, torch or onnx; by the output's suffix unless given, or safetensors."),
]
OutputOption = Annotated[Path | None, typer.Option(help="File or folder; the current folder unless given.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what lies there.")]
LatencyOption = Annotated[bool, typer.Option("--latency", help="Time it on this CPU, dense and sparse.")]


class Group(TyperGroup):
    """Shows what a user can mend as a message, not as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PareError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from error


def existing_store(uri: str) -> Store:
    """A store that must be there, for looking into."""
    from orchestrator.store import Store

    return Store.open(uri, read_only=True)


def print_json(value: Any) -> None:
    """Print a value for scripts."""
    print(json.dumps(value, indent=2))
