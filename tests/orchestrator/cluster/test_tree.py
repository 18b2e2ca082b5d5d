"""The tree that is sent: a commit and nothing else, unless told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.cluster.tree import copy_tree, working_tree
from orchestrator.errors import SubmissionRefused


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "studies").mkdir(parents=True)
    _git(root, "init", "-q")
    (root / ".gitignore").write_text("results\n")
    (root / "studies" / "a b.yaml").write_text("a")
    (root / "code.py").write_text("1")
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "first")
    (root / "results").mkdir()
    (root / "results" / "large").write_bytes(b"0" * 3_000_000)
    return root


def test_a_clean_tree_is_its_commit_wherever_one_stands_in_it(root: Path, tmp_path: Path) -> None:
    tree = working_tree(root / "studies", most_megabytes=1)
    assert tree.files == (".gitignore", "code.py", "studies/a b.yaml")
    assert tree.digest == tree.commit
    assert tree.version == tree.commit[:12]
    copy_tree(tree, tmp_path / "sent")
    sent = sorted(str(path.relative_to(tmp_path / "sent")) for path in (tmp_path / "sent").rglob("*") if path.is_file())
    assert sent == list(tree.files)


@pytest.mark.parametrize("change", ["edit", "new", "delete", "rename", "staged"])
def test_any_change_is_refused_unless_asked_for_and_then_shows_in_the_digest(change: str, root: Path) -> None:
    before = working_tree(root)
    if change in ("edit", "staged"):
        (root / "code.py").write_text("2")
    if change == "staged":
        _git(root, "add", "code.py")
    if change == "new":
        (root / "more.py").write_text("3")
    if change == "delete":
        (root / "code.py").unlink()
    if change == "rename":
        _git(root, "mv", "code.py", "moved.py")
    with pytest.raises(SubmissionRefused, match=r"\.py is not as in the last commit"):
        working_tree(root)
    tree = working_tree(root, dirty=True)
    assert tree.digest != before.digest
    assert tree.version == f"{before.commit[:12]}+changes"
    assert ("code.py" in tree.files) == (change in ("edit", "staged", "new"))
    assert working_tree(root, dirty=True).digest == tree.digest


def test_many_changes_are_counted(root: Path) -> None:
    for number in range(7):
        (root / f"n{number}").write_text("")
    with pytest.raises(SubmissionRefused, match="n0, n1, n2, n3, n4 and 2 more are not as in the last commit"):
        working_tree(root)


def test_a_repository_without_a_commit_has_changes_alone(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("a")
    assert working_tree(tmp_path, dirty=True).version == "no commit+changes"


def test_a_folder_without_a_repository_and_a_large_tree_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SubmissionRefused, match="submit from within a git repository"):
        working_tree(tmp_path)
    (root / "samples.bin").write_bytes(b"0" * 2_000_000)
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "samples")
    with pytest.raises(SubmissionRefused, match=r"2 MB to send, 1 are taken; the largest are samples\.bin \(2\.0 MB\)"):
        working_tree(root, most_megabytes=1)
