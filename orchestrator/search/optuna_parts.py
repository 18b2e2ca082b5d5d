"""Optuna's part of a search: its storage, its studies and trials, its kinds of fields."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from methods.config import Choice, SearchSpace
from orchestrator.errors import ServiceMissing
from orchestrator.search.journal import JournalFile, mend
from orchestrator.store.files import shown

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import Trial
    from sqlalchemy.engine import Engine

_PATIENCE_SECONDS = 120.0
STOPPED = "early_stopped"
"""The violated constraint of a trial that was stopped early, and the attribute that has its values."""


def optuna_module() -> ModuleType:
    """Optuna, loaded when first needed (half a second) and told to keep its progress to itself.

    Raises:
        ServiceMissing: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ServiceMissing(f"Optuna cannot be imported: {error}; install it with `pip install paredown`") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class SearchStorage:
    """Where the searches of all cells of a study are kept."""

    def __init__(self, backend: BaseStorage, *, prefix: str = "", note: str | None = None) -> None:
        self.backend = backend
        self.prefix = prefix
        """Before the names of cells, where several studies share a database."""
        self.note = note
        """What had to be mended when it was opened, for people."""

    def close(self) -> None:
        """Give a database its connections back."""
        engine = getattr(self.backend, "engine", None)
        if engine is not None:
            self.backend.remove_session()
            engine.dispose()


def open_storage(place: Path | str, *, prefix: str = "") -> SearchStorage:
    """Open the trials of a study, making them if need be.

    Args:
        place: Path of a journal file, mended if a kill cut its last line short; or the URL of a database, such as
            `postgresql://user@host/name`, which must not be MLflow's.
        prefix: Tells the study from others in the same place.

    Raises:
        StoreProblem: The journal cannot be read or written, or is broken in its midst.
        ServiceMissing: The database cannot be reached.
    """
    optuna = optuna_module()
    if isinstance(place, Path) or "://" not in place:
        path = Path(place)
        note = mend(path)
        return SearchStorage(optuna.storages.JournalStorage(JournalFile(path)), prefix=prefix, note=note)
    from sqlalchemy.exc import SQLAlchemyError  # a part of Optuna's own installation

    try:
        backend = optuna.storages.RDBStorage(place, engine_kwargs={"pool_pre_ping": True})
        _wait_for_it_from_now_on(backend.engine, place)
        return SearchStorage(backend, prefix=prefix)
    except (ImportError, ValueError, SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ServiceMissing(
            f"the search's database {shown(place)} cannot be opened: {error}; start it or install its driver, or leave "
            "the URL out: the search is then kept in a file of the store"
        ) from error


def _wait_for_it_from_now_on(engine: Engine, place: str) -> None:
    """Have a database that is restarted waited for, at the next thing it is asked."""
    from sqlalchemy import event

    def connect(dialect: Any, record: Any, words: Any, options: Any) -> Any:
        del record
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return dialect.connect(*words, **options)
            except dialect.dbapi.OperationalError as error:
                if time.monotonic() >= deadline:
                    raise ServiceMissing(
                        f"the search's database {shown(place)} has been away for {_PATIENCE_SECONDS:.0f} s: "
                        f"{' '.join(str(error).split())}; start it, and `pare resume` goes on"
                    ) from error
                time.sleep(1.0)

    event.listen(engine, "do_connect", connect)


def begin_study(storage: BaseStorage, name: str) -> Study:
    """A new study of two objectives: score, the higher the better, and size, the smaller the better."""
    optuna = optuna_module()
    # The sampler of a study does nothing but listen; proposals come from the view's.
    study: Study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(),
    )
    return study


def live_trial(study: Study, storage: BaseStorage, number: int) -> Trial:
    """The live trial of that number."""
    study_id = storage.get_study_id_from_name(study.study_name)
    trial: Trial = optuna_module().trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))
    return trial


def distributions_of(space: SearchSpace, whole: frozenset[str]) -> dict[str, BaseDistribution]:
    """Optuna's kinds of the fields searched; `whole` are those of whole numbers."""
    kinds = optuna_module().distributions
    result: dict[str, BaseDistribution] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            result[name] = kinds.CategoricalDistribution(domain.options)
        elif name in whole:
            low, high = math.ceil(domain.low), math.floor(domain.high)
            result[name] = kinds.IntDistribution(low, high, log=domain.scale == "log")
        else:
            result[name] = kinds.FloatDistribution(domain.low, domain.high, log=domain.scale == "log")
    return result
