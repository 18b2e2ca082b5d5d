"""The command `pare`: parse, call, print. Whatever is heavy is imported inside the command that needs it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.errors import PareError

if TYPE_CHECKING:
    from orchestrator.spec import Study
    from orchestrator.store import Store
    from orchestrator.study_run import StudySummary

_EPILOG = (
    "Exit codes: 0 done; 1 the study ended with failed runs; 2 wrong study file or command line; 3 data; "
    "4 store; 5 a package or server is missing; 130 interrupted, go on with `pare resume`."
)
_DEFAULT_STORE = "./pare-results"


class _Group(TyperGroup):
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


app = typer.Typer(
    cls=_Group,
    help="Compare methods that make neural networks smaller, on equal terms.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

modules_app = typer.Typer(
    cls=_Group,
    help="Class modules of finished runs: list them, look into them, compose them, write them to files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(modules_app, name="modules")

_StoreOption = Annotated[str, typer.Option(help="Folder or s3://bucket/path.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TrackingOption = Annotated[
    str | None, typer.Option(help="sqlite, none, http://... or sqlite:///...; instead of the study's.")
]
_ExecutorOption = Annotated[
    str | None, typer.Option(help="inline, ray, ray://host:port or auto; instead of the study's.")
]
_OtherStoreOption = Annotated[str | None, typer.Option("--store", help="Instead of the study's store.")]
_ClassesOption = Annotated[
    list[str], typer.Option("--class", metavar="NAME", help="A class, by name; give it once for each.")
]
_FormatOption = Annotated[
    str | None,
    typer.Option(help="safetensors, artefact, torch or onnx; by the output's suffix unless given, or safetensors."),
]
_OutputOption = Annotated[Path | None, typer.Option(help="File or folder; the current folder unless given.")]
_ForceOption = Annotated[bool, typer.Option("--force", help="Replace what lies there.")]
_LatencyOption = Annotated[bool, typer.Option("--latency", help="Time it on this CPU, dense and sparse.")]


def main() -> None:
    """Entry point of the command."""
    app()


@app.command()
def validate(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="Study files.")],
    as_json: _JsonOption = False,
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
        _print_json(checked)
    if not all(one["valid"] for one in checked):
        raise typer.Exit(2)


@app.command()
def plan(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file.")],
    as_json: _JsonOption = False,
    executor: _ExecutorOption = None,
    store: _OtherStoreOption = None,
) -> None:
    """Show what a study would do and cost.

    Loads the data and trains a few batches to learn how fast this machine is.
    """
    from orchestrator.display import show_plan
    from orchestrator.plan import make_plan

    found = make_plan(_loaded(study, executor=executor, store=store, tracking=None))
    if as_json:
        _print_json(found.to_json())
    else:
        show_plan(found)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file.")],
    executor: _ExecutorOption = None,
    store: _OtherStoreOption = None,
    tracking: _TrackingOption = None,
) -> None:
    """Run a study, or go on with it.

    Progress goes to stderr, results to stdout.
    """
    _run(_loaded(study, executor=executor, store=store, tracking=tracking))


@app.command()
def resume(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study file, or name of a study in the store.")],
    executor: _ExecutorOption = None,
    store: _OtherStoreOption = None,
    tracking: _TrackingOption = None,
) -> None:
    """Go on with an interrupted study.

    By its file, or from anywhere by its name and --store.
    """
    if _is_file(study):
        _run(_loaded(Path(study), executor=executor, store=store, tracking=tracking))
        return
    from orchestrator.status import stored_study

    place = store or _DEFAULT_STORE
    stored = stored_study(_existing_store(place), study)
    _run(_changed(stored, executor=executor, store=place, tracking=tracking))


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of a study; without it, all in the store.")
    ] = None,
    as_json: _JsonOption = False,
    store: _StoreOption = _DEFAULT_STORE,
) -> None:
    """Show how far studies are.

    Works while they run, from any machine that reaches the store.
    """
    from orchestrator.display import show_status
    from orchestrator.status import study_status

    opened = _existing_store(store)
    found = [study_status(opened, each) for each in ([name] if name else opened.study_names())]
    if as_json:
        _print_json([one.to_json() for one in found])
        return
    for one in found:
        show_status(one)
    if not found:
        print(f"no studies in {opened}")


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a study.")],
    store: _StoreOption = _DEFAULT_STORE,
    output: Annotated[Path | None, typer.Option(help="Where to write it instead of beside the study.")] = None,
) -> None:
    """Write a study's report anew, print its path."""
    from orchestrator.report import write_report

    print(write_report(_existing_store(store), name, output=output))


@app.command()
def rerun(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a finished run, as in the report.")],
    store: _StoreOption = _DEFAULT_STORE,
    into: Annotated[Path, typer.Option(help="Second store, for the repeated run.")] = Path("./pare-rerun"),
    device: Annotated[
        str | None, typer.Option(help="As PyTorch writes it, e.g. cpu or cuda; as recorded unless given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch; as recorded unless given.", min=1)] = None,
    as_json: _JsonOption = False,
) -> None:
    """Train a stored run again and compare.

    The same machine, device and number of threads give the same weights.
    """
    from orchestrator.display import show_rerun
    from orchestrator.rerun import rerun as run_again

    found = run_again(key, store=_existing_store(store), into=into, device=device, threads=threads)
    if as_json:
        _print_json({name: getattr(found, name).model_dump(mode="json") for name in ("recorded", "repeated")})
    else:
        show_rerun(found)


