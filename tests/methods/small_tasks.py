"""Real tasks small enough to train within a test, and a monitor that remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from methods.contract import SilentMonitor
from methods.data.load import load_dataset
from methods.networks.graph import Network
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from methods.tasks import PreparedTask, build_task, prepare
from methods.training.checkpoints import pack, unpack


def a_task(source: str, network: str, *, seed: int = 0, widths: list[int] | None = None, **fields: Any) -> PreparedTask:
    """A task on a bundled set; `fields` are those of `TaskSpec`."""
    arguments = {} if widths is None else {"widths": widths}
    return _built(source, NetworkSpec(name=network, arguments=arguments), seed, fields)


def a_task_with_dropout(*, seed: int = 0, **fields: Any) -> PreparedTask:
    """The digits for a narrow InceCNN, which has batch normalisation and dropout; `fields` as in `a_task`."""
    arguments = {"stem": [4, 6, 8], "branches": [4, 4, 2] * 3}
    return _built("digits", NetworkSpec(name="incecnn_gradsplitter", arguments=arguments), seed, fields)


def _built(source: str, network: NetworkSpec, seed: int, fields: Mapping[str, Any]) -> PreparedTask:
    spec = TaskSpec(data=DataSpec(source=source), network=network, **fields)
    dataset = load_dataset(spec.data, test_share=spec.test_share)
    return build_task(spec, prepare(spec, dataset), name=source, seed=seed, device="cpu")


class Lost(Exception):
    """Stands for a worker that is lost in the middle of a run."""


class Recorder(SilentMonitor):
    """Remembers all it hears; raises `error` in report number `break_at` (from 1); checkpoints go through bytes."""

    def __init__(
        self, *, break_at: int | None = None, error: type[Exception] = Lost, stored: bytes | None = None
    ) -> None:
        self.reports: list[tuple[float, float, float]] = []
        self.curves: dict[int, Mapping[str, float]] = {}
        self.notes: list[str] = []
        self.stored = stored
        self._break_at = break_at
        self._error = error

    def report(self, progress: float, accuracy: float, size: float) -> None:
        self.reports.append((progress, accuracy, size))
        if len(self.reports) == self._break_at:
            raise self._error

    def curve(self, epoch: int, **values: float) -> None:
        self.curves[epoch] = values

    def note(self, message: str) -> None:
        self.notes.append(message)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        self.stored = pack(state)

    def resume(self) -> dict[str, Any] | None:
        return None if self.stored is None else unpack(self.stored)


def same_weights(one: Network, other: Network) -> bool:
    """Bit for bit, buffers of batch normalisation included."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
