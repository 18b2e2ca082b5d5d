"""Where a result was made: code, versions, hardware. Recorded with every run."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def git_commit() -> str:
    """Commit of the checkout this package runs from, `-dirty` with local changes; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()


@cache
def cpu_model() -> str:
    """The processor's name as the kernel gives it, else the architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_environment(*, device: str, threads: int) -> dict[str, str]:
    """What `RunResult.environment` holds for a run on `device` with `threads` CPU threads."""
    described = {
        "git": git_commit(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "paredown": _version("paredown"),
        "device": device,
        "cpu": cpu_model(),
        "cores": str(os.cpu_count() or 1),
        "threads": str(threads),
        "host": socket.gethostname(),
    }
    if device.startswith("cuda"):
        import torch

        described["gpu"] = torch.cuda.get_device_name(device)
    return described


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
