"""What reuse gained, over classes and seeds: pure functions of the reuse table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.statistics import Estimate, estimate

Row = Mapping[str, Any]

MEASURES = ("precision", "recall", "f1", "others")


@dataclass(frozen=True)
class PatchSummary:
    """One weak cell mended by one strong cell in one way; with each seed the mean over classes, in [-1, 1]."""

    weak: str
    strong: str
    way: str
    num_classes: int
    before: Mapping[str, Estimate]
    """`precision`, `recall` and `f1` of the patched class, `others`: accuracy on all other classes."""
    gain: Mapping[str, Estimate]
    """After minus before, paired by class and seed."""
    over_control: Mapping[str, Estimate] | None
    """After minus the control; None for ways that train nothing."""
    macs_ratio: float
    """Of the patched network, as a multiple of the weak one's."""


@dataclass(frozen=True)
class NewTaskSummary:
    """A task made of modules against a network trained for it."""

    task: str
    strong: str
    accuracy: Estimate
    scratch: Estimate
    difference: Estimate
    """Composed minus scratch, paired by seed."""
    macs_ratio: float
    """Of the composition, as a multiple of the network trained from scratch."""


@dataclass(frozen=True)
class Reuse:
    """All of it, on one split."""

    split: str
    patches: tuple[PatchSummary, ...]
    new_tasks: tuple[NewTaskSummary, ...]
    left_out: tuple[str, ...] = ()
    """What could not be done, and why, in sentences."""


def summarise(rows: Iterable[Row], *, split: str = "test") -> Reuse | None:
    """Summarise the rows of one split; None where there are none, and nothing was left out either."""
    given = list(rows)
    own = [row for row in given if row["split"] == split]
    left_out = tuple(_left_out(row) for row in given if row["reason"] is not None)
    if not own and not left_out:
        return None
    patches: dict[tuple[str, str, str], list[Row]] = {}
    tasks: dict[tuple[str, str], list[Row]] = {}
    for row in own:
        if row["kind"] == "patch":
            patches.setdefault((row["weak"], row["strong"], row["way"]), []).append(row)
        else:
            tasks.setdefault((row["weak"], row["strong"]), []).append(row)
    return Reuse(
        split,
        tuple(_patch(*place, found) for place, found in patches.items()),
        tuple(_new_task(weak, strong, found) for (weak, strong), found in tasks.items()),
        left_out,
    )


def _left_out(row: Row) -> str:
    what = f"{row['weak']} with modules of {row['strong']}"
    way = f" ({row['way']})" if row["way"] else ""
    seed = "" if row["seed"] is None else f", seed {row['seed']}"
    kind = "patching" if row["kind"] == "patch" else "the new task against"
    return f"{kind} {what}{way}{seed}: {row['reason']}"


def _patch(weak: str, strong: str, way: str, rows: Sequence[Row]) -> PatchSummary:
    seeds = sorted({row["seed"] for row in rows})

    def by_seed(of: Any) -> Estimate:
        means = []
        for seed in seeds:
            values = [of(row) for row in rows if row["seed"] == seed]
            means.append(sum(values) / len(values))
        return estimate(means)

    controlled = all(row["control_f1"] is not None for row in rows)
    return PatchSummary(
        weak=weak,
        strong=strong,
        way=way,
        num_classes=len({row["class_name"] for row in rows}),
        before={name: by_seed(lambda row, name=name: row[f"before_{name}"]) for name in MEASURES},
        gain={name: by_seed(lambda row, name=name: row[f"after_{name}"] - row[f"before_{name}"]) for name in MEASURES},
        over_control={
            name: by_seed(lambda row, name=name: row[f"after_{name}"] - row[f"control_{name}"]) for name in MEASURES
        }
        if controlled
        else None,
        macs_ratio=sum(row["macs"] / row["weak_macs"] for row in rows) / len(rows),
    )


def _new_task(weak: str, strong: str, rows: Sequence[Row]) -> NewTaskSummary:
    ordered = sorted(rows, key=lambda row: row["seed"])
    return NewTaskSummary(
        task=weak.partition("/")[0],
        strong=strong,
        accuracy=estimate([row["accuracy"] for row in ordered], lowest=0.0, highest=1.0),
        scratch=estimate([row["scratch_accuracy"] for row in ordered], lowest=0.0, highest=1.0),
        difference=estimate([row["accuracy"] - row["scratch_accuracy"] for row in ordered]),
        macs_ratio=sum(row["macs"] / row["weak_macs"] for row in ordered) / len(ordered),
    )
