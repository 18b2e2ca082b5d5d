"""From the class modules of a finished run to a file: the network for some of the classes, measured and described."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods import artefact
from methods.data.dataset import DataError
from methods.data.load import load_dataset
from methods.export import Deployed, Format
from methods.measure import deployed_sizes
from methods.modules.compacting import deployed_form
from methods.modules.grading import CompositionQuality, composition_quality
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network
from methods.tasks import build_task, prepare
from orchestrator.errors import ExportRefused
from orchestrator.export.description import LOGITS, Subject, normalization_of
from orchestrator.export.place import choose_place
from orchestrator.export.write import Export, require_format, write_network
from orchestrator.library_results import stored_library
from orchestrator.runs import GradedVariant, RunResult
from orchestrator.sizes import Sizes

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True)
class Composition:
    """A network composed of class modules, as written."""

    export: Export
    classes: tuple[str, ...]
    """In the order of the network's logits."""
    accuracy: float | None
    """On the validation samples of these classes; None for one class, or where the samples are not at hand."""
    num_samples: int
    """That it was measured on."""
    not_measured: str
    """Why there is no accuracy; empty where there is one."""
    sizes: dict[str, int]
    dense_sizes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"export": self.export.to_json()}


def export_composition(
    key: str,
    classes: Sequence[str],
    *,
    store: Store,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    latency: bool = False,
) -> Composition:
    """Compose the modules of some classes, measure the network as deployed, and write it with a description beside it.

    Its logits come in the order of the run's classes, whatever the order here. Of one class it is that class's module.
    The store is only read. The accuracy is that on the run's validation samples, which are loaded for it; the locked
    test split is not opened.

    Args:
        key: Of a finished run in `store` that has class modules.
        classes: Names, as `pare modules show` lists them.
        format, output, force, latency: As in `export_network`.

    Raises:
        ExportRefused: A class is unknown or named twice, the format is not known, or a file is in the way.
        UnknownRecord: There is no such run, it is not finished, or it has no class modules.
        StoreProblem: The store cannot be read, or `output` cannot be written.
        ServiceMissing: The format needs a package that is not installed.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    kind = require_format(format, output)
    library, result = stored_library(store, key), store.finished_run(key)
    try:
        names = tuple(library.class_names[index] for index in library.indices(classes))
    except ValueError as error:
        raise ExportRefused(f"run {key}: {error}") from error
    place = choose_place(output, _file_name(key, names, kind), force=force)
    return _write(library, result, names, kind=kind, place=place, latency=latency)


def export_all(
    key: str, *, store: Store, format: str | None = None, output: Path | None = None, force: bool = False
) -> list[Composition]:
    """Write each class module of a run to a file of its own, in the order of the classes.

    Args:
        output: A folder, made if need be; None: the current one.
        key, store, format, force: As in `export_composition`.

    Raises:
        ExportRefused: `output` is a file, or one of the files is there already, and then none is written; see also
            `export_composition`, which the other errors are those of.
    """
    if output is not None and output.suffix and not output.is_dir():
        raise ExportRefused(f"{output}: every module becomes a file of its own; give --output a folder")
    kind = require_format(format, output)
    library, result = stored_library(store, key), store.finished_run(key)
    places = [choose_place(output, _file_name(key, (name,), kind), force=force) for name in library.class_names]
    return [
        _write(library, result, (name,), kind=kind, place=place, latency=False)
        for name, place in zip(library.class_names, places, strict=True)
    ]


def _write(
    library: ModuleLibrary,
    result: RunResult,
    names: tuple[str, ...],
    *,
    kind: Format,
    place: tuple[Path, Path],
    latency: bool,
) -> Composition:
    """Compose, measure, write; `names` in the order of the library."""
    composed = library.compose(names)
    stored = artefact.encode(deployed_form(composed))
    deployed = Deployed(as_network(artefact.decode(stored)), stored, normalization_of(result))
    measured, not_measured = _measured(library, names, deployed, result)
    variant = GradedVariant(
        label=_label(names),
        kind="module" if len(names) == 1 else "composed",
        settings={"classes": list(names), **library.settings},
        validation=dict(measured.values) if measured else {},
        per_class={name: dict(values) for name, values in measured.per_class.items()} if measured else {},
        sizes=Sizes(**deployed_sizes(composed)),
        reference_sizes=result.variants[0].reference_sizes,
    )
    subject = Subject(
        result,
        variant,
        deployed,
        chosen=f"{'the module' if len(names) == 1 else 'composed of the modules'} of {_few(names)}",
        meaning=_meaning(library, names),
        more={
            "classes": list(names),
            "validation_samples": measured.num_samples if measured else 0,
            "not_measured": not_measured,
            "modules": [card.model_dump() for card in _cards(result, names)],
        },
    )
    return Composition(
        export=write_network(subject, kind=kind, place=place, latency=latency),
        classes=names,
        accuracy=measured.values["accuracy"] if measured else None,
        num_samples=measured.num_samples if measured else 0,
        not_measured=not_measured,
        sizes=variant.sizes.model_dump(),
        dense_sizes=variant.reference_sizes.model_dump(),
    )


_LONGEST_LABEL = 80
"""Bytes of a file's name, after the run's key."""


def _measured(
    library: ModuleLibrary, names: Sequence[str], deployed: Deployed, result: RunResult
) -> tuple[CompositionQuality | None, str]:
    """How right the network is on validation samples of its classes; or why nobody can tell."""
    if len(names) == 1:
        return None, "a single module tells nothing apart: compose at least two classes"
    run = result.run
    try:
        data = prepare(run.task, load_dataset(run.task.data, test_share=run.task.test_share))
    except DataError as error:
        return None, f"the run's samples are not at hand: {error}"
    if data.fingerprint != run.data_fingerprint:
        return None, "the samples at hand are not those that the run was made with"
    task = build_task(run.task, data, name=run.task_name, seed=run.seed, device="cpu")
    return composition_quality(deployed.network, library.indices(names), task.validation, task), ""


def _meaning(library: ModuleLibrary, names: Sequence[str]) -> str:
    """Of the outputs; empty: as of every module."""
    if library.heads is None:
        return LOGITS if len(names) > 1 else ""
    if len(names) == 1:
        return (
            "the score of one class before the sigmoid: above 0 the module finds the class; compare it with those of "
            "other modules of the same run"
        )
    return "scores, one per class, before the sigmoid: the largest is the answer"


def _cards(result: RunResult, names: Sequence[str]) -> list[Any]:
    cards = result.modules.cards if result.modules else ()
    return [card for card in cards if card.class_name in names]


def _file_name(key: str, names: Sequence[str], kind: Format) -> str:
    return f"{key}-{_label(names)}{kind.suffix}"


def _label(names: Sequence[str]) -> str:
    """What a composition is called in file names: its classes, and where these must be changed or cut a digest too."""
    kind = "module" if len(names) == 1 else "composed"
    plain = "-".join([kind, *("".join(map(_plain, name)) for name in names)])
    if len(plain) <= _LONGEST_LABEL and "_" not in plain:
        return plain
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:8]
    return f"{plain[:_LONGEST_LABEL]}-{digest}"


def _plain(letter: str) -> str:
    return letter if letter.isascii() and letter.isalnum() else "_"


def _few(names: Sequence[str]) -> str:
    """The names, or the first few and how many more."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
