"""A weak network to mend, and the class module of another run to mend it with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods import artefact
from methods.contract import Normalization, Split
from methods.measure import predict
from methods.modules.compacting import deployed_form
from methods.modules.library import ModuleLibrary
from methods.modules.patch_head import over_weak_alone, trained_layer
from methods.modules.patching import WAYS, PatchLayer, Way, calibration_range, replacing_layer
from methods.modules.picks import ModulePick, module_reading
from methods.modules.side_by_side import as_network
from methods.networks.graph import Network
from methods.registry import did_you_mean
from methods.tasks import PreparedTask
from orchestrator.class_modules.inputs import require_same_inputs, required_normalization
from orchestrator.errors import ExportRefused
from orchestrator.execution import deployed_network
from orchestrator.export.study_rows import choose_variant, rows_of_run
from orchestrator.library_results import stored_library
from orchestrator.runs import RunResult
from orchestrator.samples import SamplesMissing, task_of

if TYPE_CHECKING:
    from orchestrator.store import Store


class _Outputs:
    """What a network says of whole splits, computed once for each."""

    def __init__(self, network: Network, normalization: Normalization) -> None:
        self._network = network
        self._normalization = normalization
        self._known: dict[int, tuple[Split, Tensor]] = {}
        """With the splits themselves, so that their identities stay their own."""

    def of(self, split: Split) -> Tensor:
        if id(split) not in self._known:
            found = predict(self._network, split, normalization=self._normalization, device="cpu")
            self._known[id(split)] = (split, found)
        return self._known[id(split)][1]


@dataclass(frozen=True, eq=False)
class WeakNetwork:
    """A classifier of a finished run, as deployed."""

    result: RunResult
    variant: str
    network: Network
    normalization: Normalization
    task: PreparedTask

    @cached_property
    def control(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of a layer trained on its logits and no module: the control of `trained_head`."""
        train = self.task.train
        return over_weak_alone(self.logits(train), train.targets.cpu(), seed=self.result.run.seed)

    def class_index(self, name: str) -> int:
        """Place of a class among its logits.

        Raises:
            ExportRefused: It does not know the class.
        """
        return _place(name, self.task.info.class_names, f"the weak run {self.result.key}")

    def logits(self, split: Split) -> Tensor:
        """(N, K); computed once for each split, as every class of it may be patched."""
        return self._outputs.of(split)

    @cached_property
    def _outputs(self) -> _Outputs:
        return _Outputs(self.network, self.normalization)


@dataclass(frozen=True, eq=False)
class StrongModule:
    """The class module of a finished run, as deployed, reading inputs as a weak network does."""

    result: RunResult
    library: ModuleLibrary
    class_name: str
    network: Network
    normalization: Normalization
    """Of its inputs: the weak network's."""
    task: PreparedTask

    @property
    def has_head(self) -> bool:
        return self.library.heads is not None

    def scores(self, split: Split) -> Tensor:
        """Before the sigmoid, where there is one; float32 (N,); computed once for each split, for all ways."""
        return self._outputs.of(split)[:, 0]

    @cached_property
    def _outputs(self) -> _Outputs:
        return _Outputs(self.network, self.normalization)

    def calibration(self) -> tuple[float, float]:
        """Extremes of its score on validation samples of its class, behind the sigmoid where it has a head.

        Raises:
            ExportRefused: There are too few samples, or all have the same score.
        """
        own = self.task.validation.targets == self.library.class_names.index(self.class_name)
        samples = Split(self.task.validation.inputs[own], self.task.validation.targets[own])
        scores = self.scores(samples) if len(samples) else torch.zeros(0)
        try:
            return calibration_range(scores.sigmoid() if self.has_head else scores)
        except ValueError as error:
            raise ExportRefused(
                f"run {self.result.key}: the module of '{self.class_name}' cannot be calibrated on {len(samples)} "
                "validation samples of its class: there are too few, or its score is the same on all of them; choose "
                "another way, or a run with larger modules"
            ) from error


