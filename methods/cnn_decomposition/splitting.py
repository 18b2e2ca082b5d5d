"""GradSplitter's training: masks and heads of all modules together, over a trained network that stays as it is.

The N modules run as one stacked pass. While heads alone are trained nothing below them changes and no image is
augmented, so the logits are computed once per phase, by networks cut to the modules, and heads train on that table.
Where the task trains in bfloat16 the masked network runs in it too, and with it the products whose sums are the masks'
gradients, which the reference computes in float32: ours. Masks, heads and loss themselves stay float32.

Source: Qi et al., TOSEM 2023 (arXiv 2311.04438): the rules are those of its public code.

Shapes: M = modules, B, N = samples, K = logits, C = kernels of a layer, U = units of a site.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.cnn_decomposition.gradsplitter import Epoch, scores, select_epoch, splitter_loss
from methods.cnn_decomposition.gradsplitter_config import GradSplitterConfig
from methods.cnn_decomposition.history import History
from methods.cnn_decomposition.layers import kernel_retention, maskable_layers, site_masks, with_first_kernel
from methods.cnn_decomposition.masks import KernelMasks
from methods.cnn_decomposition.module_sizes import mean_module_share
from methods.contract import Monitor, Split, Task, TrainingDiverged
from methods.measure.predict import predict
from methods.modules.heads import ModuleHeads
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.networks.stacked import run_stacked
from methods.surgery import extract
from methods.training.batches import num_batches, train_batches
from methods.training.learner import Learner
from methods.training.precision import autocast, task_precision

_TABLE_BYTES = 2**29
"""Most memory for the logits of all training samples; beyond it they are computed anew for each batch of heads."""


@dataclass(frozen=True)
class Splitting:
    """What a decomposition ended with."""

    kept: list[Tensor]
    """Kernels that each module retains at the selected epoch, bool (M, C) per layer; none without a kernel."""
    heads: ModuleHeads
    """Of the same epoch."""
    epoch: int
    """The selected one."""
    reference: float
    """Validation accuracy of the trained network."""
    history: History


class _Learned(nn.Module):
    """All that is trained."""

    def __init__(self, masks: KernelMasks, heads: ModuleHeads) -> None:
        super().__init__()
        self.masks = masks
        self.heads = heads

    def train_only(self, phase: str) -> None:
        """Freeze the masks while heads alone are trained."""
        self.masks.requires_grad_(phase == "modularise")


def split_network(
    source: Network, task: Task, *, config: GradSplitterConfig, epochs: Sequence[Epoch], monitor: Monitor
) -> Splitting:
    """Learn masks and heads for one module per class, and select an epoch.

    Resuming from a checkpoint equals never having stopped.

    Args:
        source: Trained, on the task's device; left alone.
        config: Everything but the number of cycles, which `epochs` says.

    Raises:
        StoppedEarly: From the monitor.
        TrainingDiverged: The loss is not finite at the end of an epoch.
    """
    return _Session(source, task, config, monitor).follow(epochs)


class _Session:
    def __init__(self, source: Network, task: Task, config: GradSplitterConfig, monitor: Monitor) -> None:
        # Inference mode throughout, so normalisation is part of the convolutions before it.
        network = fold_batch_norm(source).eval().requires_grad_(False)
        self._network: Network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._task = task
        self._config = config
        self._monitor = monitor
        self._layers = maskable_layers(source.architecture)
        num_classes = task.info.num_outputs
        heads = ModuleHeads(num_classes, num_classes)
        heads.initialise(torch.Generator().manual_seed(task.seed))
        self._learned = _Learned(KernelMasks(self._layers, num_classes), heads).to(task.device)
        self._reference = _accuracy(self._all_logits(task.validation)[0], task.validation.targets)
        self._history = History()
        self._told_of_emptied = False
        self._validated: dict[bytes, Tensor] = {}

    def follow(self, epochs: Sequence[Epoch]) -> Splitting:
        learner = self._resumed(epochs)
        table_MNK: Tensor | None = None
        for number in range(len(self._history), len(epochs)):
            epoch = epochs[number]
            if epoch.new_optimizer or learner is None:
                self._learned.train_only(epoch.phase)
                learner = self._new_learner(number)
            if epoch.phase == "modularise":
                table_MNK = None
                loss = self._modularise(learner, epoch)
            else:
                table_MNK = self._table() if table_MNK is None else table_MNK
                loss = self._train_heads(learner, epoch, table_MNK)
            learner.epoch += 1
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"epoch {number}: the loss became {loss} at learning rate {epoch.learning_rate:g}; lower the "
                    "learning rates"
                )
            self._record(number, epoch, loss)
            self._tell(learner, done=(number + 1) / len(epochs))
        return self._selected()

    def _new_learner(self, number: int) -> Learner[_Learned]:
        return Learner(
            self._learned, optimizer="adam", momentum=0.9, weight_decay=0.0, seed=self._task.seed, first_epoch=number
        )

    def _resumed(self, epochs: Sequence[Epoch]) -> Learner[_Learned] | None:
        """The learner of an earlier attempt's last epoch, with masks, heads and history as they were; None if none."""
        stored = self._monitor.resume()
        if stored is None:
            return None
        self._history = History.from_state(stored["history"])
        self._told_of_emptied = bool(stored["told_of_emptied"])
        last = len(self._history) - 1
        self._learned.train_only(epochs[last].phase)
        learner = self._new_learner(last)
        learner.load_state_dict(stored["learner"])
        return learner

    def _modularise(self, learner: Learner[_Learned], epoch: Epoch) -> float:
        """One epoch of masks and heads; the mean loss."""
        task, learned = self._task, self._learned
        precision = task_precision(task)
        losses, sizes = [], []
        for inputs, labels in self._batches(learner):
            learner.forget_gradients()
            with autocast(task.device, precision):
                logits_MBK = run_stacked(self._network, inputs, learned.masks.gates())
            loss = self._loss(logits_MBK, labels, epoch)
            loss.backward()  # type: ignore[no-untyped-call]
            learner.step(epoch.learning_rate)
            losses.append(loss.detach())
            sizes.append(len(labels))
        return _mean(losses, sizes)

    def _train_heads(self, learner: Learner[_Learned], epoch: Epoch, table_MNK: Tensor | None) -> float:
        """One epoch of heads; the mean loss."""
        losses, sizes = [], []
        for logits_MBK, labels in self._logit_batches(learner, table_MNK):
            learner.forget_gradients()
            loss = self._loss(logits_MBK, labels, epoch)
            loss.backward()  # type: ignore[no-untyped-call]
            learner.step(epoch.learning_rate)
            losses.append(loss.detach())
            sizes.append(len(labels))
        return _mean(losses, sizes)

    def _loss(self, logits_MBK: Tensor, labels: Tensor, epoch: Epoch) -> Tensor:
        return splitter_loss(
            scores(self._learned.heads(logits_MBK), self._config.objective),
            labels,
            self._learned.masks.listed(),
            size_weight=epoch.size_weight,
            class_weights=self._task.class_weights,
        )

    def _batches(self, learner: Learner[_Learned]) -> Iterator[tuple[Tensor, Tensor]]:
        task = self._task
        return train_batches(
            task.train,
            batch_size=self._config.batch_size,
            normalization=task.normalization,
            augmentation="none",
            generator=learner.generator,
        )

    def _logit_batches(self, learner: Learner[_Learned], table_MNK: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits of all modules (M, B, K) and labels, in the order of `_batches`."""
        if table_MNK is None:
            gates = {name: gate.detach() for name, gate in self._learned.masks.gates().items()}
            for inputs, labels in self._batches(learner):
                with torch.no_grad(), autocast(self._task.device, task_precision(self._task)):
                    logits_MBK = run_stacked(self._network, inputs, gates)
                yield logits_MBK, labels
            return
        targets = self._task.train.targets
        size = self._config.batch_size
        order_N = torch.randperm(len(targets), generator=learner.generator, device=targets.device)
        # As `train_batches` does: a last batch of a single sample is left out.
        for index_B in torch.split(order_N[: num_batches(len(targets), batch_size=size) * size], size):
            yield table_MNK[:, index_B], targets[index_B]

    def _table(self) -> Tensor | None:
        """Logits (M, N, K) of all training samples, valid while masks stay as they are; None if memory is too small.

        Of the modules as masked in training, where a layer without a kernel puts out zeros.
        """
        train = self._task.train
        if 4 * self._task.info.num_outputs**2 * len(train) > _TABLE_BYTES:
            return None
        return self._module_logits(self._learned.masks.kept(), train, known={})[0]

    def _validation_logits(self, kept: Sequence[Tensor]) -> Tensor:
        """Logits (M, N, K) of validation samples; those of keep-sets unchanged since the last call are kept."""
        logits_MNK, self._validated = self._module_logits(kept, self._task.validation, known=self._validated)
        return logits_MNK

    def _module_logits(
        self, kept: Sequence[Tensor], split: Split, *, known: Mapping[bytes, Tensor]
    ) -> tuple[Tensor, dict[bytes, Tensor]]:
        """Logits (M, N, K) of the networks cut to each keep-set, and (N, K) by keep-set for the next call's `known`."""
        masks = site_masks(self._network.architecture, self._layers, kept)
        keys = [row_U.numpy().tobytes() for row_U in torch.cat(masks, dim=1).cpu()]
        found: dict[bytes, Tensor] = {}
        for module, key in enumerate(keys):
            if key not in found:
                found[key] = known[key] if key in known else self._cut_logits(masks, module, split)
        return torch.stack([found[key] for key in keys]), found

    def _cut_logits(self, masks: Sequence[Tensor], module: int, split: Split) -> Tensor:
        return self._logits(extract(self._network, [mask_MU[module] for mask_MU in masks]), split)

    def _all_logits(self, split: Split) -> Tensor:
        """Those of the network with all its kernels, (1, N, K)."""
        return self._logits(self._network, split)[None]

    def _logits(self, network: Network, split: Split) -> Tensor:
        return predict(
            network,
            split,
            normalization=self._task.normalization,
            device=self._task.device,
            dtype=task_precision(self._task),
        )

    def _record(self, number: int, epoch: Epoch, loss: float) -> None:
        task, learned = self._task, self._learned
        kept, emptied = with_first_kernel(learned.masks.kept())
        if emptied and not self._told_of_emptied:
            self._told_of_emptied = True
            self._monitor.note(
                f"a module lost every kernel of layer {self._layers[emptied[0]].name} in epoch {number}; it keeps "
                "kernel 0 there, as every module does wherever it would keep none"
            )
        logits_MNK = self._validation_logits(kept)
        with torch.no_grad():
            accuracy = _accuracy(learned.heads(logits_MNK), task.validation.targets)
        retention = float(kernel_retention(self._layers, kept).mean())
        heads = [value.detach() for value in learned.heads.parameters()]
        self._history.add(accuracy, retention, self._module_share(kept), kept, heads)
        self._monitor.curve(
            number,
            train_loss=loss,
            learning_rate=epoch.learning_rate,
            val_accuracy=accuracy,
            kernel_retention=retention,
            size=self._history.sizes[-1],
        )

    def _module_share(self, kept: Sequence[Tensor]) -> float:
        heads = self._learned.heads
        return mean_module_share(
            self._network.architecture,
            self._layers,
            kept,
            outputs_MK=torch.ones(len(heads), heads.num_classes, dtype=torch.bool),
            head_parameters=sum(value.numel() for value in heads.parameters()) // len(heads),
        )

    def _tell(self, learner: Learner[_Learned], *, done: float) -> None:
        self._monitor.checkpoint(
            {
                "phase": "split",
                "learner": learner.state_dict(),
                "history": self._history.state(),
                "told_of_emptied": self._told_of_emptied,
            }
        )
        chosen = self._choice()
        self._monitor.report(done, self._history.accuracies[chosen], self._history.sizes[chosen])

    def _choice(self) -> int:
        return select_epoch(
            self._history.accuracies,
            self._history.retentions,
            reference=self._reference,
            tolerance=self._config.tolerance,
        )

    def _selected(self) -> Splitting:
        chosen = self._choice()
        widths = [layer.kernels for layer in self._layers]
        kept = self._history.kept_at(chosen, widths=widths, num_modules=self._task.info.num_outputs)
        heads = ModuleHeads(len(self._learned.heads), self._learned.heads.num_classes)
        self._history.fill(chosen, list(heads.parameters()))
        return Splitting(
            kept=kept,
            heads=heads.to(self._task.device).requires_grad_(False),
            epoch=chosen,
            reference=self._reference,
            history=self._history,
        )


def _accuracy(scores_NM: Tensor, targets_N: Tensor) -> float:
    return float((scores_NM.argmax(dim=1) == targets_N.to(scores_NM.device)).double().mean())


def _mean(losses: Sequence[Tensor], sizes: Sequence[int]) -> float:
    weights = torch.tensor(sizes, dtype=torch.float64, device=losses[0].device)
    return float((torch.stack(list(losses)).double() * weights).sum() / weights.sum())
