"""The contract between methods and whoever runs them: what goes in, what comes out, what may be said in between.

Shapes: N = samples, C = channels, H, W = height and width, D = features, K = classes.
Importing this file does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from methods.figures import Figure
from methods.json_value import Json

if TYPE_CHECKING:
    from torch import Tensor

    from methods.config import MethodConfig
    from methods.modules.library import ModuleLibrary
    from methods.modules.side_by_side import Delivered
    from methods.networks.architecture import Architecture
    from methods.networks.graph import Network


class UnsupportedTask(ValueError):
    """A method cannot work on a task; the message names what is missing and what would do."""


class StoppedEarly(Exception):
    """Raised out of `Monitor.report` when the search has given up on this run; a method lets it pass."""


class TrainingDiverged(RuntimeError):
    """The loss or the weights stopped being finite; the message says in which epoch."""


@dataclass(frozen=True)
class TaskInfo:
    """What is known about a task without touching its samples."""

    name: str
    kind: Literal["classification", "regression"]
    input_shape: tuple[int, ...]
    """(C, H, W) for images, (D,) for tables."""
    num_outputs: int
    """Number of classes; 1 for regression."""
    class_names: tuple[str, ...]
    """Empty for regression."""
    num_train: int
    num_validation: int
    network: str
    """Name of the dense network in `methods.networks`, as shown to users."""
    architecture: Architecture
    """Of that network, for methods that work on some kinds of layers only."""
    epochs: int
    """Passes over the training samples that a method may spend."""

    @property
    def is_image(self) -> bool:
        return len(self.input_shape) == 3


@dataclass(frozen=True)
class Normalization:
    """Per-channel (images, on the 0-1 scale) or per-feature (tables) mean and standard deviation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Split:
    """Samples and their targets, on one device.

    `inputs`: uint8 (N, C, H, W) for images, float32 (N, D) for tables; never normalised beforehand.
    `targets`: int64 (N,) for classification, float32 (N,) for regression.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


class Task(Protocol):
    """What a method may see: train and validation samples and how to train on them. It holds no test split."""

    @property
    def info(self) -> TaskInfo: ...
    @property
    def train(self) -> Split: ...
    @property
    def validation(self) -> Split: ...
    @property
    def normalization(self) -> Normalization: ...
    @property
    def augmentation(self) -> Literal["none", "crop_flip"]: ...
    @property
    def epochs(self) -> int:
        """Total budget of passes over `train`, the same for every method of a study."""
        ...

    @property
    def batch_size(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> Literal["auto", "float32", "bfloat16"]: ...
    @property
    def class_weights(self) -> Tensor | None:
        """float32 (K,) on the device: what a sample of each class counts in the training loss, 1 on average over
        `train`; None: all alike. `methods.training.loop.default_loss` heeds it, and so must a loss in its place."""
        ...

    def network(self, *, width: float = 1.0, units: Mapping[str, int] | None = None) -> Network:
        """A freshly initialised network of the task's architecture, on the task's device.

        The initial weights depend on `seed` and the arguments alone. `width` scales the number of inner units; `units`
        gives some sites other numbers of units by name (`methods.networks.resizing`).
        """
        ...


class Monitor(Protocol):
    """A method's line to whoever runs it. Every call is cheap and may be left out, except as noted."""

    def report(self, progress: float, accuracy: float, size: float) -> None:
        """Say how far the run is.

        Args:
            progress: Share of the schedule done, in (0, 1].
            accuracy: Validation accuracy (R2 for regression) of the network as it would be delivered now.
            size: The share of the dense network's weights that the delivered network will hold, in (0, 1].

        Raises:
            StoppedEarly: The search has given up on this run.
        """
        ...

    def curve(self, epoch: int, **values: float) -> None:
        """Record values of one finished epoch (0-based, counted over all phases), e.g. `train_loss=...`."""
        ...

    def note(self, message: str) -> None:
        """Record one sentence for the reader of the run, e.g. that a guard took effect."""
        ...

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Offer a state to resume from: nested mappings and lists of tensors and JSON values."""
        ...

    def resume(self) -> dict[str, Any] | None:
        """The last state offered by an earlier attempt at this very run; None on a fresh start."""
        ...


class SilentMonitor:
    """A monitor for notebooks and tests: hears everything, keeps nothing, never stops a run."""

    def report(self, progress: float, accuracy: float, size: float) -> None:
        del progress, accuracy, size

    def curve(self, epoch: int, **values: float) -> None:
        del epoch, values

    def note(self, message: str) -> None:
        del message

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        del state

    def resume(self) -> dict[str, Any] | None:
        return None


@dataclass(frozen=True)
class Prerequisite:
    """A run that must be finished before this one: same task and seed, another method."""

    method: str
    config: Mapping[str, Json] = field(default_factory=dict)
    """Fields that differ from that method's defaults."""


