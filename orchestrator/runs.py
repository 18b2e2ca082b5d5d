"""A run is data, a result is an address: what a run is, its content key, and what is stored of it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from methods.registry import config_class, method_version
from methods.task_spec import TaskSpec, content_key
from orchestrator.module_results import ModulesResult
from orchestrator.sizes import Sizes

Phase = Literal["search", "confirm"]


class Run(BaseModel):
    """One training: a task, a method with its configuration, a seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_name: str
    """For people; not part of the key."""
    task: TaskSpec
    data_fingerprint: str
    method: str
    config: dict[str, Any] = Field(default_factory=dict)
    """Fields that differ from the method's defaults, as JSON values."""
    seed: int
    version: int = Field(default_factory=lambda given: method_version(given["method"]))
    """Of the method; stored, so that a run keeps its key when the method has a new version or is gone."""

    @cached_property
    def key(self) -> str:
        """Address of this run in every store: equal for runs that would give equal results."""
        return content_key(
            {
                "task": self.task.identity(self.data_fingerprint),
                "method": self.method,
                "version": self.version,
                "config": self.config,
                "seed": self.seed,
            }
        )

    def of(self, method: str, config: dict[str, Any]) -> Run:
        """The run of another method on the same task and seed, e.g. a prerequisite."""
        changed = config_class(method)(**config).changed()
        return self.replaced(method=method, config=changed, version=method_version(method))

    def replaced(self, **fields: Any) -> Run:
        """The run with other fields. Built anew, because `model_copy` would carry the computed key along."""
        return Run(**({name: getattr(self, name) for name in Run.model_fields} | fields))


class GradedVariant(BaseModel):
    """One delivered network under the ruler. Quality values are keyed by metric name.

    Classification: `accuracy`, `macro_precision`, `macro_recall`, `macro_f1`. Regression: `r2`, `mse`.
    """

    model_config = ConfigDict(frozen=True)

    label: str
    kind: Literal["whole", "module", "composed"]
    settings: dict[str, Any] = Field(default_factory=dict)
    validation: dict[str, float]
    per_class: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Class name -> `precision`, `recall`, `f1` on validation."""
    subtasks: dict[str, float] = Field(default_factory=dict)
    """Number of classes ("2", "3", ...) -> validation accuracy on the samples of so many classes with the other logits
    cut off, mean over subsets of the classes; empty for regression and where an earlier version graded."""
    sizes: Sizes
    reference_sizes: Sizes
    """The dense network of the task, fresh, through the same export."""
    latency_ms: dict[str, float] = Field(default_factory=dict)
    """Batch size ("1", "256") -> median milliseconds of a forward pass on the device of the run."""

    @property
    def score(self) -> float:
        """Validation accuracy, or R2 for regression."""
        return self.validation["accuracy"] if "accuracy" in self.validation else self.validation["r2"]

    def ratio(self, measure: str) -> float:
        """Size as a share of the dense network's; `measure` is a field of `Sizes`."""
        return float(getattr(self.sizes, measure)) / float(getattr(self.reference_sizes, measure))


class GeneratorResult(BaseModel):
    """What is known of a stored generator of networks, without reading it."""

    model_config = ConfigDict(frozen=True)

    parameters: int
    """Of the generator and all that its networks share: what must be kept to draw networks."""
    stored_bytes: int
    """Of its file."""
    digest: str
    """SHA-256 of the file, so that no other run's is taken for it."""
    trained_widths: tuple[float, float]
    blocks: tuple[int, ...] = ()
    """Residual blocks of each stage, where some can be left out; else empty."""


class RunResult(BaseModel):
    """What `outcome.json` holds: everything known of a finished run but its tensors and curves."""

    model_config = ConfigDict(frozen=True)

    key: str
    run: Run
    variants: tuple[GradedVariant, ...]
    modules: ModulesResult | None = None
    """Of a modular method."""
    generator: GeneratorResult | None = None
    """Of a method that generates networks of any width."""
    prerequisites: dict[str, str] = Field(default_factory=dict)
    """Method -> key of the run whose network this one started from; empty also in results of earlier versions."""
    epochs: float
    facts: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fit_seconds: float
    grade_seconds: float
    finished_at: str
    """UTC, ISO 8601."""
    preprocessing: dict[str, Any] | None = None
    """What turns raw samples into what the networks read, as JSON: `normalization` holds `mean` and `std` per channel
    (images, on the 0-1 scale) or feature, `table` how a user's columns become features before that. None where an
    earlier version did not record it."""
    environment: dict[str, str] = Field(default_factory=dict)
    """`git`, `python`, `torch`, `device`, `cpu`, `threads`, `host`."""


class Failure(BaseModel):
    """One failed attempt at a run."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["raised", "diverged", "worker_died", "unsupported"]
    message: str
    traceback: str = ""
    at: str
    """UTC, ISO 8601."""


class Record(BaseModel):
    """One line of a study's ledger: a trial run with one seed, however it ended."""

    model_config = ConfigDict(frozen=True)

    study: str
    task_name: str
    method: str
    """The method's label in the study; `run.method` is its name in the registry."""
    trial: int
    seed: int
    phase: Phase
    run: Run
    status: Literal["finished", "stopped_early", "failed"]
    cached: bool = False
    """The result was in the store when this was asked for, from this study or another; nobody trained for it."""
    reason: str = ""
    """Why it failed or was stopped."""
    progress: float = 1.0
    """Share of the schedule done; below 1 when stopped early."""
    device_seconds: float = 0.0
    """What this study paid for it; 0 when cached."""

    @property
    def id(self) -> str:
        """Unique within the study and the same whenever the same thing is recorded again."""
        return self.make_id(self.phase, self.task_name, self.method, self.trial, self.seed)

    @staticmethod
    def make_id(phase: Phase, task_name: str, method: str, trial: int, seed: int) -> str:
        return f"{phase}-{task_name}-{method}-{trial:05d}-{seed}"
