"""Tasks ready to train on: a data set split, normalised and moved to a device. The test split is never in them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from methods.contract import Normalization, Split, TaskInfo
from methods.data.dataset import Array, Column, DataError, DataSet, LockedTest
from methods.data.encoding import TableEncoding, fit_encoding
from methods.data.skew import dirichlet_subset
from methods.data.splits import Indices, require_samples, stratified_split, stratified_subset
from methods.data.statistics import balanced_weights, measure_normalization
from methods.networks.build import build_network
from methods.networks.catalog import design_network
from methods.networks.graph import Network
from methods.task_spec import NetworkSpec, TaskSpec


@dataclass(frozen=True)
class PreparedTask:
    """One task for one seed on one device; what a method is given (see `methods.contract.Task`).

    Regression targets are raw values in the unit of the data set, neither centred nor scaled: a method that wants
    them otherwise does so itself and undoes it in the network it delivers.
    """

    info: TaskInfo
    train: Split
    validation: Split
    normalization: Normalization
    augmentation: Literal["none", "crop_flip"]
    epochs: int
    batch_size: int
    seed: int
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    network_spec: NetworkSpec
    class_weights: Tensor | None = None

    def network(self, *, width: float = 1.0, units: Mapping[str, int] | None = None) -> Network:
        """A fresh network on the task's device; its weights depend on `seed` and the arguments alone."""
        return build_network(
            self.network_spec.name,
            input_shape=self.info.input_shape,
            num_outputs=self.info.num_outputs,
            width=width,
            units=units,
            seed=self.seed,
            arguments=self.network_spec.arguments,
        ).to(self.device)


