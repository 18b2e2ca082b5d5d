"""Studies as jobs of a Ray cluster, through Ray's job API: sent, watched, stopped, while the laptop may be closed.

A study is sent under an id that follows from what is sent: its file, the tree and the store. Sending the same again
finds the job that is there; one that failed or was stopped gets a further attempt, which goes on from the store.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from methods.task_spec import content_key
from orchestrator.cluster.tree import Tree, copy_tree
from orchestrator.errors import ServiceMissing, SubmissionRefused, UnknownRecord
from orchestrator.spec import Study
from orchestrator.store.files import shown

Status = Literal["pending", "running", "succeeded", "failed", "stopped"]

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Where `ray dashboard cluster.yaml` brings a cluster's job API."""
PYTHON = "PAREDOWN_PYTHON"
"""Tells a job on a node which interpreter has this project; `python3` otherwise."""

_STOP_SECONDS = 60
"""What a stopped study may take to write its views before Ray kills it."""
_ENDED = ("succeeded", "failed", "stopped")
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A study on a cluster."""

    id: str
    study: str
    store: str
    status: Status
    message: str
    """What the cluster says of it."""
    version: str
    """Of the tree it was sent with; empty: what is installed there."""
    submitted_by: str
    started: str
    """UTC, ISO 8601; empty before."""
    ended: str
    exit_code: int | None
    """Of `pare run`; None before it ended, and where it was killed."""

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None = None) -> None:
        """Connect.

        Args:
            address: Of the cluster's job API; None: the environment's RAY_API_SERVER_ADDRESS, or `DEFAULT_ADDRESS`.

        Raises:
            ServiceMissing: Nothing answers there, it refuses the token, or Ray is not installed.
        """
        self.address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise ServiceMissing(f"Ray cannot be imported: {error}; install ray[default]") from error
        # Ray would let it win over the address that is given.
        told = os.environ.pop("RAY_API_SERVER_ADDRESS", None)
        try:
            self._client = JobSubmissionClient(self.address)
        except Exception as error:  # of requests, of Ray, of gRPC, by version
            raise ServiceMissing(
                f"no cluster answers at {self.address}: {_first_line(error)}; start it with `ray up`, reach it through "
                "`ray dashboard`, and have its token in ~/.ray/auth_token"
            ) from error
        finally:
            if told is not None:
                os.environ["RAY_API_SERVER_ADDRESS"] = told

    def submit(self, study: Study, tree: Tree | None, *, options: tuple[str, ...] = ()) -> tuple[Job, bool]:
        """Send a study, unless it is there already.

        Args:
            study: Its store is one that all nodes reach, see `require_shared_store`.
            tree: What it runs with; None: what is installed on the cluster.
            options: Further words for `pare run`.

        Returns:
            The job, and whether it is new.

        Raises:
            ServiceMissing: The cluster does not take it.
        """
        require_shared_store(study)
        version = tree.digest if tree else ""
        base = f"{study.name}-{content_key([study.source_text, version, study.store, list(options)])[:8]}"
        attempts = [job for job in self.jobs() if job.id.rpartition(".")[0] == base]
        for job in attempts:
            if job.status not in ("failed", "stopped"):
                return job, False
        job_id = f"{base}.{len(attempts) + 1}"
        with tempfile.TemporaryDirectory(prefix="paredown-") as folder:
            place = _packed(study, tree, Path(folder))
            words = ["run", place, "--executor", "ray", "--store", study.store, *options]
            try:
                self._client.submit_job(
                    submission_id=job_id,
                    entrypoint=f'exec "${{{PYTHON}:-python3}}" -m orchestrator {shlex.join(words)}',
                    runtime_env={
                        "working_dir": folder,
                        "env_vars": {"PYTHONUNBUFFERED": "1", "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)},
                    },
                    metadata={
                        "paredown": "1",
                        "study": study.name,
                        "store": shown(study.store),
                        "version": tree.version if tree else "",
                        "submitted_by": f"{getpass.getuser()}@{socket.gethostname()}",
                    },
                )
            except Exception as error:
                raise ServiceMissing(f"the cluster at {self.address} does not take the study: {error}") from error
        return self.job(job_id), True

    def jobs(self) -> list[Job]:
        """The studies that this cluster knows of, the newest first."""
        with self._asking():
            found = [one for one in self._client.list_jobs() if (one.metadata or {}).get("paredown")]
        return [_job(one) for one in sorted(found, key=lambda one: -(one.start_time or 0))]

    def job(self, name: str) -> Job:
        """A job by its id, or the newest of a study by the study's name.

        Raises:
            UnknownRecord: There is none.
        """
        found = self.jobs()
        for job in found:
            if name in (job.id, job.study):
                return job
        known = ", ".join(job.id for job in found) or "none"
        raise UnknownRecord(f"{self.address}: no job and no study '{name}'; there are: {known}")

    def logs(self, job: Job, *, follow: bool = False) -> Iterator[str]:
        """What the job has said, in pieces; with `follow` until it ends."""
        if not follow:
            with self._asking():
                yield self._client.get_job_logs(job.id)
            return
        with asyncio.Runner() as runner:
            pieces = self._client.tail_job_logs(job.id)

            async def following() -> str | None:
                return await anext(pieces, None)

            while True:
                with self._asking(), warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # Ray's, of how it calls aiohttp
                    piece = runner.run(following())
                if piece is None:
                    return
                yield piece

    def cancel(self, job: Job) -> Job:
        """Ask a job to stop as Ctrl-C would: it keeps what is finished and writes its views; returns at once."""
        if not job.has_ended:
            with self._asking():
                self._client.stop_job(job.id)
        return self.job(job.id)

    def wait(self, job: Job, *, timeout_seconds: float | None = None) -> Job:
        """Block until the job ends or the time is over; a cluster that does not answer for a while is asked again."""
        deadline = time.monotonic() + timeout_seconds if timeout_seconds is not None else None
        while not job.has_ended and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_SECONDS)
            job = self.job(job.id)
        return job

    def _asking(self) -> _Asking:
        return _Asking(self.address)


class _Asking:
    """Turns what the job API raises, inside, into ServiceMissing."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception):
            raise ServiceMissing(f"the cluster at {self._address} does not answer: {_first_line(error)}") from error


