"""The working tree that a study is submitted with: exactly a commit, or what lies there when that is asked for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import SubmissionRefused

MOST_MEGABYTES = 50.0
"""A tree of code is smaller; samples and results belong where all nodes can read them."""
_FEW = 5


@dataclass(frozen=True)
class Tree:
    """Files of a git repository, to be sent to a cluster."""

    root: Path
    commit: str
    """In full; empty before the first one."""
    changed: tuple[str, ...]
    """Files that are not as in the commit, new ones included, ignored ones not."""
    files: tuple[str, ...]
    """What is sent, relative to `root`, sorted."""

    @property
    def digest(self) -> str:
        """Of what is sent: the commit, or of names and contents when files differ from it."""
        if not self.changed:
            return self.commit
        found = hashlib.sha256()
        for name in self.files:
            found.update(f"{name}\0{(self.root / name).stat().st_size}\0".encode())
            found.update((self.root / name).read_bytes())
        return found.hexdigest()

    @property
    def version(self) -> str:
        """For people: `0123456789ab`, with `+changes` where files differ."""
        return (self.commit[:12] or "no commit") + ("+changes" if self.changed else "")


def working_tree(folder: Path, *, dirty: bool = False, most_megabytes: float = MOST_MEGABYTES) -> Tree:
    """The git repository that `folder` lies in.

    Args:
        folder: Anywhere inside.
        dirty: Send files as they are; else all must be as in the commit.
        most_megabytes: Refuse more than that.

    Raises:
        SubmissionRefused: There is no repository, files differ from the commit, or they are too many bytes.
    """
    root = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    status = _git(root, "status", "--porcelain", "-z", "--untracked-files=all")
    changed = tuple(sorted(_changed(status)))
    if changed and not dirty:
        raise SubmissionRefused(
            f"{root}: {_few(changed)} not as in the last commit, so nobody could say later what ran; commit, or give "
            "--dirty to send the files as they are"
        )
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    files = tuple(sorted(name for name in listed.split("\0") if name and (root / name).is_file()))
    sizes = {name: (root / name).stat().st_size for name in files}
    megabytes = sum(sizes.values()) / 1e6
    if megabytes > most_megabytes:
        largest = sorted(files, key=lambda name: -sizes[name])[:_FEW]
        said = ", ".join(f"{name} ({sizes[name] / 1e6:.1f} MB)" for name in largest)
        raise SubmissionRefused(
            f"{root}: {megabytes:.0f} MB to send, {most_megabytes:g} are taken; the largest are {said}; ignore them in "
            ".gitignore, or give --most-megabytes"
        )
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD", may_fail=True).strip()
    return Tree(root, commit, changed, files)


def copy_tree(tree: Tree, into: Path) -> None:
    """Put the files of a tree into a folder."""
    for name in tree.files:
        place = into / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree.root / name, place)


def _changed(porcelain: str) -> list[str]:
    """Names in `git status --porcelain -z`; a renamed file has two, of which the new one comes first."""
    fields = iter(porcelain.split("\0"))
    found = []
    for one in fields:
        if not one:
            continue
        found.append(one[3:])
        if one[0] in "RC":
            next(fields, None)
    return found


def _few(names: tuple[str, ...]) -> str:
    rest = len(names) - _FEW
    said = ", ".join(names[:_FEW]) + (f" and {rest} more" if rest > 0 else "")
    return f"{said} {'is' if len(names) == 1 else 'are'}"


def _git(folder: Path, *words: str, may_fail: bool = False) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SubmissionRefused(f"git cannot be started: {error.strerror}; install it, or give --no-tree") from error
    if done.returncode and not may_fail:
        raise SubmissionRefused(
            f"{folder}: {done.stderr.strip() or 'git failed'}; submit from within a git repository, or give --no-tree "
            "to run what is installed on the cluster"
        )
    return done.stdout