@app.command()
def export(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a finished run, as in the report.")],
    variant: Annotated[str | None, typer.Option(help="Label of the network; the run's headline unless given.")] = None,
    format: _FormatOption = None,
    store: _StoreOption = _DEFAULT_STORE,
    output: _OutputOption = None,
    force: _ForceOption = False,
    latency: _LatencyOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Write a network to a file to deploy.

    With a description beside it; read back and compared before it gets its name.
    """
    from orchestrator.display import show_export
    from orchestrator.export import export_network

    made = export_network(
        key,
        store=_existing_store(store),
        variant=variant,
        format=format,
        output=output,
        force=force,
        latency=latency,
    )
    if as_json:
        _print_json(made.to_json())
    else:
        show_export(made)


@modules_app.command("list")
def list_modules(as_json: _JsonOption = False, store: _StoreOption = _DEFAULT_STORE) -> None:
    """List the runs that have class modules."""
    from orchestrator.class_modules import libraries
    from orchestrator.display import show_libraries

    opened = _existing_store(store)
    found = libraries(opened)
    if as_json:
        _print_json([line.to_json() for line in found])
    else:
        show_libraries(found, store=str(opened))


@modules_app.command("show")
def show_modules(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a run, as `pare modules list` has it.")],
    as_json: _JsonOption = False,
    store: _StoreOption = _DEFAULT_STORE,
) -> None:
    """Show a run's class modules: size, units, scores, and what compositions are worth."""
    from orchestrator.class_modules import modules_of
    from orchestrator.display import show_library

    found = modules_of(_existing_store(store), key)
    if as_json:
        _print_json(found.model_dump(mode="json"))
    else:
        show_library(key, found)


@modules_app.command("compose")
def compose_modules(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a run, as `pare modules list` has it.")],
    classes: _ClassesOption,
    format: _FormatOption = None,
    store: _StoreOption = _DEFAULT_STORE,
    output: _OutputOption = None,
    force: _ForceOption = False,
    latency: _LatencyOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Write the network for some classes to a file.

    Composed of their modules without training, measured on the run's validation samples, described beside it.
    """
    from orchestrator.class_modules import export_composition
    from orchestrator.display import show_composition

    made = export_composition(
        key,
        classes,
        store=_existing_store(store),
        format=format,
        output=output,
        force=force,
        latency=latency,
    )
    if as_json:
        _print_json(made.to_json())
    else:
        show_composition(made)


@modules_app.command("export")
def export_modules(
    key: Annotated[str, typer.Argument(metavar="RUN_KEY", help="Key of a run, as `pare modules list` has it.")],
    format: _FormatOption = None,
    store: _StoreOption = _DEFAULT_STORE,
    output: Annotated[Path | None, typer.Option(help="Folder; the current one unless given.")] = None,
    force: _ForceOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Write every class module of a run to a file of its own, each with a description beside it."""
    from orchestrator.class_modules import export_all
    from orchestrator.display import show_composition

    made = export_all(key, store=_existing_store(store), format=format, output=output, force=force)
    if as_json:
        _print_json([one.to_json() for one in made])
        return
    for one in made:
        show_composition(one)


@app.command()
def sync(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a study.")],
    store: _StoreOption = _DEFAULT_STORE,
    tracking: _TrackingOption = None,
) -> None:
    """Bring MLflow up to what the store holds."""
    from orchestrator.status import stored_study
    from orchestrator.tracking import sync as sync_study
    from orchestrator.tracking.connection import without_password

    opened = _existing_store(store)
    uri = tracking or stored_study(opened, name).tracking
    sync_study(opened, name, uri)
    print(f"{name}: MLflow ({without_password(uri)}) holds what the store holds")


@app.command()
def ui(
    store: Annotated[Path, typer.Option(help="Local store folder.")] = Path(_DEFAULT_STORE),
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


@app.command()
def doctor(
    as_json: _JsonOption = False,
    store: _StoreOption = _DEFAULT_STORE,
    tracking: Annotated[str, typer.Option(help="As in a study.")] = "sqlite",
) -> None:
    """Check this machine.

    Versions, memory, devices, store, tracking, Ray; each finding says how to mend it.
    """
    from orchestrator.display import show_checks
    from orchestrator.doctor import examine

    checks = examine(store=store, tracking=tracking)
    if as_json:
        _print_json([check.to_json() for check in checks])
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
    counts = ", ".join(
        f"{getattr(summary, name)} {name.replace('_', ' ')}"
        for name in ("finished", "cached", "stopped_early", "failed")
    )
    print(f"{summary.study}: {summary.status.replace('_', ' ')} after {duration(summary.seconds)}; runs: {counts}")
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


def _existing_store(uri: str) -> Store:
    from orchestrator.store import Store

    return Store.open(uri, read_only=True)


def _is_file(study: str) -> bool:
    return study.endswith((".yaml", ".yml")) or Path(study).is_file()


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