@dataclass(frozen=True, eq=False)
class TaskData:
    """The samples of one task, split once for all its runs. Nobody writes to the arrays.

    Pickled with protocol 5 the arrays travel out of band, so that the processes of a machine share one copy: on a CPU
    a task's tensors are views of them.
    """

    name: str
    """Of the data set."""
    kind: Literal["classification", "regression"]
    fingerprint: str
    class_names: tuple[str, ...]
    train_inputs: Array = field(repr=False)
    train_targets: Array = field(repr=False)
    validation_inputs: Array = field(repr=False)
    validation_targets: Array = field(repr=False)
    normalization: Normalization
    locked: LockedTest | None
    """A table's is as its file has it; `open_test` encodes it."""
    columns: tuple[Column, ...] = ()
    """Of the table as its file has it; empty for all other samples."""
    encoding: TableEncoding | None = None
    """Fitted on the training part: how that table became features; None for all other samples."""

    @property
    def class_counts(self) -> dict[str, int]:
        """Training samples of each class; empty for a regression."""
        if self.kind == "regression":
            return {}
        counts = np.bincount(self.train_targets, minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    @property
    def num_bytes(self) -> int:
        """Memory of all samples, the locked test split included."""
        arrays = (self.train_inputs, self.train_targets, self.validation_inputs, self.validation_targets)
        return sum(array.nbytes for array in arrays) + (self.locked.num_bytes if self.locked else 0)


def prepare(spec: TaskSpec, dataset: DataSet) -> TaskData:
    """Split the training pool of `dataset` as `spec` says.

    The split depends on `spec.split_seed`, not on a run's seed: replicates train on the same samples.

    A skew thins out the training part alone, after split and fraction. CNN decomposition (see `methods.data.skew`)
    draws the skewed set first and holds a fifth of it out for validation, and chooses among the modules of several
    source models on a fifth of the test file. Here the test split stays locked, so modules are chosen on validation
    samples, which therefore must be the same, and enough of every class, for all skews of one split.

    Args:
        spec: The task.
        dataset: The samples that `spec.data` names; may be without its test split.

    Raises:
        DataError: A class has too few samples to be both trained and validated on, or for the skew, no column of a
            table varies in training, or classes of a regression are to be weighed or skewed.
    """
    for_classes = {"class_weights: balanced": spec.class_weights == "balanced", "skew": spec.skew is not None}
    given = [setting for setting, is_given in for_classes.items() if is_given]
    if given and dataset.kind == "regression":
        raise DataError(f"'{dataset.name}' is a regression and has no classes; remove `{'` and `'.join(given)}`.")
    train, validation = _split(spec, dataset)
    train_inputs, validation_inputs = dataset.train_inputs[train], dataset.train_inputs[validation]
    encoding = None
    # Of the training part alone, here and below: validation and test samples may not shape what the network sees.
    if dataset.columns:
        encoding = fit_encoding(train_inputs, dataset.columns)
        train_inputs = encoding.encode(train_inputs, dataset.columns)
        validation_inputs = encoding.encode(validation_inputs, dataset.columns)
    return TaskData(
        name=dataset.name,
        kind=dataset.kind,
        fingerprint=dataset.fingerprint,
        class_names=dataset.class_names,
        train_inputs=train_inputs,
        train_targets=dataset.train_targets[train],
        validation_inputs=validation_inputs,
        validation_targets=dataset.train_targets[validation],
        normalization=dataset.normalization or measure_normalization(train_inputs),
        locked=dataset.locked,
        columns=dataset.columns,
        encoding=encoding,
    )


def build_task(spec: TaskSpec, data: TaskData, *, name: str, seed: int, device: str) -> PreparedTask:
    """One run's view of a task, on `device`. Tensors may share memory with other tasks and must not be written to.

    Args:
        spec: The task.
        data: `prepare(spec, ...)`.
        name: The task's name in the study.
        seed: Of the initial weights and of all else that is random in training.
        device: As PyTorch writes it, e.g. `cpu` or `cuda:0`.
    """
    return PreparedTask(
        info=task_info(spec, data, name),
        train=_to_split(data.train_inputs, data.train_targets, device),
        validation=_to_split(data.validation_inputs, data.validation_targets, device),
        normalization=data.normalization,
        augmentation=spec.augmentation,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        seed=seed,
        device=device,
        precision=spec.precision,
        network_spec=spec.network,
        class_weights=_class_weights(spec, data, device),
    )


def task_info(spec: TaskSpec, data: TaskData, name: str) -> TaskInfo:
    """What `build_task` puts into `info`.

    Raises:
        ValueError: The network cannot read samples of this shape.
    """
    input_shape = tuple(data.train_inputs.shape[1:])
    num_outputs = len(data.class_names) if data.kind == "classification" else 1
    return TaskInfo(
        name=name,
        kind=data.kind,
        input_shape=input_shape,
        num_outputs=num_outputs,
        class_names=data.class_names,
        num_train=len(data.train_targets),
        num_validation=len(data.validation_targets),
        network=str(spec.network),
        architecture=design_network(
            spec.network.name, input_shape=input_shape, num_outputs=num_outputs, arguments=spec.network.arguments
        ),
        epochs=spec.epochs,
    )


def open_test(data: TaskData, *, opened_by: str, device: str = "cpu") -> Split:
    """The test split in full, whatever fraction of the pool the task trains on; the opening is remembered.

    Raises:
        DataError: The data set was handed on without its test split.
    """
    if data.locked is None:
        raise DataError(f"data set '{data.name}' came without its test split; load it again.")
    inputs, targets = data.locked.open(opened_by)
    own = inputs.copy() if data.encoding is None else data.encoding.encode(inputs, data.columns)
    return _to_split(own, targets.copy(), device)


def _class_weights(spec: TaskSpec, data: TaskData, device: str) -> Tensor | None:
    if spec.class_weights == "none":
        return None
    return torch.from_numpy(balanced_weights(data.train_targets, len(data.class_names))).to(device)


def _split(spec: TaskSpec, dataset: DataSet) -> tuple[Indices, Indices]:
    """Indices into the pool. Split first, thinned out after: a sample once in validation is never trained on,
    whatever the fraction and the skew, and the samples of a smaller fraction lie inside those of a larger one."""
    targets = dataset.train_targets
    if dataset.kind == "classification":
        require_samples(targets, minimum=2, purpose=f"task on '{dataset.name}'", class_names=dataset.class_names)
    train, validation = stratified_split(targets, spec.validation_share, seed=spec.split_seed)
    if spec.fraction < 1:
        train = train[stratified_subset(targets[train], spec.fraction, seed=spec.split_seed)]
        validation = validation[stratified_subset(targets[validation], spec.fraction, seed=spec.split_seed)]
    if spec.skew is not None:
        drawn = dirichlet_subset(
            targets[train],
            seed=spec.skew.seed,
            concentration=spec.skew.concentration,
            minimum=spec.skew.minimum,
            class_names=dataset.class_names,
        )
        train = train[drawn]
    return train, validation


def _to_split(inputs: Array, targets: Array, device: str) -> Split:
    with warnings.catch_warnings():
        # Shared memory is read-only, which tensors cannot express; a task's tensors are never written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return Split(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device))