def require_shared_store(study: Study) -> None:
    """Check that the study's store is one place for all nodes.

    Raises:
        SubmissionRefused: It is a folder relative to wherever a process runs.
    """
    if "://" not in study.store and not study.store.startswith("/"):
        raise SubmissionRefused(
            f"the store {study.store} would be a folder of its own on each node; give --store s3://BUCKET/PATH, or a "
            "folder that all nodes share by its whole path, or export PAREDOWN_STORE"
        )


def _packed(study: Study, tree: Tree | None, folder: Path) -> str:
    """Put what is sent into a folder; returns the study's file in it."""
    if tree is not None:
        copy_tree(tree, folder)
        file = Path(study.file).absolute()
        if file.is_relative_to(tree.root) and str(file.relative_to(tree.root)) in tree.files:
            return str(file.relative_to(tree.root))
    name = f"{study.name}.yaml"
    (folder / name).write_text(study.source_text, encoding="utf-8")
    return name


def _job(details: Any) -> Job:
    told = details.metadata or {}
    return Job(
        id=details.submission_id,
        study=told.get("study", ""),
        store=told.get("store", ""),
        status=str(details.status).lower(),  # type: ignore[arg-type]
        message=" ".join((details.message or "").split()),
        version=told.get("version", ""),
        submitted_by=told.get("submitted_by", ""),
        started=_iso(details.start_time),
        ended=_iso(details.end_time),
        exit_code=details.driver_exit_code,
    )


def _iso(milliseconds: int | None) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
