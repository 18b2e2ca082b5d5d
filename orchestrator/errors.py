"""The errors a user of `pare` can meet.

    PareError                      shown as one line without traceback
    |- StudyInvalid                a study file is wrong; all its faults at once        exit 2
    |- ClusterInvalid              a cluster's description is wrong; likewise          exit 2
    |- SubmissionRefused           a study cannot be sent to a cluster as it is         exit 2
    |- ExportRefused               what to export, or to which file, is not clear       exit 2
    |- ComparisonRefused           studies that have nothing to be compared by            exit 2
    |- DataProblem                 a data set is missing, broken or mislabelled         exit 3
    |- StoreProblem                the store cannot be read or written                  exit 4
    |  |- StoreFull                no space left
    |  |- StoreLocked              another coordinator works on this study
    |  `- UnknownRecord            no such study or run in this store
    |- ServiceMissing              Ray, Optuna, MLflow or a server is not there         exit 5
    `- RunFailed                   a stored run cannot be tested, repeated or exported  exit 1
       `- WorkerDied               its process ended: killed, out of memory, crashed

Exit codes: 0 done, 1 the study ended with failed runs, 2-5 as above, 130 interrupted (go on with `pare resume`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PareError(Exception):
    """Base of everything a user can cause or mend."""

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a file that a user wrote: where, what, how to mend it."""

    file: str
    line: int
    place: str
    """Path inside the file, e.g. `methods.hypersparse.search.eta`."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.place}: {self.message}"


class _Faulty(PareError):
    """A file that cannot be used; carries every fault found in it."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class StudyInvalid(_Faulty):
    """A study file cannot be run."""


class ClusterInvalid(_Faulty):
    """A cluster's description cannot be used."""


class SubmissionRefused(PareError):
    """A study cannot be sent to a cluster as it is: files that nobody committed, a store that nodes cannot reach."""

    exit_code = 2


class ExportRefused(PareError):
    """What to export, or to which file, is not clear: an unknown format, a file in the way."""

    exit_code = 2


class ComparisonRefused(PareError):
    """Studies that cannot be compared with each other: no task, seed or measure in common."""

    exit_code = 2


class DataProblem(PareError):
    """A data set is missing, truncated, mislabelled or does not decode."""

    exit_code = 3


class StoreProblem(PareError):
    """The store cannot be read or written."""

    exit_code = 4


class StoreFull(StoreProblem):
    """No space is left where the store lies."""


class StoreLocked(StoreProblem):
    """Another coordinator works on this study."""


class UnknownRecord(StoreProblem):
    """The store holds no such study or run."""


class ServiceMissing(PareError):
    """A package or server that this study asks for cannot be reached."""

    exit_code = 5


class RunFailed(PareError):
    """A stored run cannot be tested, repeated or exported. One that fails while a study trains is a record instead."""


class WorkerDied(RunFailed):
    """The process of a run ended before the run did."""
