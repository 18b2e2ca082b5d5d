"""From a finished run to a file that a user can deploy, read back and compared before it gets its name."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.export import Deployed, ExportMismatch, Format, OnnxMissing, verify
from methods.export.verify import NUM_SAMPLES
from orchestrator.errors import RunFailed, ServiceMissing
from orchestrator.execution import deployed_network
from orchestrator.export.description import Subject, describe, measure_latency, normalization_of
from orchestrator.export.place import choose_format, choose_place, parts_of
from orchestrator.export.study_rows import choose_variant, figures_on_test, rows_of_run

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True)
class Export:
    """What was written, and how far it agrees with the network in the store."""

    path: Path
    description: Path
    """JSON: what goes in and comes out, sizes and scores, from which run."""
    format: str
    num_bytes: int
    run_key: str
    """Of several runs the keys, with commas between."""
    variant: str
    chosen: str
    """By what the variant was chosen."""
    max_abs_difference: float
    """Of the logits of the file read back, on `num_samples` random samples."""
    num_samples: int
    input_scale: str
    """What the file takes."""
    latency: dict[str, Any] | None
    """See `measure_latency`; None where it was not asked for."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path), "description": str(self.description)}


def export_network(
    key: str,
    *,
    store: Store,
    variant: str | None = None,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    latency: bool = False,
) -> Export:
    """Write one network of a finished run, as it is deployed, and a description beside it.

    Both files appear whole or not at all, and only after the network was read back and gave the logits that the
    store's gives. The store is only read.

    Args:
        key: Of a finished run in `store`.
        variant: Label of the network; None: the run's headline.
        format: A name in `methods.export.FORMATS`; None: by the suffix of `output`, else `safetensors`.
        output: A file or a folder, made if need be; None: the current folder. A folder's file is named for run and
            variant.
        force: Replace what lies there.
        latency: Time the network on this CPU, dense and sparse, for the description; takes some seconds.

    Raises:
        ExportRefused: The format is not known, a file is in the way, or studies disagree on the headline.
        UnknownRecord: There is no such run or variant, or the run is not finished.
        StoreProblem: The store cannot be read, or `output` cannot be written.
        ServiceMissing: The format needs a package that is not installed.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    kind = require_format(format, output)
    result = store.finished_run(key)
    rows = rows_of_run(store, key)
    choice = choose_variant(result, rows, variant)
    label = choice.variant.label
    place = choose_place(output, f"{key}-{label}{kind.suffix}", force=force)
    deployed = Deployed(
        network=deployed_network(store, key, label),
        artefact=store.read_variant(key, label).artefact,
        normalization=normalization_of(result),
    )
    subject = Subject(result, choice.variant, deployed, chosen=choice.reason, test=figures_on_test(rows, label))
    return write_network(subject, kind=kind, place=place, latency=latency)


def require_format(name: str | None, output: Path | None) -> Format:
    """The format to write, with all that it needs.

    Raises:
        ExportRefused: See `choose_format`.
        ServiceMissing: A package that it needs is not installed.
    """
    kind = choose_format(name, output)
    try:
        kind.require()
    except OnnxMissing as error:
        raise ServiceMissing(str(error)) from error
    return kind


def write_network(subject: Subject, *, kind: Format, place: tuple[Path, Path], latency: bool) -> Export:
    """Write one network and its description, both or none of them, and compare what was written.

    Args:
        place: The file and the description, from `choose_place`.
        latency: As in `export_network`.

    Raises:
        StoreProblem: The place cannot be written.
        RunFailed: The file does not compute what the network does; nothing is left of it.
    """
    path, description = place
    key = subject.run_keys
    timed = measure_latency(subject.deployed.network) if latency else None
    with parts_of(description, path) as (description_part, part):
        part.write_bytes(kind.write(subject.deployed))
        written = part.read_bytes()
        difference = _verified(written, kind, subject.deployed, key)
        described = describe(subject, kind=kind, num_bytes=len(written), difference=difference, latency=timed)
        description_part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return Export(
        path=path,
        description=description,
        format=kind.name,
        num_bytes=len(written),
        run_key=key,
        variant=subject.variant.label,
        chosen=subject.chosen,
        max_abs_difference=difference,
        num_samples=NUM_SAMPLES,
        input_scale=described["input"]["scale"],
        latency=timed,
    )


def _verified(written: bytes, kind: Format, deployed: Deployed, key: str) -> float:
    try:
        return verify(written, kind, deployed)
    except ExportMismatch as error:
        raise RunFailed(f"run {key}: {error}; nothing was written. Choose another --format, and report this") from error
