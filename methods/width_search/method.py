"""Width search: a particle swarm over the widths of the dense head, within the compute of one dense training.

A control for pruning: sources on dense pruning name swarm and evolutionary wrappers as the expensive alternative.
Everything here is [design], ours; the swarm is the textbook's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask, Variant
from methods.networks.architecture import Architecture
from methods.networks.build import initialise
from methods.networks.dense_head import DenseHead, find_head, parameter_count, resized
from methods.networks.graph import Network
from methods.training.loop import Phase, evaluate, train
from methods.training.targets import in_standard_units, to_raw_units
from methods.training.together import train_together
from methods.width_search.config import WidthSearchConfig
from methods.width_search.swarm import Swarm
from methods.width_search.widths import widths_at

_GENERATION, _FINAL = "generation", "final"


class WidthSearch:
    """Trains candidates of equal size briefly, moves their widths towards the best, trains the best from scratch.

    The search spends at most `search_share` of the task's epochs, both as passes over the samples (a generation trains
    together) and as compute (a candidate costs its share of the dense network's parameters), and no more than leaves
    room for the final network, which trains for all epochs left. Candidates are compared on validation, and the final
    network shares no weights with them. With one hidden layer its width follows from the size, and nothing is searched.
    """

    name = "width_search"
    version = 1
    Config = WidthSearchConfig

    def __init__(self, config: WidthSearchConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return ()

    def check(self, info: TaskInfo) -> None:
        """Refuse networks that have no hidden linear layer before their output."""
        if find_head(info.architecture) is None:
            raise UnsupportedTask(
                f"width_search: network '{info.network}' has no hidden dense layer whose width could be searched; use "
                "one that ends in linear layers (mlp, small_cnn), or scratch, which narrows any network"
            )

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            UnsupportedTask: The budget has no epoch for both searching and training.
        """
        del given
        scaled = in_standard_units(task)
        architecture = task.info.architecture
        head = find_head(architecture)
        assert head is not None, "`check` refuses networks without a dense head"
        generations, epochs = self._search_budget(task) if len(head.sites) > 1 else (0, 0)
        if not generations:
            monitor.note("width_search: one hidden layer, whose width follows from keep_share; nothing was searched")
        final_epochs = task.epochs - generations * epochs
        stored = monitor.resume()
        if stored is not None and stored["phase"] == _FINAL:
            widths = [int(width) for width in stored["carry"]["widths"]]
            history = [list(scores) for scores in stored["carry"]["history"]]
        else:
            widths, history = self._search(scaled, architecture, head, monitor, stored, generations, epochs)
        network = self._fresh(resized(architecture, head, widths), task)
        share = _count(network) / _count(task.network())
        if share > self.config.keep_share:
            monitor.note(
                f"width_search: a share of {self.config.keep_share:g} of the parameters is out of reach; one unit per "
                f"hidden layer leaves {share:.4g}"
            )
        spent = generations * epochs
        train(
            network,
            scaled,
            config=self.config,
            epochs=final_epochs,
            monitor=monitor,
            phase=Phase(name=_FINAL, first_epoch=spent, progress=(spent / task.epochs, 1.0), size=share),
            carry={"widths": widths, "history": history},
        )
        searching = self.config.particles * min(share, 1.0) * spent
        facts = {
            "generations": generations,
            "epochs_per_candidate": epochs,
            "scores": history,
            "widths": widths,
            # In epochs of the dense network, a parameter's worth each.
            "compute": searching + share * final_epochs,
        }
        settings = {"widths": widths, "keep_share": share}
        variant = Variant("searched", kind="whole", network=to_raw_units(network, task), settings=settings)
        return Outcome(variants=(variant,), epochs=task.epochs, facts=facts)

    def _search_budget(self, task: Task) -> tuple[int, int]:
        """Generations, and epochs of each."""
        # The final network, trained for as many epochs as are left, must fit the same compute.
        share = min(self.config.search_share, 1 - self.config.keep_share)
        budget = math.floor(share * task.epochs)
        cost = max(1.0, self.config.particles * self.config.keep_share)
        generations = min(self.config.generations, math.floor(budget / cost))
        if generations < 1:
            raise UnsupportedTask(
                f"width_search: {budget} of {task.epochs} epochs are for the search, and one epoch of "
                f"{self.config.particles} candidates costs {cost:g}; give the task more epochs, or lower particles "
                "or keep_share"
            )
        return generations, math.floor(budget / (generations * cost))

    def _search(
        self,
        task: Task,
        architecture: Architecture,
        head: DenseHead,
        monitor: Monitor,
        stored: Mapping[str, Any] | None,
        generations: int,
        epochs: int,
    ) -> tuple[list[int], list[list[float]]]:
        """The best widths, and the scores of each generation."""
        generator = torch.Generator().manual_seed(task.seed)
        swarm = Swarm.scattered(self.config.particles, len(head.sites), generator=generator)
        history: list[list[float]] = []
        first = 0
        if stored is not None:
            first = int(stored["phase"].removeprefix(f"{_GENERATION}-"))
            swarm = Swarm.from_state(stored["carry"]["swarm"])
            history = [list(scores) for scores in stored["carry"]["history"]]
            generator.set_state(stored["carry"]["generator"])
        others = _count(task.network()) - parameter_count(head.widths)
        most = int(self.config.keep_share * _count(task.network())) - others
        for number in range(first, generations):
            candidates = [
                self._fresh(resized(architecture, head, widths_at(place, head.widths, most_parameters=most)), task)
                for place in swarm.position.tolist()
            ]
            carry = {"swarm": swarm.state(), "history": history, "generator": generator.get_state()}
            train_together(
                candidates,
                task,
                config=self.config,
                epochs=epochs,
                monitor=monitor,
                phase=Phase(
                    name=f"{_GENERATION}-{number}",
                    first_epoch=number * epochs,
                    progress=(number * epochs / task.epochs, (number + 1) * epochs / task.epochs),
                    size=self.config.keep_share,
                ),
                carry=carry,
            )
            scores = [evaluate(candidate, task.validation, task) for candidate in candidates]
            history.append(scores)
            swarm.learn(torch.tensor(scores, dtype=torch.float64))
            swarm.move(generator)
        if not generations:
            return widths_at([1.0] * len(head.sites), head.widths, most_parameters=most), history
        return widths_at(swarm.best.tolist(), head.widths, most_parameters=most), history

    def _fresh(self, architecture: Architecture, task: Task) -> Network:
        network = Network(architecture)
        initialise(network, seed=task.seed)
        return network.to(task.device)


def _count(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
