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


@app.command("patch")
def patch_network(
    weak: Annotated[str, typer.Argument(metavar="WEAK_RUN", help="Key of the run whose network is to be mended.")],
    strong: Annotated[str, typer.Option("--with", metavar="RUN_KEY", help="Key of a run with class modules.")],
    class_name: Annotated[str, typer.Option("--class", metavar="NAME", help="The class whose module is taken.")],
    weak_class: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What the weak run calls that class, if not the same.")
    ] = None,
    way: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="calibrated, score or trained_head; score for modules with heads unless given, else calibrated.",
        ),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Of the weak run; its headline unless given.")] = None,
    format: FormatOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = None,
    force: ForceOption = False,
    latency: LatencyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mend a weak network with a class module of another.

    Measured on the weak run's validation samples before and after, written with a card that says all of it. The weak
    network itself is not changed; `pare modules unpatch` gives it back.
    """
    from orchestrator.class_modules.patching import export_patched
    from orchestrator.class_modules.patching_display import show_patched
    from orchestrator.class_modules.weak import parse_way

    made = export_patched(
        weak,
        strong,
        class_name,
        store=existing_store(store),
        weak_class=weak_class,
        way=parse_way(way),
        variant=variant,
        format=format,
        output=output,
        force=force,
        latency=latency,
    )
    if as_json:
        print_json(made.to_json())
    else:
        show_patched(made)


@app.command("unpatch")
def unpatch_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="That `pare modules patch` wrote.")],
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Take a patch off again: write the weak network as it was."""
    from orchestrator.class_modules.patching import unpatch

    print(f"wrote {unpatch(file, output=output, force=force)}")


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
