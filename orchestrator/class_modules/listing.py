"""Which runs of a store have class modules."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True)
class LibraryLine:
    """One library of class modules, in a line."""

    run_key: str
    task: str
    method: str
    config: dict[str, Any]
    """Fields that differ from the method's defaults."""
    seed: int
    num_classes: int
    module_size: float
    """Mean share of the whole network's parameters that a module holds."""
    kernels_kept: float | None
    """Mean share of the convolution kernels that a module keeps; None where there are none, or not counted then."""
    overlap: float
    reuse_accuracy: float | None
    """Of compositions on validation, mean over the numbers of classes; None where there is nothing to tell apart."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def libraries(store: Store) -> list[LibraryLine]:
    """All finished runs with class modules, by task, then smallest modules first."""
    found = []
    for key in store.modular_keys():
        result = store.read_outcome(key)
        if result is None or result.modules is None:
            continue
        modules, run = result.modules, result.run
        found.append(
            LibraryLine(
                run_key=key,
                task=run.task_name,
                method=run.method,
                config=dict(run.config),
                seed=run.seed,
                num_classes=len(modules.cards),
                module_size=modules.module_size,
                kernels_kept=modules.kernels_kept,
                overlap=modules.overlap,
                reuse_accuracy=modules.reuse_accuracy,
            )
        )
    return sorted(found, key=lambda line: (line.task, line.module_size, line.run_key))
