"""Looks at this machine as a study would use it; each finding says how to mend it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from orchestrator.errors import PareError
from orchestrator.machine import num_cpus, num_gpus

_LOW_MEMORY_GB = 4.0
_LOW_DISK_GB = 1.0
_LOW_SHARED_SHARE = 0.3
"""Ray wants this share of the memory as shared memory; with less it falls back to files, which is slow."""


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""
    """What to do about it; empty when all is well."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(*, store: str, tracking: str) -> list[Check]:
    """Make all checks; takes some seconds, because PyTorch and Ray are loaded. Creates and changes nothing.

    Args:
        store: As in a study.
        tracking: As in a study.
    """
    looks: list[Callable[[], Iterator[Check]]] = [
        _python,
        _packages,
        _memory,
        _processors,
        _devices,
        lambda: _store(store),
        lambda: _tracking(tracking),
        _ray,
        _environment,
    ]
    return [check for look in looks for check in look()]


def _python() -> Iterator[Check]:
    # Too old a Python cannot have loaded this file.
    yield Check("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _packages() -> Iterator[Check]:
    """Every dependency's version against its bounds."""
    good = []
    for requirement in _requirements():
        name = requirement.name
        wanted = f"pip install '{requirement}'"
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Check(name, "fail", "not installed", wanted)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            good.append(f"{name} {found}")
        else:
            yield Check(name, "warn", f"{found}, outside {requirement.specifier}", wanted)
    yield Check("packages", "ok", ", ".join(good))


def _requirements() -> list[Requirement]:
    """What the installed distribution asks for, or the checkout when it is run from its folder."""
    try:
        lines = requires("paredown") or []
    except PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        lines = tomllib.loads(project.read_text())["project"]["dependencies"] if project.is_file() else []
    found = [Requirement(line) for line in lines]
    return [requirement for requirement in found if requirement.marker is None or requirement.marker.evaluate()]


def _memory() -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available / 2**30
    found = f"{free:.1f} of {memory.total / 2**30:.1f} GiB free"
    if free < _LOW_MEMORY_GB:
        yield Check("memory", "warn", found, "a worker needs 1-2 GiB; set `resources: {workers: 1}`")
    else:
        yield Check("memory", "ok", found)
    if Path("/dev/shm").is_dir():
        shared = shutil.disk_usage("/dev/shm").free
        found = f"{shared / 2**30:.1f} GiB free"
        if shared < _LOW_SHARED_SHARE * memory.total:
            yield Check("shared memory", "warn", found, "in a container start it with e.g. `--shm-size=8g`")
        else:
            yield Check("shared memory", "ok", found)


def _processors() -> Iterator[Check]:
    cpus = num_cpus()
    threads = os.environ.get("OMP_NUM_THREADS")
    yield Check("processors", "ok", f"{cpus} usable" + (f", OMP_NUM_THREADS={threads}" if threads else ""))
    try:
        import torch

        from methods.training.precision import resolve_precision

        fast = resolve_precision("auto", "cpu") is torch.bfloat16
    except Exception as error:  # a broken PyTorch fails in many ways; each is this finding
        yield Check("torch", "fail", f"does not load: {error}", "install it again")
        return
    yield Check("bfloat16", "ok", "multiplied in hardware" if fast else "not in hardware: runs use float32 on the CPU")


def _devices() -> Iterator[Check]:
    try:
        import torch
    except Exception:  # reported above
        return
    present = num_gpus()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Check("devices", "ok", ", ".join(names))
    elif present:
        mend = f"install a CUDA build of PyTorch {torch.__version__.split('+')[0]} that fits the driver"
        yield Check("devices", "warn", f"{present} GPU in the machine, but PyTorch cannot use it", mend)
    else:
        yield Check("devices", "ok", "no GPU: runs use the CPU")


def _store(uri: str) -> Iterator[Check]:
    from orchestrator.store import Store

    if "://" in uri:
        try:
            Store.open(uri)
        except PareError as error:
            yield Check("store", "fail", str(error), "check the address and your credentials")
        else:
            yield Check("store", "ok", f"{uri} is writable")
        return
    folder = Path(uri).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Check("store", "fail", f"{there} is not writable", "give another `store:` or change its permissions")
        return
    free = shutil.disk_usage(there).free / 2**30
    found = f"{folder} is writable, {free:.1f} GiB free"
    if free < _LOW_DISK_GB:
        yield Check("store", "warn", found, "free some space or give another `store:`")
    else:
        yield Check("store", "ok", found)


def _tracking(uri: str) -> Iterator[Check]:
    if uri == "none":
        yield Check("tracking", "ok", "none")
    elif uri.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):
                yield Check("tracking", "ok", f"{uri} answers")
        except (urllib.error.URLError, OSError, ValueError) as error:
            mend = "start the server; a study goes on without it, and `pare sync NAME` catches up"
            yield Check("tracking", "warn", f"{uri} does not answer: {error}", mend)
    elif uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).absolute().parent
        if folder.is_dir() and os.access(folder, os.W_OK):
            yield Check("tracking", "ok", f"{folder} is writable")
        else:
            yield Check("tracking", "fail", f"{folder} is no writable folder", "create it or give another file")
    else:
        yield Check("tracking", "ok", "an SQLite file in the store")
    if os.environ.get("MLFLOW_RUN_ID"):
        yield Check("MLFLOW_RUN_ID", "warn", "set: other MLflow clients here write into that run", "unset it")


def _ray() -> Iterator[Check]:
    # In a process of its own: one door imports Ray, and a broken installation may take its process down.
    asked = [sys.executable, "-c", "import ray; print(ray.__version__)"]
    try:
        ended = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
        reason = (
            "" if ended.returncode == 0 else (ended.stderr.strip().splitlines() or [f"exit {ended.returncode}"])[-1]
        )
    except subprocess.TimeoutExpired:
        reason = "not loaded within 2 minutes"
    if reason:
        yield Check("ray", "fail", f"does not load: {reason}", "pip install 'ray[default]', or use `executor: inline`")
        return
    yield Check("ray", "ok", f"{ended.stdout.strip()} loads")
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and stat.S_IMODE(token.stat().st_mode) & 0o077:
        yield Check("ray token", "warn", f"{token} can be read by others", f"chmod 600 {token}")


def _environment() -> Iterator[Check]:
    address = os.environ.get("RAY_ADDRESS")
    if address:
        mend = "unset it to run on this machine alone"
        yield Check("RAY_ADDRESS", "warn", f"set: `executor: ray` and `auto` join the cluster at {address}", mend)
