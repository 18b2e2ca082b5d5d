"""From a finished run's generator to a file: a network of the width and depth asked for, measured and described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods import artefact
from methods.contract import DrawnNetwork, Generating, NetworkGenerator, UnsupportedWidth
from methods.export import Deployed
from methods.measure import deployed_sizes, quality
from methods.modules.side_by_side import as_network
from methods.registry import method_class
from methods.surgery import deploy
from orchestrator.errors import ExportRefused, StoreProblem, UnknownRecord
from orchestrator.export.description import Subject, normalization_of
from orchestrator.export.place import choose_place
from orchestrator.export.write import Export, require_format, write_network
from orchestrator.runs import GeneratorResult, GradedVariant, RunResult
from orchestrator.samples import SamplesMissing, task_of
from orchestrator.sizes import Sizes

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True)
class Morphed:
    """A network drawn from a generator, as written."""

    export: Export
    settings: dict[str, Any]
    """`width`, `compression_ratio`, `seen`, and `depth` where it was asked for."""
    notes: tuple[str, ...]
    """What a user ought to know, e.g. that no such width was trained."""
    accuracy: float | None
    """On the run's validation samples; None where these are not at hand."""
    num_samples: int
    not_measured: str
    """Why there is no accuracy; empty where there is one."""
    sizes: dict[str, int]
    dense_sizes: dict[str, int]
    generator_parameters: int
    generator_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"export": self.export.to_json()}


def morph(
    key: str,
    *,
    store: Store,
    width: float,
    depth: Sequence[int] | None = None,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    latency: bool = False,
) -> Morphed:
    """Draw a network of a width and depth, measure it as deployed, and write it with a description beside it.

    The store is only read. The accuracy is that on the run's validation samples, which are loaded for it; the locked
    test split is not opened.

    Args:
        key: Of a finished run in `store` whose method generates networks.
        width: Share of the full width of what morphs, above 0.
        depth: Residual blocks to keep of each stage, one number for each or one for all; None: all blocks.
        format, output, force, latency: As in `export_network`.

    Raises:
        ExportRefused: No such width or depth can be drawn, the format is not known, or a file is in the way.
        UnknownRecord: There is no such run, it is not finished, or it has no generator.
        StoreProblem: The store cannot be read, its generator is damaged or another run's, or `output` cannot be
            written.
        ServiceMissing: The format needs a package that is not installed.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    kind = require_format(format, output)
    result = store.finished_run(key)
    generator = stored_generator(store, result)
    assert result.generator is not None
    drawn = _drawn(generator, result, width, depth)
    label = "-".join(
        [f"width-{drawn.settings['width']:g}", *([f"depth-{drawn.settings['depth']}"] if depth is not None else [])]
    )
    place = choose_place(output, f"{key}-{label}{kind.suffix}", force=force)
    stored = artefact.encode(deploy(drawn.network))
    deployed = Deployed(as_network(artefact.decode(stored)), stored, normalization_of(result))
    try:
        task = task_of(result)
        measured, not_measured = quality(deployed.network, task.validation, task), ""
    except SamplesMissing as missing:
        task, measured, not_measured = None, None, str(missing)
    variant = GradedVariant(
        label=label,
        kind="whole",
        settings=dict(drawn.settings),
        validation=dict(measured.values) if measured else {},
        per_class={name: dict(values) for name, values in measured.per_class.items()} if measured else {},
        sizes=Sizes(**deployed_sizes(drawn.network)),
        reference_sizes=result.variants[0].reference_sizes,
    )
    more = {"generator": result.generator.model_dump(mode="json"), "not_measured": not_measured}
    subject = Subject(result, variant, deployed, chosen="drawn from the run's generator", more=more)
    return Morphed(
        export=write_network(subject, kind=kind, place=place, latency=latency),
        settings=dict(drawn.settings),
        notes=drawn.notes,
        accuracy=variant.validation.get("accuracy"),
        num_samples=len(task.validation) if task is not None else 0,
        not_measured=not_measured,
        sizes=variant.sizes.model_dump(),
        dense_sizes=variant.reference_sizes.model_dump(),
        generator_parameters=result.generator.parameters,
        generator_bytes=result.generator.stored_bytes,
    )


def stored_generator(store: Store, result: RunResult) -> NetworkGenerator:
    """The generator of a finished run, on the CPU.

    Raises:
        UnknownRecord: The run has none.
        StoreProblem: It is missing, damaged, or another run's.
    """
    known = result.generator
    method: object = method_class(result.run.method)
    if known is None or not isinstance(method, Generating):
        having = store.generating_keys()
        which = f"runs that have: {', '.join(having[:5])}" if having else "no run in the store has; train `metamorphic`"
        raise UnknownRecord(f"{store}: run {result.key} of '{result.run.method}' has no generator; {which}")
    data = store.read_generator(result.key)
    _require_own(store, result.key, known, data)
    assert data is not None
    try:
        return method.load_generator(data)
    except ValueError as error:
        raise StoreProblem(_damaged(store, result.key, str(error))) from error


def _require_own(store: Store, key: str, known: GeneratorResult, data: bytes | None) -> None:
    if data is None:
        raise StoreProblem(_damaged(store, key, "it is missing"))
    if sha256(data).hexdigest() != known.digest:
        raise StoreProblem(_damaged(store, key, "it is damaged, or that of another network"))


def _damaged(store: Store, key: str, why: str) -> str:
    return (
        f"{store}/runs/{key}: its generator cannot be read: {why}; delete that folder, and `pare resume` trains the "
        "run again"
    )


def _drawn(generator: NetworkGenerator, result: RunResult, width: float, depth: Sequence[int] | None) -> DrawnNetwork:
    if depth is not None and len(depth) == 1:
        depth = [depth[0]] * max(1, len(generator.blocks))
    try:
        return generator.draw(width, depth=depth)
    except UnsupportedWidth as error:
        raise ExportRefused(f"run {result.key}: {error}") from error
