"""What a study asks of this machine and it has not."""

from __future__ import annotations

import pytest

from orchestrator.machine import machine_faults, num_cpus, num_gpus
from orchestrator.spec.study_file import parse_study

STUDY = """\
study: tiny
tasks:
  a: {data: digits, network: small_cnn, epochs: 3}
methods:
  dense: {search: none}
resources:
  cpus: 1
"""


def places(text: str) -> list[tuple[int, str]]:
    return [(fault.line, fault.place) for fault in machine_faults(parse_study(text, file="tiny.yaml"))]


def test_a_modest_study_fits() -> None:
    assert places(STUDY) == []


@pytest.mark.parametrize("executor", ["inline", "ray", "auto"])
def test_more_than_this_machine_has_is_a_fault_with_its_line(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    greedy = STUDY.replace("cpus: 1", f"cpus: {num_cpus() + 1}\n  threads: 1\n  gpus: 1") + f"executor: {executor}\n"
    assert places(greedy) == [(7, "resources.cpus"), (9, "resources.gpus")]


def test_a_cluster_may_have_more_than_this_machine() -> None:
    assert places(STUDY.replace("cpus: 1", "cpus: 4096\n  gpus: 8") + "executor: ray://head:10001\n") == []


@pytest.mark.parametrize("executor", ["ray", "auto"])
def test_so_may_one_that_the_environment_names(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert places(STUDY.replace("cpus: 1", "cpus: 4096\n  gpus: 8") + f"executor: {executor}\n") == []
    assert places(STUDY.replace("cpus: 1", "cpus: 4096") + "executor: inline\n") != []


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_devices_do_not_count(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert num_gpus() == 0
