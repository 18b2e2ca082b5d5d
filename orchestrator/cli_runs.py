"""The commands on one finished run: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli_options import (
    DEFAULT_STORE,
    ForceOption,
    FormatOption,
    JsonOption,
    LatencyOption,
    OutputOption,
    StoreOption,
    existing_store,
    print_json,
)


def rerun(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a finished run, as in the report.")],
    store: StoreOption = DEFAULT_STORE,
    into: Annotated[Path, typer.Option(help="Second store, for the repeated run.")] = Path("./pare-rerun"),
    device: Annotated[
        str | None, typer.Option(help="As PyTorch writes it, e.g. cpu or cuda; as recorded unless given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch; as recorded unless given.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a stored run again and compare.

    The same machine, device and number of threads give the same weights.
    """
    from orchestrator.display import show_rerun
    from orchestrator.rerun import rerun as run_again

    found = run_again(key, store=existing_store(store), into=into, device=device, threads=threads)
    if as_json:
        print_json({name: getattr(found, name).model_dump(mode="json") for name in ("recorded", "repeated")})
    else:
        show_rerun(found)


def export(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a finished run, as in the report.")],
    variant: Annotated[str | None, typer.Option(help="Label of the network; the run's headline unless given.")] = None,
    format: FormatOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = None,
    force: ForceOption = False,
    latency: LatencyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a network to a file to deploy.

    With a description beside it; read back and compared before it gets its name.
    """
    from orchestrator.display import show_export
    from orchestrator.export import export_network

    made = export_network(
        key,
        store=existing_store(store),
        variant=variant,
        format=format,
        output=output,
        force=force,
        latency=latency,
    )
    if as_json:
        print_json(made.to_json())
    else:
        show_export(made)


def morph(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a finished run of metamorphic.")],
    width: Annotated[float, typer.Option(help="Share of the full width, above 0; above 1 is wider than trained.")],
    depth: Annotated[
        str | None,
        typer.Option(
            help="Residual blocks to keep of each stage: one number for all, or e.g. 5,4,5; all unless given."
        ),
    ] = None,
    format: FormatOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[
        Path | None, typer.Option("--out", "--output", "-o", help="File or folder; the current folder unless given.")
    ] = None,
    force: ForceOption = False,
    latency: LatencyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a network of any width to a file.

    Drawn from the run's generator in seconds, without training; measured on validation samples, described beside it.
    """
    from orchestrator.display import show_morphed
    from orchestrator.morphing import morph as draw

    made = draw(
        key,
        store=existing_store(store),
        width=width,
        depth=_blocks(depth),
        format=format,
        output=output,
        force=force,
        latency=latency,
    )
    for note in made.notes:
        print(note, file=sys.stderr)
    if as_json:
        print_json(made.to_json())
    else:
        show_morphed(made)


def _blocks(depth: str | None) -> list[int] | None:
    """What `--depth` says.

    Raises:
        typer.BadParameter: It is no list of numbers.
    """
    if depth is None:
        return None
    try:
        return [int(count) for count in depth.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"'{depth}' is no list of whole numbers such as 5,4,5", param_hint="--depth"
        ) from error