Given = Mapping[str, "Network"]
"""The headline network of each prerequisite, by the name of its method, with its trained weights."""


@dataclass(frozen=True)
class Variant:
    """One network that a run delivers; it is graded by `methods.measure`, never by the method itself."""

    label: str
    """Unique within the run, letters, digits, `_`, `-` and `.`."""
    kind: Literal["whole", "module", "composed"]
    network: Delivered
    """A plain network, or class modules over one that run side by side."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """What sets this variant apart, e.g. `{"width": 0.5}`."""


class UnsupportedWidth(ValueError):
    """No network of such a width or depth can be drawn; the message says which can."""


@dataclass(frozen=True)
class DrawnNetwork:
    """An ordinary network that a generator has drawn."""

    network: Network
    settings: Mapping[str, Json]
    """As of the variants of the same run: `width`, `compression_ratio` (1 - width), `seen`, `generator_parameters`, and
    what else applies."""
    notes: tuple[str, ...] = ()
    """What a user ought to know, e.g. that no such width was trained."""


class NetworkGenerator(Protocol):
    """Draws ordinary networks of any width, and depth, without training. Equal requests give equal networks."""

    @property
    def parameters(self) -> int:
        """Numbers that must be kept to draw networks: the generator's own and those that all networks share."""
        ...

    @property
    def trained_widths(self) -> tuple[float, float]:
        """The least and the greatest width that training has seen, as shares of the full width."""
        ...

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual blocks of each stage; empty where the network has none, or the generator is not made to leave any
        out."""
        ...

    def draw(self, width: float, *, depth: Sequence[int] | None = None) -> DrawnNetwork:
        """A network on the CPU in evaluation mode, without batch normalisation.

        Args:
            width: Share of the full width, above 0.
            depth: Residual blocks to keep of each stage; None: all.

        Raises:
            UnsupportedWidth: A layer would have no unit, the width is far beyond what was trained, or the blocks
                cannot be left out.
        """
        ...

    def save(self) -> bytes:
        """The stored form, read by the method's `load_generator`."""
        ...


@runtime_checkable
class Generating(Protocol):
    """What the class of a method has, besides being a `Method`, whose outcomes hold a generator."""

    @staticmethod
    def load_generator(data: bytes) -> NetworkGenerator:
        """Read what `NetworkGenerator.save` wrote.

        Raises:
            ValueError: The bytes are damaged, or hold something else.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """All that a run delivers."""

    variants: tuple[Variant, ...]
    epochs: float
    """Passes over the training samples that were really spent."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """Anything a reader of the run wants to know, e.g. `{"regularised_epochs": 66}`."""
    figures: tuple[Figure, ...] = ()
    """What is better seen than read: charts as data, drawn by whoever shows the run."""
    library: ModuleLibrary | None = None
    """Of a modular method: its class modules. Modules and compositions are cut from it on demand, so they need not be
    among the variants; what they are worth is measured by whoever runs the method."""
    generator: NetworkGenerator | None = None
    """Of a metamorphic method, whose class is `Generating`: what further networks are drawn from on demand."""


class Method(Protocol):
    """A way to make a network smaller or modular."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the same configuration would give another result; part of every run's key."""
    Config: ClassVar[type[MethodConfig]]

    def __init__(self, config: Any) -> None: ...

    def prerequisites(self) -> tuple[Prerequisite, ...]: ...

    def check(self, info: TaskInfo) -> None:
        """Raise `UnsupportedTask` when this configuration cannot work on such a task."""
        ...

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome: ...
