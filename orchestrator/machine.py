"""What this machine can run, asked without loading torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from orchestrator.errors import Fault
from orchestrator.spec import Study
from orchestrator.spec.yaml_document import line_in


def num_cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_gpus() -> int:
    """NVIDIA devices that this process may see; `CUDA_VISIBLE_DEVICES` counts."""
    present = sum(1 for entry in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", entry.name))
    if not present and shutil.which("nvidia-smi"):  # as on WSL, which has no such entries
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        present = len(re.findall(r"^GPU \d+:", listed.stdout, re.MULTILINE))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    named = [device for device in visible.split(",") if device.strip() and device.strip() != "-1"]
    return min(present, len(named))


def machine_faults(study: Study) -> list[Fault]:
    """What the study asks of this machine and it has not; empty when the study runs on a cluster.

    The study itself is valid: it may be written here and run elsewhere. So `pare validate` shows these as
    warnings, and `pare plan` and `pare run` refuse.
    """
    joins_cluster = study.executor in ("ray", "auto") and bool(os.environ.get("RAY_ADDRESS"))
    if study.executor.startswith("ray://") or joins_cluster:
        return []
    asked = study.resources
    cpus, gpus = num_cpus(), num_gpus() if asked.gpus else 0
    faults = []
    for name, wanted in (("cpus", asked.cpus), ("threads", asked.threads), ("helpers", asked.cpus_in_all)):
        if wanted > cpus:
            what = "CPUs for a run with its helpers " if name == "helpers" else ""
            message = (
                f"{wanted} {what}asked, this machine has {cpus}; ask for fewer or name a cluster: `executor: ray://...`"
            )
            if name != "helpers" or asked.helpers:
                faults.append((name, message))
    if asked.gpus > gpus:
        mend = "set `gpus: 0`" if gpus == 0 else "ask for fewer"
        found = f"{gpus} found" if gpus else "none found"
        message = f"{asked.gpus:g} asked, {found} on this machine; {mend} or name a cluster: `executor: ray://...`"
        faults.append(("gpus", message))
    return [
        Fault(study.file, line_in(study.source_text, ("resources", name)), f"resources.{name}", message)
        for name, message in faults
    ]
