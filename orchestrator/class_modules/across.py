"""From the class modules of several runs to one file: for each class the best module, measured and described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.export import Format
from methods.measure import deployed_sizes
from methods.modules.reuse import compose_across
from orchestrator.class_modules.choosing import Choice, choose, f1_as_stored, f1_on
from orchestrator.class_modules.composing import as_deployed, meaning_of
from orchestrator.class_modules.judging import Judging, judging_samples
from orchestrator.class_modules.measuring import Measured, measured
from orchestrator.class_modules.naming import digest_of, few, label_of
from orchestrator.class_modules.sources import SourceRun, Wish, open_sources, parse_wishes
from orchestrator.export.description import Subject
from orchestrator.export.place import choose_place
from orchestrator.export.write import Export, require_format, write_network
from orchestrator.runs import GradedVariant
from orchestrator.samples import SamplesMissing
from orchestrator.sizes import Sizes

if TYPE_CHECKING:
    from orchestrator.store import Store

_STORED_F1 = "each run's own validation samples, in the composition of all its classes, as stored with it"


@dataclass(frozen=True)
class CompositionAcross:
    """A network composed of class modules of several runs, as written."""

    export: Export
    choices: tuple[Choice, ...]
    """In the order of the network's scores."""
    f1_measured_on: str
    measured: Measured
    caution: str
    """Why the figures may flatter a module; empty where nothing speaks for it."""
    sizes: dict[str, int]
    dense_sizes: dict[str, int]
    """Of the dense network of the run that gives the first module."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(choice.class_name for choice in self.choices)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"export": self.export.to_json(), "classes": list(self.classes)}


def export_across(
    keys: Sequence[str],
    classes: Sequence[str],
    *,
    store: Store,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    latency: bool = False,
) -> CompositionAcross:
    """Compose for each class the best module among several runs, measure, and write with a description beside it.

    The best module is that with the largest one-vs-rest F1 among the runs that know the class by that name, on
    validation samples of the classes asked for (see `judging_samples`); for one class, or where samples are missing, by
    the F1 stored with the runs. The accuracy is measured on the samples that chose, so others may see a little less.
    The locked test split is not opened. Scores come in the order of `classes`; inputs are normalised as for the run of
    the first. Every module is a branch of its own: weights that two of one run have in common are written twice.

    Args:
        keys: Of finished runs in `store` whose class modules run side by side and have heads.
        classes: Names, or `RUN_KEY:NAME` for the module of one of the runs.
        format, output, force, latency: As in `export_network`.

    Raises:
        ExportRefused: Runs or classes that make no composition, an unknown format, or a file in the way.
        UnknownRecord: There is no such run, it is not finished, or it has no class modules.
        StoreProblem: The store cannot be read, or `output` cannot be written.
        ServiceMissing: The format needs a package that is not installed.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    kind = require_format(format, output)
    sources = open_sources(store, keys)
    wishes = parse_wishes(classes, sources)
    name = f"across-{digest_of([*keys, *classes])}-{label_of([wish.class_name for wish in wishes])}{kind.suffix}"
    place = choose_place(output, name, force=force)
    judging, not_measured = _judging(sources, wishes)
    if judging is None:
        f1 = f1_as_stored(sources)
    else:
        f1 = f1_on(judging.split, [wish.class_name for wish in wishes], sources)
    choices = choose(wishes, sources, f1)
    return _write(sources, choices, judging or not_measured, kind=kind, place=place, latency=latency)


def _judging(sources: Sequence[SourceRun], wishes: Sequence[Wish]) -> tuple[Judging | None, str]:
    """The samples to judge on; or why there are none."""
    if len(wishes) == 1:
        return None, "a single module tells nothing apart: compose at least two classes"
    try:
        return judging_samples(sources, wishes), ""
    except SamplesMissing as missing:
        return None, str(missing)


def _write(
    sources: Sequence[SourceRun],
    choices: Sequence[Choice],
    judging: Judging | str,
    *,
    kind: Format,
    place: tuple[Path, Path],
    latency: bool,
) -> CompositionAcross:
    """Compose, measure, write; in place of the samples stands why there are none."""
    names = [choice.class_name for choice in choices]
    by_key = {source.key: source for source in sources}
    chosen = [by_key[choice.run_key] for choice in choices]
    first = chosen[0]
    network = compose_across([source.pick(name) for source, name in zip(chosen, names, strict=True)])
    deployed = as_deployed(network, first.normalization)
    if isinstance(judging, str):
        found = Measured(not_measured=judging)
    else:
        found = measured(deployed.network, names, judging, normalization=first.normalization, sources=sources)
    variant = GradedVariant(
        label=label_of(names),
        kind="module" if len(names) == 1 else "composed",
        settings={"classes": names},
        validation=dict(found.values),
        per_class={name: dict(values) for name, values in found.per_class.items()},
        sizes=Sizes(**deployed_sizes(network)),
        reference_sizes=first.result.variants[0].reference_sizes,
    )
    f1_measured_on = _STORED_F1 if isinstance(judging, str) else judging.told
    caution = "" if isinstance(judging, str) else judging.doubt
    subject = Subject(
        first.result,
        variant,
        deployed,
        chosen=f"for each of {few(names)} the module with the best F1, or the one asked for",
        meaning=meaning_of(first.library, names),
        runs=tuple(source.result for source in sources if source in chosen),
        more={
            "classes": names,
            "modules": [_described(choice, source) for choice, source in zip(choices, chosen, strict=True)],
            "f1_measured_on": f1_measured_on,
            "validation_samples": found.num_samples,
            "measured_on": found.measured_on,
            "not_measured": found.not_measured,
            "single_runs": dict(found.single_runs),
            "caution": caution,
            "dense_sizes_of": first.key,
        },
    )
    return CompositionAcross(
        export=write_network(subject, kind=kind, place=place, latency=latency),
        choices=tuple(choices),
        f1_measured_on=f1_measured_on,
        measured=found,
        caution=caution,
        sizes=variant.sizes.model_dump(),
        dense_sizes=variant.reference_sizes.model_dump(),
    )


def _described(choice: Choice, source: SourceRun) -> dict[str, Any]:
    """A module, with what its run says of it."""
    cards = source.result.modules.cards if source.result.modules else ()
    card = next((card for card in cards if card.class_name == choice.class_name), None)
    return asdict(choice) | {"as_stored": None if card is None else card.model_dump()}
