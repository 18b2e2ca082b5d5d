"""Helpers of one worker: further Ray actors that do parts of the run the worker has in hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class _Helper:
    """Body of a helper's actor. What all parts share stays with it until other work comes."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._shared: Any = None

    def hold(self, shared: Any) -> None:
        self._shared = shared

    def do(self, function: Callable[[Any, Any], Any], part: Any) -> Any:
        return function(self._shared, part)


class RayCrew:
    """A `methods.crew.Crew` of a worker and its helpers, which are started when first needed and end with the worker.

    Args:
        ray: The package, connected.
        helpers: At least 1.
        cpus, gpus: What each helper holds, as its worker does.
        threads: Of PyTorch in each helper, as in its worker, so that all round alike.
    """

    def __init__(self, ray: Any, *, helpers: int, cpus: float, gpus: float, threads: int) -> None:
        self._ray = ray
        self._actor = ray.remote(_Helper).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        self._threads = threads
        self._count = helpers
        self._helpers: list[Any] = []
        self._shared: Any = None

    def __call__(self, function: Callable[[Any, Any], Any], shared: Any, parts: Sequence[Any]) -> list[Any]:
        self._share(shared)
        shares = self._count + 1
        calls = {
            index: self._helpers[index % shares - 1].do.remote(function, part)
            for index, part in enumerate(parts)
            if index % shares
        }
        # The worker does its own share meanwhile.
        done = {index: function(shared, parts[index]) for index in range(0, len(parts), shares)}
        for index, call in calls.items():
            done[index] = self._result(call, function, shared, parts[index])
        return [done[index] for index in range(len(parts))]

    def _share(self, shared: Any) -> None:
        if not self._helpers:
            self._helpers = [self._actor.remote(self._threads) for _ in range(self._count)]
            self._shared = None
        if self._shared is not shared:
            reference = self._ray.put(shared)
            for helper in self._helpers:
                helper.hold.remote(reference)
            self._shared = shared

    def _result(self, call: Any, function: Callable[[Any, Any], Any], shared: Any, part: Any) -> Any:
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError:
            # A helper that died costs nothing but its part's time; all are started anew for the next parts.
            self._helpers = []
            return function(shared, part)
