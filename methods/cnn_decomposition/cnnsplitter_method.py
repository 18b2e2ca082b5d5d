"""CNNSplitter: decomposes a trained CNN into one module per class by a genetic search over its kernels.

Source: Qi, Sun, Gao, Zhang, Li, Liu, "Patching Weak Convolutional Neural Network Models through Modularization and
Composition", ASE 2022, arXiv 2209.06116, and its public code (qibinhang/CNNSplitter). Of the paper itself only abstract
and summaries were at hand: behaviour is that of the code. How modules patch weak networks, which that paper is about,
is in `methods/modules/patching.py`.

Shapes: N = classes, C = kernels of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from methods.cnn_decomposition import pictures
from methods.cnn_decomposition.breeding import Course, Ground, breed
from methods.cnn_decomposition.candidates import CandidateRunner
from methods.cnn_decomposition.cnnsplitter_config import GENERATIONS, CnnSplitterConfig
from methods.cnn_decomposition.decomposed import decomposed_outcome
from methods.cnn_decomposition.genetic import group_count, group_kernels
from methods.cnn_decomposition.importance import CONFIDENCE, kernel_importance
from methods.cnn_decomposition.layers import maskable_layers
from methods.cnn_decomposition.requirements import check_task, require_every_class, source_network, source_prerequisite
from methods.cnn_decomposition.samples import SearchSamples, search_samples
from methods.cnn_decomposition.sensitivity import layer_sensitivity, sensitive_layers
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, UnsupportedTask
from methods.figures import Figure
from methods.measure.predict import predict
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.training.precision import task_precision

_LOWEST_RATIO = 0.05


class CnnSplitter:
    """Breeds, for each class, subsets of the kernels of a network that is not touched; scores are its own logits.

    Delivered are the trained network, "source", all modules side by side, "composed", and the library of modules. One
    generation counts as one epoch of the task, though it costs more: all candidates run on all samples that judge them.
    After each, the accuracy and mean module size of the best generation so far are reported.
    """

    name = "cnnsplitter"
    version = 1
    Config = CnnSplitterConfig

    def __init__(self, config: CnnSplitterConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return (source_prerequisite(self.config),)

    def check(self, info: TaskInfo) -> None:
        """Refuse regressions, single classes, networks without convolutions or the layers named, and too few epochs."""
        check_task(info, method=self.name)
        self._generations(info.epochs)
        layers = maskable_layers(info.architecture)
        beyond = [index for index in self.config.sensitive or () if index >= len(layers)]
        if beyond:
            raise UnsupportedTask(
                f"cnnsplitter: sensitive names layer {beyond[0]}, and network '{info.network}' has {len(layers)}, "
                f"numbered from 0: {', '.join(layer.name for layer in layers)}"
            )

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        """See `Method.fit`.

        Raises:
            UnsupportedTask: The generations do not fit the task's epochs.
            ValueError: A class has no training or no validation sample.
        """
        generations = self._generations(task.epochs)
        require_every_class(task, method=self.name)
        source = source_network(given, task)
        samples = search_samples(task, self.config.samples)
        stored = monitor.resume()
        prepared = _Prepared.from_state(stored) if stored else self._prepare(source, task, samples, monitor)
        course = breed(
            self._ground(source, task, samples, prepared),
            config=self.config,
            generations=generations,
            monitor=monitor,
            stored=stored,
            more_state=prepared.state(),
        )
        return self._outcome(source, task, course, prepared)

    def _generations(self, budget: int) -> int:
        """After the initial one."""
        wanted = self.config.generations or min(GENERATIONS, budget - 1)
        if wanted >= budget:
            raise UnsupportedTask(
                f"cnnsplitter: {wanted} generations after the initial one count as {wanted + 1} epochs, and the task "
                f"has {budget}; set generations to at most {budget - 1} or give the task more epochs"
            )
        return wanted

    def _prepare(self, source: Network, task: Task, samples: SearchSamples, monitor: Monitor) -> _Prepared:
        layers = maskable_layers(source.architecture)
        found = kernel_importance(source, samples.ranking, normalization=task.normalization, device=task.device)
        if found.unfiltered:
            names = ", ".join(task.info.class_names[label] for label in found.unfiltered)
            monitor.note(
                f"the network is {CONFIDENCE:g} sure of no sample of class {names}, so the importance of kernels for "
                "it comes from all its samples"
            )
        place = {site.name: index for index, site in enumerate(source.sites)}
        importance = [found.by_site[place[layer.sites[0]]] for layer in layers]
        if self.config.sensitive is not None:
            return _Prepared(importance, self.config.sensitive, None)
        runner, labels = self._runner(source, task, samples)
        table = layer_sensitivity(runner, labels, layers, importance)
        return _Prepared(importance, sensitive_layers(table), table)

    def _runner(self, source: Network, task: Task, samples: SearchSamples) -> tuple[CandidateRunner, Tensor]:
        network = fold_batch_norm(source).eval()
        layers = maskable_layers(source.architecture)
        return CandidateRunner(network, layers, samples.judging, task), samples.judging.targets.cpu()

    def _ground(self, source: Network, task: Task, samples: SearchSamples, prepared: _Prepared) -> Ground:
        runner, labels = self._runner(source, task, samples)
        network = fold_batch_norm(source).eval()
        layers = maskable_layers(source.architecture)
        choosing = None
        if samples.choosing is not None:
            choosing = (CandidateRunner(network, layers, samples.choosing, task), samples.choosing.targets.cpu())
        return Ground(
            architecture=network.architecture,
            layers=layers,
            groups=[
                [group_kernels(values_NC[label], group_count(values_NC.shape[1])) for values_NC in prepared.importance]
                for label in range(task.info.num_outputs)
            ],
            keep_ratios=[self._ratios(index in prepared.sensitive) for index in range(len(layers))],
            runner=runner,
            labels=labels,
            choosing=choosing,
            seed=task.seed,
        )

    def _ratios(self, sensitive: bool) -> list[float]:
        ratios = self.config.ratios_sensitive if sensitive else self.config.ratios_other
        # Rounded, because 0.7 - 0.3 is a little less than 0.4 and a share of groups is cut down to a whole number.
        return [min(1.0, max(_LOWEST_RATIO, round(ratio + self.config.ratio_shift, 9))) for ratio in ratios]

    def _outcome(self, source: Network, task: Task, course: Course, prepared: _Prepared) -> Outcome:
        layers = maskable_layers(source.architecture)
        best = course.best
        history = course.history
        widths = [layer.kernels for layer in layers]
        logits = predict(
            source,
            task.validation,
            normalization=task.normalization,
            device=task.device,
            dtype=task_precision(task),
        )
        reference = float((logits.argmax(dim=1) == task.validation.targets).double().mean())
        figures: list[Figure] = [
            pictures.accuracy_by_retention(
                history.retentions, history.accuracies, selected=best, reference=reference, step="generation"
            ),
            pictures.progress_chart(history.accuracies, course.differences, course.best_accuracies),
        ]
        if prepared.table is not None:
            figures.append(pictures.sensitivity_map(layers, prepared.table))
        return decomposed_outcome(
            source,
            task.info,
            history.kept_at(best, widths=widths, num_modules=task.info.num_outputs),
            heads=None,
            reference=reference,
            accuracy=history.accuracies[best],
            epochs=len(course),
            facts={
                "selected_generation": best,
                "generations": len(course) - 1,
                "sensitive_layers": [layers[index].name for index in prepared.sensitive],
            },
            settings={"samples": self.config.samples},
            figures=figures,
        )


class _Prepared:
    """What is known of a network before anything is bred."""

    def __init__(self, importance: Sequence[Tensor], sensitive: Sequence[int], table: Tensor | None) -> None:
        self.importance = list(importance)
        """Of each layer, (N, C)."""
        self.sensitive = tuple(sensitive)
        self.table = table
        """Of `layer_sensitivity`, where it was measured."""

    def state(self) -> dict[str, Any]:
        return {
            "importance": self.importance,
            "sensitive": list(self.sensitive),
            "table": self.table,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> _Prepared:
        return cls(state["importance"], state["sensitive"], state["table"])
