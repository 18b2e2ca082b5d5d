"""Clusters' descriptions: the project's own, and what is wrong with others, by line."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cluster.check import Finding, check_cluster
from orchestrator.errors import ClusterInvalid

ROOT = Path(__file__).parents[3]
GOOD = """cluster_name: c
provider: {type: local, head_ip: h, worker_ips: [w]}
auth: {ssh_user: u}
file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}
setup_commands:
- pip install --quiet "ray[default]==2.60.0" ~/paredown[s3]
head_start_ray_commands:
- export RAY_AUTH_MODE=token PAREDOWN_STORE=s3://b/p; ray start --head --dashboard-host=127.0.0.1
worker_start_ray_commands:
- export RAY_AUTH_MODE=token PAREDOWN_STORE=s3://b/p; ray start --address=$RAY_HEAD_IP:6379
"""


def _check(folder: Path, text: str) -> list[Finding]:
    file = folder / "cluster.yaml"
    file.write_text(text)
    return check_cluster(file)


def _filled(text: str) -> str:
    return re.sub(r"<[a-z-]+>", "filled", text)


def test_the_projects_own_description_wants_nothing_but_its_places_filled_in(tmp_path: Path) -> None:
    text = (ROOT / "cluster.yaml").read_text()
    findings = check_cluster(ROOT / "cluster.yaml")
    assert findings
    assert all("is a place to fill in" in str(one) for one in findings)
    assert _check(tmp_path, _filled(text)) == []


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_its_clouds_are_taken_as_its_first_lines_say(cloud: str, tmp_path: Path) -> None:
    text = (ROOT / "cluster.yaml").read_text()
    [command] = re.findall(r"^# +(sed .*?) > aws\.yaml", text, re.MULTILINE)
    made = subprocess.run(
        command.replace("aws", cloud), shell=True, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    findings = _check(tmp_path, made)
    assert any("head" in str(one) for one in findings)
    assert all("is a place to fill in" in str(one) for one in findings)
    filled = _filled(made)
    assert _check(tmp_path, filled) == []
    too_few = _check(
        tmp_path, filled.replace("max_workers: 8", "max_workers: 0").replace("min_workers: 0", "min_workers: 1")
    )
    assert ["smaller than the sum" in str(one) for one in too_few] == [True]


STORE = "PAREDOWN_STORE=s3://b/p"
HEAD, WORKER = f"{STORE}; ray start --head", f"{STORE}; ray start --address"
WRONG = [
    ("cluster_name: c", "cluster_name: c\nworkers: 3", 2, "workers: Ray: Additional properties are not allowed"),
    ("type: local, ", "", 2, "names no `type`"),
    ("{type: local, head_ip: h, worker_ips: [w]}", "{type: local}", 1, "Ray: Please supply"),
    ("==2.60.0", "==2.40.0", 6, "all nodes need one version of Ray; here it is 2.60.0"),
    ("==2.60.0", "", 6, "'ray[default]' is installed in whatever version"),
    ("127.0.0.1", "0.0.0.0", 8, "the dashboard listens on 0.0.0.0"),
    (f"RAY_AUTH_MODE=token {HEAD}", HEAD, 8, "without token"),
    ("file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}\n", "", 1, "no node gets the token"),
    (WORKER, WORKER.replace("s3://b/p", "results"), 10, "a folder of its own on each node"),
    (WORKER, WORKER.replace("s3://b/p", "s3://b/q"), 9, "PAREDOWN_STORE differs between nodes"),
    (WORKER, f"PAREDOWN_TRACKING=http://127.0.0.1:5000 {WORKER}", 10, "another machine on each node"),
    (WORKER, f"PAREDOWN_SEARCH=optuna.db {WORKER}", 10, "no database"),
    ("[w]", "[<worker>]", 2, "'<worker>' is a place to fill in"),
    ("auth: {", "auth: {ssh_user: v, ", 3, "already on line 3"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), WRONG)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, line: int, said: str, tmp_path: Path) -> None:
    assert _check(tmp_path, GOOD) == []
    assert old in GOOD
    findings = _check(tmp_path, GOOD.replace(old, new, 1))
    assert [(one.fault.line, one.level) for one in findings if said in str(one)] == [(line, "fault")], findings


def test_a_store_that_may_be_shared_and_one_that_is_nowhere_are_warnings(tmp_path: Path) -> None:
    [shared] = _check(tmp_path, GOOD.replace("s3://b/p", "/mnt/results"))[:1]
    assert shared.level == "warning"
    assert "every node must see the same folder" in str(shared)
    [nowhere] = _check(tmp_path, GOOD.replace(" PAREDOWN_STORE=s3://b/p", ""))
    assert (nowhere.level, "nodes are not told of a store" in str(nowhere)) == ("warning", True)


@pytest.mark.parametrize(
    ("text", "said"), [("- a\n", "holds no settings"), ("a: [\n", "is no YAML"), (b"\xff", "UTF-8")]
)
def test_what_cannot_be_read_is_refused(text: str | bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ClusterInvalid, match=said):
        check_cluster(file)
    with pytest.raises(ClusterInvalid, match="No such file"):
        check_cluster(tmp_path / "none.yaml")


def test_the_command_tells_faults_and_gives_json(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(GOOD)
    good = CliRunner().invoke(app, ["cluster", "check", str(file)])
    assert (good.exit_code, good.stdout) == (0, f"{file}: ok\n")
    file.write_text(GOOD.replace("127.0.0.1", "0.0.0.0"))
    bad = CliRunner().invoke(app, ["cluster", "check", str(file), "--json"])
    assert bad.exit_code == 2
    told = json.loads(bad.stdout)
    assert not told["valid"]
    assert [(one["level"], one["line"]) for one in told["findings"]] == [("fault", 8)]
