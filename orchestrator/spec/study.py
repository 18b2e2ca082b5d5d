"""A study as typed data: what is compared, on what, with how much effort, and where it all goes.

`orchestrator.spec.study_file` reads it from YAML. Importing this file loads no torch.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from methods.config import SearchSpace
from methods.task_spec import TaskSpec
from orchestrator.spec.environment import expand_environment
from orchestrator.spec.nightly import NightlySettings
from orchestrator.spec.reuse import ReuseSettings

Measure = Literal["stored_bytes", "parameters", "nonzeros", "macs"]
"""A size of a deployed network; a field of `orchestrator.runs.Sizes`."""

NAME_PATTERN = r"^[a-z0-9_]+$"
"""Names of studies, tasks and methods' labels: safe in file names, tables and MLflow; no `-`, which joins them."""


_T = TypeVar("_T")


def _told(name: str, otherwise: _T) -> str | _T:
    """An address by the environment, as the nodes of a cluster get it."""
    return os.environ.get(name) or otherwise


class _Spec(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, use_attribute_docstrings=True
    )


class EarlyStopping(_Spec):
    """When a run of the search is given up: beaten in accuracy and size by enough others at the same rung."""

    rungs: tuple[float, ...] = Field(default=(0.25, 0.5), min_length=1)
    """Shares of the schedule, ascending, between 0 and 1, at which runs are compared."""
    margin: float = Field(default=0.01, ge=0, lt=1)
    """Accuracy by which another run must be ahead to count: what the seed alone can move."""
    warmup_trials: int = Field(default=4, ge=0)
    """Trials of a cell that always run to the end."""

    @field_validator("rungs")
    @classmethod
    def _ascending_shares(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < rung < 1 for rung in rungs) or any(a >= b for a, b in pairwise(rungs)):
            raise ValueError("rungs are shares of the schedule, each above 0, below 1 and above the one before")
        return rungs


class SearchSettings(_Spec):
    """How each cell of the study searches its method's settings; equal for all cells."""

    trials: int = Field(default=8, ge=1)
    """Configurations tried in each cell; a cell without tunable fields has one."""
    sampler: Literal["tpe", "random"] = "tpe"
    """`tpe` learns from earlier trials, `random` does not."""
    objective: Measure = "stored_bytes"
    """The size that is made small while accuracy is made high."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """None, in a study file `none`, lets every run end."""
    seed: int = Field(default=0, ge=0)
    """Of the sampler; the runs' seeds are the study's `seeds`."""
    confirm: int | Literal["all"] = 4
    """Configurations of each cell's front that are trained again on every seed; `all`: every finished trial, on the
    front or not, for a study that maps a grid."""
    database: str | None = Field(default_factory=lambda: _told("PAREDOWN_SEARCH", None), validate_default=True)
    """Where the trials are kept, e.g. `postgresql://user@host/optuna`, never MLflow's own; `${NAME}` reads the
    environment. Else the environment's PAREDOWN_SEARCH; None: in a file of the store."""
    extra_seeds: int = Field(default=0, ge=0)
    """After confirmation, up to so many further seeds (those after the largest of `seeds`) for configurations whose
    intervals overlap on validation, as far as the budget lasts. Having looked twice, verdicts ask for twice the
    certainty."""

    @field_validator("database")
    @classmethod
    def _known_database(cls, database: str | None) -> str | None:
        if database is None:
            return None
        database = expand_environment(database)
        if re.match(r"(postgresql|mysql)(\+\w+)?://[^\s/]|sqlite:///[^\s]", database):
            return database
        raise ValueError("a database is postgresql://user@host/name; leave it out for a file of the store")

    @field_validator("confirm", mode="plain")
    @classmethod
    def _count_or_all(cls, value: Any) -> Any:
        # Plain: of a union, each member would report a fault of its own.
        if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError("must be a whole number from 1, or all")

    def most_confirmed(self, num_trials: int) -> int:
        """Configurations that a cell with so many trials may have confirmed."""
        return num_trials if self.confirm == "all" else min(self.confirm, num_trials)


class Budget(_Spec):
    """Where the search ends even if trials are left; confirmation and test still follow. None: no limit."""

    wall_minutes: float | None = Field(default=None, gt=0)
    device_hours: float | None = Field(default=None, gt=0)
    """Summed over all runs, failed ones included."""
    trials: int | None = Field(default=None, ge=1)
    """Over all cells together."""


class Resources(_Spec):
    """What one run occupies while it trains."""

    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0, ge=0)
    """A fraction lets several runs share a device."""
    threads: int = Field(default_factory=lambda given: given.get("cpus", 1), ge=1)
    """Threads of PyTorch in each run; `cpus` unless given."""
    max_retries: int = Field(default=2, ge=0)
    """Further attempts at a run whose worker died; one that raised would raise again."""
    workers: int | None = Field(default=None, ge=1)
    """Most runs at a time; None: as many as fit."""
    helpers: int = Field(default=0, ge=0)
    """Further processes of each run, each with as many CPUs, GPUs and threads, for methods that can use them."""

    @property
    def cpus_in_all(self) -> int:
        """Of one run and its helpers."""
        return self.cpus * (1 + self.helpers)


