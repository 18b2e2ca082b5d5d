"""Manifests for Kubernetes: whole, and with nothing in a pod that should outlive it."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.spec.study_file import parse_study

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example.org/team/paredown:0.1.0"
PLACES = ("--store", "s3://bucket/results", "--tracking", "http://mlflow:5000")


def _manifest(*words: str, study: str = "quickstart", image: str = IMAGE) -> Result:
    file = ROOT / f"studies/{study}.yaml"
    return CliRunner().invoke(app, ["cluster", "manifest", str(file), "--image", image, *words])


def _read(*words: str, study: str = "quickstart") -> tuple[Any, Any]:
    made = _manifest(*PLACES, *words, study=study)
    assert made.exit_code == 0, made.output
    config, job = yaml.safe_load_all(made.stdout)
    return config, job


def _containers(pod: Any) -> Any:
    [container] = pod["spec"]["containers"]
    return container


def test_a_ray_job_carries_the_study_and_knows_where_everything_lies() -> None:
    config, job = _read()
    assert (config["kind"], job["apiVersion"], job["kind"]) == ("ConfigMap", "ray.io/v1", "RayJob")
    text = config["data"]["quickstart.yaml"]
    assert text == (ROOT / "studies/quickstart.yaml").read_text()
    assert parse_study(text, file="x").name == "quickstart"
    spec = job["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:4] == ["python", "-m", "orchestrator", "run"]
    assert words[-2:] == ["--store", "s3://bucket/results"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == metadata.version("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    container = _containers(head["template"])
    assert words[4].startswith(container["volumeMounts"][0]["mountPath"])
    assert head["template"]["spec"]["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told == {"PAREDOWN_STORE": "s3://bucket/results", "PAREDOWN_TRACKING": "http://mlflow:5000"}
    assert [group["groupName"] for group in cluster["workerGroupSpecs"]] == ["cpu-workers"]


def test_workers_have_the_size_that_was_asked_for_and_gpus_a_group_of_their_own() -> None:
    _, job = _read("--gpu", "--cpus", "8", "--memory", "32", "--most-workers", "6")
    cpu, gpu = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (cpu["minReplicas"], cpu["maxReplicas"]) == (0, 6)
    assert _containers(cpu["template"])["resources"]["limits"] == {"cpu": "8", "memory": "32Gi"}
    assert _containers(gpu["template"])["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_a_night_is_one_pod_at_a_time_and_no_answer_is_tried_again() -> None:
    config, job = _read("--nightly", "15 2 * * *", study="nightly")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert (job["spec"]["schedule"], job["spec"]["concurrencyPolicy"]) == ("15 2 * * *", "Forbid")
    template = job["spec"]["jobTemplate"]["spec"]
    assert template["backoffLimit"] == 0
    container = _containers(template["template"])
    assert container["command"][2:4] == ["orchestrator", "nightly"]
    assert template["template"]["spec"]["restartPolicy"] == "Never"
    assert list(config["data"]) == ["nightly.yaml"]


def test_names_are_those_that_kubernetes_takes() -> None:
    _, job = _read(study="reuse_digits")
    assert job["metadata"]["name"] == "pare-reuse-digits"


@pytest.mark.parametrize(
    ("words", "image", "said"),
    [
        (("--tracking", "none"), IMAGE, "would lie in a pod and go away with it; give --store"),
        (("--store", "s3://b/p"), IMAGE, "give --tracking http://HOST:5000, or none"),
        (PLACES, "team/paredown", "may be another one tomorrow"),
        (PLACES, "team/paredown:latest", "may be another one tomorrow"),
        ((*PLACES, "--nightly", "at night"), IMAGE, "is no schedule of cron"),
    ],
)
def test_what_would_be_lost_or_change_by_itself_is_refused(words: tuple[str, ...], image: str, said: str) -> None:
    made = _manifest(*words, image=image)
    assert (made.exit_code, said in made.output) == (2, True), made.output
