"""The commands under `pare modules`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli_options import (
    DEFAULT_STORE,
    ClassesOption,
    ForceOption,
    FormatOption,
    Group,
    JsonOption,
    LatencyOption,
    OutputOption,
    StoreOption,
    existing_store,
    print_json,
)

app = typer.Typer(
    cls=Group,
    help="Class modules of finished runs: list them, look into them, compose them, write them to files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_KeyArgument = Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a run, as `pare modules list` has it.")]


_KeysArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN_KEY", help="Key of a run, as `pare modules list` has it; or of several runs."),
]


@app.command("list")
def list_modules(as_json: JsonOption = False, store: StoreOption = DEFAULT_STORE) -> None:
    """List the runs that have class modules."""
    from orchestrator.class_modules import libraries
    from orchestrator.class_modules.display import show_libraries

    opened = existing_store(store)
    found = libraries(opened)
    if as_json:
        print_json([line.to_json() for line in found])
    else:
        show_libraries(found, store=str(opened))


@app.command("show")
def show_modules(
    key: _KeyArgument,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show a run's class modules.

    Sizes, units, scores, and what compositions of them are worth.
    """
    from orchestrator.class_modules import modules_of
    from orchestrator.class_modules.display import show_library

    found = modules_of(existing_store(store), key)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_library(key, found)


@app.command("compose")
def compose_modules(
    keys: _KeysArgument,
    classes: ClassesOption,
    format: FormatOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = None,
    force: ForceOption = False,
    latency: LatencyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a network for some classes to a file.

    Composed of their modules without training, measured on validation samples, described beside it. Of several runs
    each class gets the module with the best F1; these must have modules whose scores compare across networks
    (gradsplitter).
    """
    from orchestrator.class_modules import export_across, export_composition
    from orchestrator.class_modules.display import show_composition, show_composition_across

    opened = existing_store(store)
    if len(keys) == 1:
        made = export_composition(
            keys[0], classes, store=opened, format=format, output=output, force=force, latency=latency
        )
        if as_json:
            print_json(made.to_json())
        else:
            show_composition(made)
        return
    across = export_across(keys, classes, store=opened, format=format, output=output, force=force, latency=latency)
    if as_json:
        print_json(across.to_json())
    else:
        show_composition_across(across)


@app.command("export")
def export_modules(
    key: _KeyArgument,
    format: FormatOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[Path | None, typer.Option(help="Folder; the current one unless given.")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write all modules of a run to files.

    Each to a file of its own, with a description beside it.
    """
    from orchestrator.class_modules import export_all
    from orchestrator.class_modules.display import show_composition

    made = export_all(key, store=existing_store(store), format=format, output=output, force=force)
    if as_json:
        print_json([one.to_json() for one in made])
        return
    for one in made:
        show_composition(one)