def open_weak(store: Store, key: str, *, variant: str | None = None, task: PreparedTask | None = None) -> WeakNetwork:
    """The network to mend: a run's headline, unless a variant is named.

    Args:
        task: The run's task, where it is loaded already; None: it is loaded.

    Raises:
        UnknownRecord: There is no such run or variant, or the run is not finished.
        ExportRefused: It is no classifier, was stored by a version that did not record how inputs are normalised, or
            its samples are not at hand.
    """
    result = store.finished_run(key)
    chosen = choose_variant(result, rows_of_run(store, key), variant).variant
    if "accuracy" not in chosen.validation or not chosen.per_class:
        raise ExportRefused(f"run {key}: a network of a regression has no classes, so there is nothing to patch")
    return WeakNetwork(
        result,
        chosen.label,
        deployed_network(store, key, chosen.label),
        required_normalization(result),
        task or _task(result),
    )


def open_module(
    store: Store,
    key: str,
    class_name: str,
    *,
    weak: WeakNetwork,
    task: PreparedTask | None = None,
    library: ModuleLibrary | None = None,
) -> StrongModule:
    """The module to mend it with.

    Args:
        task: As for `open_weak`.
        library: The run's class modules, likewise.

    Raises:
        UnknownRecord: There is no such run, it is not finished, or it has no class modules.
        ExportRefused: It knows no such class, reads inputs of another shape or made otherwise, or its samples are not
            at hand.
        StoreProblem: What is stored of it is damaged.
    """
    library, result = library or stored_library(store, key), store.finished_run(key)
    _place(class_name, library.class_names, f"the strong run {key}")
    require_same_inputs((weak.result, weak.network), (result, library.network))
    own = required_normalization(result)
    network = module_reading(ModulePick(library, class_name, own), weak.normalization)
    deployed = as_network(artefact.decode(artefact.encode(deployed_form(network))))
    return StrongModule(result, library, class_name, deployed, weak.normalization, task or _task(result))


def parse_way(name: str | None) -> Way | None:
    """The way of that name.

    Raises:
        ExportRefused: There is none.
    """
    if name is None:
        return None
    known: dict[str, Way] = {way: way for way in WAYS}
    if name not in known:
        raise ExportRefused(f"--way: no way '{name}'; known: {', '.join(WAYS)}.{did_you_mean(name, WAYS)}")
    return known[name]


def fitting_way(module: StrongModule, wanted: Way | None) -> Way:
    """The way that suits the module, unless one is asked for.

    Raises:
        ExportRefused: The module has no head, so its score is no probability.
    """
    if wanted == "score" and not module.has_head:
        raise ExportRefused(
            f"run {module.result.key}: the modules of '{module.result.run.method}' have no heads, so their scores are "
            "logits and cannot stand beside probabilities as they are; choose the way calibrated or trained_head"
        )
    return wanted or ("score" if module.has_head else "calibrated")


def patch_layer(weak: WeakNetwork, module: StrongModule, *, target: int, way: Way) -> PatchLayer:
    """What stands behind the two, as it is stored.

    Raises:
        ExportRefused: The module cannot be calibrated.
    """
    return _patch_layer(weak, module, target=target, way=way).as_stored()


def _patch_layer(weak: WeakNetwork, module: StrongModule, *, target: int, way: Way) -> PatchLayer:
    num_classes = weak.network.architecture.num_outputs
    if way == "score":
        return replacing_layer(num_classes, target=target, squashed=True)
    if way == "calibrated":
        calibration = module.calibration()
        return replacing_layer(num_classes, target=target, calibration=calibration, squashed=module.has_head)
    train = weak.task.train
    return trained_layer(
        weak.logits(train), module.scores(train), train.targets.cpu(), target=target, seed=weak.result.run.seed
    )


def control_scores(weak: WeakNetwork, split: Split) -> Tensor:
    """Scores of the weak network behind a trained layer and without any module."""
    weight, bias = weak.control
    return weak.logits(split) @ weight.T + bias


def _task(result: RunResult) -> PreparedTask:
    try:
        return task_of(result)
    except SamplesMissing as missing:
        raise ExportRefused(f"run {result.key}: {missing}; a patch is calibrated and measured on them") from missing


def _place(name: str, known: tuple[str, ...], whose: str) -> int:
    if name not in known:
        raise ExportRefused(
            f"{whose} does not know the class '{name}'; known: {', '.join(known)}.{did_you_mean(name, known)}"
        )
    return known.index(name)