class ReportSettings(_Spec):
    """What the report compares."""

    size_budgets: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(0.05, 0.1, 0.25), min_length=1)
    """Shares of the dense network's size, ascending, at which accuracies are compared."""
    tolerance: float = Field(default=0.01, ge=0, lt=1)
    """Loss of accuracy against dense that a deployer accepts; picks a run's headline variant."""
    measure: Measure = "stored_bytes"

    @field_validator("size_budgets")
    @classmethod
    def _ascending(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if any(a >= b for a, b in pairwise(budgets)):
            raise ValueError("each size budget must be above the one before")
        return budgets


class MethodEntry(_Spec):
    """A method under a label of its own, with what the study fixes and what it searches."""

    label: str = Field(pattern=NAME_PATTERN)
    method: str
    """Name in `methods.registry`."""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """Fields set by the study, as checked JSON values; the others have the method's defaults or are searched."""
    space: SearchSpace = Field(default_factory=dict)
    """Fields searched, each within the method's own range; whole-numbered fields have `int` ends. Empty: one trial."""
    tasks: tuple[str, ...] = ()
    """The only tasks it runs on; empty: all of the study."""


@dataclass(frozen=True)
class Cell:
    """One task under one method: the unit that is searched, confirmed and compared."""

    task_name: str
    task: TaskSpec
    entry: MethodEntry
    num_trials: int

    @property
    def name(self) -> str:
        return f"{self.task_name}/{self.entry.label}"


class StudySettings(_Spec):
    """All of a study but its tasks and methods."""

    name: str = Field(validation_alias="study", pattern=NAME_PATTERN)
    """Names the study in the store and in MLflow."""
    question: str = ""
    """What the study is to find out; heads its report."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2), min_length=1)
    """Each confirmed configuration is trained once per seed; the search uses the first."""
    search: SearchSettings = Field(default_factory=SearchSettings)
    budget: Budget = Budget()
    resources: Resources = Resources()
    executor: str = "auto"
    """`inline` (this process), `ray` (this machine), `ray://host:port` (a cluster), `auto`."""
    store: str = Field(default_factory=lambda: _told("PAREDOWN_STORE", "./pare-results"), validate_default=True)
    """Folder, relative to the current one, or `s3://bucket/path`; `${NAME}` reads the environment. Where the study
    names none, the environment's PAREDOWN_STORE, as the nodes of a cluster are told it."""
    tracking: str = Field(default_factory=lambda: _told("PAREDOWN_TRACKING", "sqlite"), validate_default=True)
    """`sqlite` (a file in the store), `none`, `http://...` (a server), `sqlite:///...`; else PAREDOWN_TRACKING."""
    report: ReportSettings = ReportSettings()
    reuse: ReuseSettings | None = None
    """What is done with the class modules in the end; None: nothing."""
    nightly: NightlySettings | None = None
    """How `pare nightly` judges it; None: by the defaults."""

    @property
    def further_seeds(self) -> tuple[int, ...]:
        """Those that configurations too close to call may get, after the largest of `seeds`."""
        first = max(self.seeds) + 1
        return tuple(range(first, first + self.search.extra_seeds))

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if repeated:
            raise ValueError(f"seed {repeated[0]} is given twice; a replicate needs a seed of its own")
        return seeds

    @field_validator("search")
    @classmethod
    def _intervals_for_extra_seeds(cls, search: SearchSettings, info: ValidationInfo) -> SearchSettings:
        if search.extra_seeds and len(info.data.get("seeds", (0, 1))) < 2:
            raise ValueError("extra_seeds goes by intervals that overlap, and one seed has none; give 2 seeds or more")
        return search

    @field_validator("executor")
    @classmethod
    def _known_executor(cls, executor: str) -> str:
        if executor in ("inline", "ray", "auto") or re.fullmatch(r"ray://[^\s:/]+:\d+", executor):
            return executor
        raise ValueError("an executor is inline, ray, auto, or ray://host:port")

    @field_validator("store")
    @classmethod
    def _expanded_store(cls, store: str) -> str:
        if not store.strip():
            raise ValueError("name a folder or s3://bucket/path")
        store = expand_environment(store)
        scheme = re.match(r"([A-Za-z0-9+.-]+)://", store)
        if scheme and scheme[1] != "s3":
            raise ValueError(f"no store of the kind {scheme[1]}://; a store is a folder or s3://bucket/path")
        return store if scheme else os.path.expanduser(store)

    @field_validator("tracking")
    @classmethod
    def _known_tracking(cls, tracking: str) -> str:
        tracking = expand_environment(tracking)
        if tracking in ("sqlite", "none") or re.match(r"(https?://[^\s/]|sqlite:///[^\s])", tracking):
            return tracking
        raise ValueError("tracking is sqlite, none, http://host:port, https://... or sqlite:///path")


class Study(StudySettings):
    """One comparison, checked whole; every default resolved."""

    tasks: dict[str, TaskSpec] = Field(min_length=1)
    methods: tuple[MethodEntry, ...] = Field(min_length=1)
    source_text: str = Field(repr=False)
    """The YAML it was read from, kept in the store with the results."""
    file: str
    """Where that was, as shown to users."""

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every task under every method that runs on it, in the order of the file."""
        return tuple(
            Cell(task_name, task, entry, self.search.trials if entry.space else 1)
            for task_name, task in self.tasks.items()
            for entry in self.methods
            if not entry.tasks or task_name in entry.tasks
        )

    def with_changes(self, **changes: Any) -> Study:
        """The study with other `executor`, `store`, `tracking`, ...; checked like the original.

        Raises:
            pydantic.ValidationError: A changed value is not valid.
        """
        # Field by field: `dict(self)` would carry the computed cells along.
        return Study.model_validate({name: getattr(self, name) for name in Study.model_fields} | changes)
