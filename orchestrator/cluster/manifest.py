"""Manifests for Kubernetes: a study as KubeRay's RayJob, the nightly gate as a CronJob. Pure; nothing is applied.

The study's file travels in a ConfigMap, credentials in a Secret that the reader makes, and everything else is in the
image, which has this project installed with the extras s3 and postgres, beside Ray in the same version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import yaml

from orchestrator.errors import ClusterInvalid, Fault
from orchestrator.spec import Study

_FOLDER = "/etc/paredown"
_CRON = re.compile(r"^(\S+\s+){4}\S+$|^@(hourly|daily|weekly|monthly)$")
_PYTHON = "python"
_KEPT_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Cluster:
    """What the manifests ask Kubernetes for."""

    image: str
    """With this project and Ray in it, by an immutable tag or digest."""
    secret: str = "paredown"
    """Name of the Secret whose entries become environment variables: AWS_ACCESS_KEY_ID, PAREDOWN_SEARCH, ..."""
    namespace: str = "default"
    cpus: int = 4
    """Of each CPU worker."""
    memory_gib: int = 8
    """Of each pod."""
    most_workers: int = 4
    """Of each kind."""
    gpu: bool = False
    """Whether there is a group of workers with one GPU each as well."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """`PAREDOWN_STORE`, `PAREDOWN_TRACKING`: what is no secret."""


def ray_job(study: Study, cluster: Cluster) -> str:
    """A ConfigMap and a RayJob, as YAML. The cluster is made for the study and goes away after it.

    Raises:
        ClusterInvalid: Its store or tracking lies in a pod, which goes away; or the image has no tag.
    """
    _check(study, cluster)
    name = _name(study)
    entrypoint = f"{_PYTHON} -m orchestrator run {_FOLDER}/{study.name}.yaml --executor ray --store {study.store}"
    groups = [_workers("cpu", cluster)] + ([_workers("gpu", cluster)] if cluster.gpu else [])
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": cluster.namespace, "labels": _labels(study)},
        "spec": {
            "entrypoint": entrypoint,
            # A study that fails goes on where it stood when it is applied again; a blind retry would hide why.
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "rayClusterSpec": {
                "rayVersion": metadata.version("ray"),
                "authOptions": {"mode": "token"},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {"idleTimeoutSeconds": 120},
                "headGroupSpec": {
                    # The head trains nothing, so that a busy worker never starves the coordinator.
                    "rayStartParams": {"num-cpus": "0"},
                    "template": _pod(study, cluster, "ray-head", cpus=2),
                },
                "workerGroupSpecs": groups,
            },
        },
    }
    return _documents([_study_file(study, cluster), job])


def nightly_job(study: Study, cluster: Cluster, *, schedule: str) -> str:
    """A ConfigMap and a CronJob that runs `pare nightly` in one pod, as YAML.

    Args:
        study: The nightly study.
        cluster: Its image, secret and the size of the pod.
        schedule: As cron takes it, e.g. `15 2 * * *`; UTC.

    Raises:
        ClusterInvalid: Likewise, or the schedule is none.
    """
    _check(study, cluster)
    if not _CRON.match(schedule.strip()):
        raise _invalid(study, "schedule", f"'{schedule}' is no schedule of cron; give five fields such as '15 2 * * *'")
    command = [_PYTHON, "-m", "orchestrator", "nightly", f"{_FOLDER}/{study.name}.yaml", "--store", study.store]
    pod = _pod(study, cluster, "gate", cpus=cluster.cpus, command=command)
    pod["spec"]["restartPolicy"] = "Never"
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": _name(study), "namespace": cluster.namespace, "labels": _labels(study)},
        "spec": {
            "schedule": schedule.strip(),
            "timeZone": "Etc/UTC",
            # One night at a time; the history knows nights by their date.
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 7,
            "failedJobsHistoryLimit": 7,
            # A night that regressed exits 1: that is an answer and nothing to be tried again.
            "jobTemplate": {
                "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": _KEPT_SECONDS, "template": pod},
            },
        },
    }
    return _documents([_study_file(study, cluster), job])


def _workers(kind: str, cluster: Cluster) -> dict[str, Any]:
    return {
        "groupName": f"{kind}-workers",
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": cluster.most_workers,
        "rayStartParams": {},
        "template": _pod(None, cluster, "ray-worker", cpus=cluster.cpus, gpus=int(kind == "gpu")),
    }


def _pod(
    study: Study | None,
    cluster: Cluster,
    container: str,
    *,
    cpus: int,
    gpus: int = 0,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    size = {"cpu": str(cpus), "memory": f"{cluster.memory_gib}Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    described: dict[str, Any] = {
        "name": container,
        "image": cluster.image,
        "resources": {"requests": dict(size), "limits": dict(size)},
        "env": [{"name": name, "value": value} for name, value in sorted(cluster.addresses.items())],
        "envFrom": [{"secretRef": {"name": cluster.secret, "optional": True}}],
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    if command:
        described["command"] = list(command)
    spec: dict[str, Any] = {"containers": [described]}
    if study is not None:
        described["volumeMounts"] = [{"name": "study", "mountPath": _FOLDER, "readOnly": True}]
        spec["volumes"] = [{"name": "study", "configMap": {"name": f"{_name(study)}-study"}}]
    return {"spec": spec}


def _study_file(study: Study, cluster: Cluster) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{_name(study)}-study", "namespace": cluster.namespace, "labels": _labels(study)},
        "data": {f"{study.name}.yaml": study.source_text},
    }


def _check(study: Study, cluster: Cluster) -> None:
    if "://" not in study.store:
        message = f"{study.store} would lie in a pod and go away with it; give --store s3://BUCKET/PATH"
        raise _invalid(study, "store", message)
    if study.tracking == "sqlite" or study.tracking.startswith("sqlite:"):
        message = "sqlite would lie in a pod and go away with it; give --tracking http://HOST:5000, or none"
        raise _invalid(study, "tracking", message)
    tag = cluster.image.rpartition("/")[2]
    if not re.search(r"[:@]", tag) or tag.endswith(":latest"):
        raise _invalid(study, "image", f"'{cluster.image}' may be another one tomorrow; give a tag or a digest")


def _invalid(study: Study, place: str, message: str) -> ClusterInvalid:
    return ClusterInvalid([Fault(study.file, 1, place, message)])


def _name(study: Study) -> str:
    """Kubernetes takes no underscores."""
    return f"pare-{study.name.replace('_', '-')}"[:50].rstrip("-")


def _labels(study: Study) -> dict[str, str]:
    return {"app.kubernetes.io/name": "paredown", "paredown/study": study.name[:63]}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _documents(found: Sequence[Mapping[str, Any]]) -> str:
    return yaml.dump_all(found, Dumper=_Dumper, sort_keys=False, width=120)
