"""A network in training, as one state that can be stored and gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from methods.networks.dropout import draw_dropout_from

Optimizer = Literal["sgd", "adam", "adamw"]
_AnyNetwork = TypeVar("_AnyNetwork", bound=nn.Module)

_BETA2 = 0.999
_EPS = 1e-8


class Learner(Generic[_AnyNetwork]):
    """A network in training: its weights, the optimizer's state, random generator, and the number of finished epochs.

    `momentum` holds one buffer per entry of `parameters`; changes in place take effect.

    Args:
        network: Trained in place. The weights of an image network are laid out channels-last; dropout draws from the
            generator of the learner made last.
        optimizer: `adamw` shrinks the weights directly (Loshchilov and Hutter, ICLR 2019), `adam` through the gradient.
        momentum: Of SGD; beta1 of Adam (Kingma and Ba, ICLR 2015), whose other constants are the paper's.
        nesterov: Step along the gradient plus the renewed momentum, of SGD.
        weight_decay: Times the weights, added to the gradients; with `adamw` times the rate too, taken off the weights.
        seed: Seeds order, augmentation and dropout, together with `first_epoch`, so that the phases of a run differ.
        first_epoch: Epochs of earlier phases of the run.
        keep_gradients: Zero the gradients in place before each step instead of freeing them, for a hook that holds
            views of them.
    """

    def __init__(
        self,
        network: _AnyNetwork,
        *,
        momentum: float,
        weight_decay: float,
        seed: int,
        optimizer: Optimizer = "sgd",
        nesterov: bool = False,
        first_epoch: int = 0,
        keep_gradients: bool = False,
    ) -> None:
        # Concerns four-dimensional weights alone; torch's annotations leave this form of `to` out.
        self.network: _AnyNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # Empty buffers from the start: a first step then needs no case of its own, here or in a stored state.
        self.momentum = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]
        self._squares = [torch.zeros_like(buffer) for buffer in self.momentum] if optimizer != "sgd" else []
        self._steps = [torch.zeros((), device=buffer.device) for buffer in self._squares]
        self.generator = torch.Generator(device=self.parameters[0].device)
        self.generator.manual_seed((seed * 1_000_003 + first_epoch) % 2**63)
        draw_dropout_from(network, self.generator)
        self.epoch = first_epoch
        self.keep_gradients = keep_gradients
        self._momentum_share = momentum
        self._nesterov = nesterov
        self._adam_step = torch._fused_adamw_ if optimizer == "adamw" else torch._fused_adam_
        self._weight_decay = weight_decay

    def forget_gradients(self) -> None:
        """Make the next backward pass start from zero."""
        for parameter in self.parameters:
            if self.keep_gradients and parameter.grad is not None:
                parameter.grad.zero_()
            else:
                parameter.grad = None

    @torch.no_grad()
    def forget(self, parameter: Tensor, where: Tensor) -> None:
        """Make the optimizer forget the past of some weights: their momentum, and with Adam their second moments.

        Args:
            parameter: One of `parameters`.
            where: bool, of its shape.
        """
        index = next(index for index, own in enumerate(self.parameters) if own is parameter)
        for buffers in (self.momentum, self._squares):
            if buffers:
                buffers[index].masked_fill_(where, 0.0)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Change the weights along their gradients; a parameter without gradient stays as it is.

        SGD: v <- momentum * v + (g + weight_decay * w), w <- w - rate * v; Nesterov's w <- w - rate * (g + weight_decay
        * w + momentum * v). Adam: with bias-corrected moments; AdamW: w <- w - rate * weight_decay * w besides.
        """
        ready = [index for index, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not ready:
            return
        parameters: list[Tensor] = [self.parameters[index] for index in ready]
        gradients = [gradient for parameter in self.parameters if (gradient := parameter.grad) is not None]
        momentum = [self.momentum[index] for index in ready]
        # The kernels of torch.optim with fused=True without the class around them, which would import the compiler into
        # every worker (300 modules, seconds) and whose book-keeping costs more than the step of a small network.
        if self._squares:
            steps = [self._steps[index] for index in ready]
            torch._foreach_add_(steps, 1.0)
            self._adam_step(
                parameters,
                gradients,
                momentum,
                [self._squares[index] for index in ready],
                [],
                steps,
                lr=learning_rate,
                beta1=self._momentum_share,
                beta2=_BETA2,
                weight_decay=self._weight_decay,
                eps=_EPS,
                amsgrad=False,
                maximize=False,
            )
            return
        torch._fused_sgd_(
            parameters,
            gradients,
            momentum,
            weight_decay=self._weight_decay,
            momentum=self._momentum_share,
            lr=learning_rate,
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
            is_first_step=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the further training depends on, fit for `checkpoints.pack`."""
        return {
            "network": {name: value.detach().clone() for name, value in self.network.state_dict().items()},
            "momentum": [buffer.clone() for buffer in self.momentum],
            "squares": [buffer.clone() for buffer in self._squares],
            "steps": [count.clone() for count in self._steps],
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same network, as if never stopped.

        Raises:
            RuntimeError: The state is of another architecture.
        """
        self.network.load_state_dict(state["network"])
        # Copied into place: the fused step needs momentum laid out in memory exactly like its weights.
        for name, buffers in (("momentum", self.momentum), ("squares", self._squares), ("steps", self._steps)):
            # An earlier version stored no state of Adam, which plain SGD has none of.
            for buffer, stored in zip(buffers, state.get(name, []), strict=True):
                buffer.copy_(stored)
        self.generator.set_state(state["generator"])
        self.epoch = int(state["epoch"])
