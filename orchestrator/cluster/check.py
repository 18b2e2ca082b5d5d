"""Whether a cluster's description will do, before it costs a machine: Ray's own rules, and ours. Reaches no network."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import ClusterInvalid, Fault, ServiceMissing
from orchestrator.spec.yaml_document import Path as Place
from orchestrator.spec.yaml_document import YamlBroken, YamlDocument, read_yaml, shown

ADDRESSES = ("PAREDOWN_STORE", "PAREDOWN_TRACKING", "PAREDOWN_SEARCH")
"""What nodes are told by their environment: where results, MLflow and the search's trials lie."""

_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_PLACEHOLDER = re.compile(r"<[a-z][a-z0-9 _-]*>")
_LOOPBACK = re.compile(r"//([^/@]*@)?(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)(:|/|$)")
_EXPORT = re.compile(rf"\b({'|'.join(ADDRESSES)})=(\"[^\"]*\"|'[^']*'|[^\s;&]*)")
_DASHBOARD = re.compile(r"--dashboard-host[= ]\"?'?([^\s\"']+)")
_INSTALL = re.compile(r"\b(?:pip3?|uv pip) install\b([^;&|]*)")


@dataclass(frozen=True)
class Finding:
    """Something about the description that a user should know."""

    level: Literal["fault", "warning"]
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault}" if self.level == "fault" else f"{self.fault} (warning)"

    def to_json(self) -> dict[str, Any]:
        place = self.fault
        return {
            "level": self.level,
            "file": place.file,
            "line": place.line,
            "place": place.place,
            "message": place.message,
        }


def check_cluster(path: str | Path) -> list[Finding]:
    """All that is wrong with a file for `ray up`, by line.

    Raises:
        ClusterInvalid: It cannot be read, or is no YAML mapping.
        ServiceMissing: Ray is not installed, whose rules these are.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ClusterInvalid([Fault(str(path), 1, "file", f"cannot be read: {reason}")]) from error
    try:
        document = read_yaml(text)
    except YamlBroken as error:
        raise ClusterInvalid([Fault(str(path), error.line, "file", f"is no YAML: {error}")]) from error
    if not isinstance(document.data, dict):
        raise ClusterInvalid([Fault(str(path), 1, "file", "holds no settings; begin from the project's cluster.yaml")])
    review = _Review(str(path), document)
    unfilled = list(_unfilled(document.data))
    for place, text_ in unfilled:
        review.fault(place, f"'{text_}' is a place to fill in")
    if not unfilled:
        # Ray would take the places themselves for hosts.
        for place, message in _refused_by_ray(document.data):
            review.fault(place, message)
    review.commands()
    return sorted(review.findings, key=lambda one: (one.fault.line, one.level, one.fault.message))


class _Review:
    """Findings as they are made."""

    def __init__(self, file: str, document: YamlDocument) -> None:
        self.findings: list[Finding] = []
        self._file = file
        self._document = document
        self._data: dict[str, Any] = document.data
        for flaw in document.flaws:
            self.findings.append(Finding("fault", Fault(file, flaw.line, shown(flaw.path), flaw.message)))

    def fault(self, place: Place, message: str) -> None:
        self._find("fault", place, message)

    def warning(self, place: Place, message: str) -> None:
        self._find("warning", place, message)

    def commands(self) -> None:
        """Our own rules, which are about what the nodes are told to do."""
        commands: list[tuple[Place, str]] = [
            ((key, index), text) for key in _COMMANDS for index, text in _texts(self._data.get(key))
        ]
        for place, text in commands:
            self._dashboard(place, text)
            self._pins(place, text)
        self._token(commands)
        self._addresses(commands)

    def _dashboard(self, place: Place, text: str) -> None:
        for host in _DASHBOARD.findall(text):
            if host not in ("127.0.0.1", "localhost", "::1"):
                self.fault(
                    place,
                    f"the dashboard listens on {host}, where whoever reaches it runs code on the cluster; take "
                    "--dashboard-host=127.0.0.1 and reach it through `ray dashboard`",
                )

    def _pins(self, place: Place, text: str) -> None:
        for words in _INSTALL.findall(text):
            for word in (one.strip("\"'") for one in words.split()):
                if word.startswith("-") or "/" in word or word.startswith((".", "~", "$")):
                    continue
                name, _, version = word.partition("==")
                if not version:
                    self.fault(place, f"'{word}' is installed in whatever version there is that day; pin it with ==")
                elif name.partition("[")[0] == "ray" and version != (own := metadata.version("ray")):
                    self.fault(
                        place, f"'{word}': whoever submits and all nodes need one version of Ray; here it is {own}"
                    )

    def _token(self, commands: Sequence[tuple[Place, str]]) -> None:
        starts = [(place, text) for place, text in commands if place[0] in _COMMANDS[-2:] and "ray start" in text]
        for place, text in starts:
            mode = re.findall(r"RAY_AUTH_MODE=(\w+)", text)
            if mode[-1:] != ["token"]:
                self.fault(
                    place,
                    "starts Ray without token authentication, so whoever reaches its ports runs code; put "
                    "`RAY_AUTH_MODE=token` before `ray start`",
                )
        carried = any(str(name).rstrip("/").endswith(".ray/auth_token") for name in _mapping(self._data, "file_mounts"))
        told = any("RAY_AUTH_TOKEN=" in text or "RAY_AUTH_TOKEN_PATH=" in text for _, text in starts)
        if starts and not (carried or told):
            self.fault(
                ("file_mounts",),
                "no node gets the token; make one with `ray get-auth-token --generate` and add "
                "`~/.ray/auth_token: ~/.ray/auth_token`",
            )

    def _addresses(self, commands: Sequence[tuple[Place, str]]) -> None:
        told: dict[str, set[str]] = {name: set() for name in ADDRESSES}
        for place, text in commands:
            if place[0] not in _COMMANDS[-2:]:
                continue
            for name, value in _EXPORT.findall(text):
                address = value.strip("\"'")
                told[name].add(address)
                self._address(place, name, address)
        if not told["PAREDOWN_STORE"]:
            self.warning(
                ("head_start_ray_commands",),
                "nodes are not told of a store; export PAREDOWN_STORE=s3://BUCKET/PATH before `ray start`, or give "
                "--store to each `pare submit`",
            )
        for name, values in told.items():
            if len(values) > 1:
                self.fault(("worker_start_ray_commands",), f"{name} differs between nodes: {', '.join(sorted(values))}")

    def _address(self, place: Place, name: str, address: str) -> None:
        if _LOOPBACK.search(address):
            self.fault(place, f"{name}={address}: that is another machine on each node; give the host's name")
        elif "://" in address or (name == "PAREDOWN_TRACKING" and address in ("none", "sqlite")):
            return
        elif name == "PAREDOWN_SEARCH":
            self.fault(place, f"{name}={address}: no database; give postgresql://USER@HOST/NAME, or leave it out")
        elif address.startswith(("/", "~", "$HOME")):
            self.warning(place, f"{name}={address}: every node must see the same folder there, by NFS for instance")
        else:
            self.fault(
                place,
                f"{name}={address}: means a folder of its own on each node; give s3://... or a shared one by /...",
            )

    def _find(self, level: Literal["fault", "warning"], place: Place, message: str) -> None:
        self.findings.append(
            Finding(level, Fault(self._file, self._document.line(place), shown(place) if place else "file", message))
        )


def _refused_by_ray(data: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What Ray's own validator says, which `ray up` would say after the first machine was rented."""
    try:
        from ray.autoscaler._private import util
    except ImportError as error:
        raise ServiceMissing(f"Ray's rules for clusters cannot be imported: {error}; install ray[default]") from error
    provider = data.get("provider")
    if not isinstance(provider, dict) or not isinstance(provider.get("type"), str):
        yield ("provider",), "names no `type`; local, aws and gcp are described in the project's cluster.yaml"
        return
    util.logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it says in colours what it raises
            util.validate_config(util.prepare_config(dict(data)))
    except Exception as error:  # Ray raises what it likes, of JSON Schema and of click among others
        said = getattr(error, "message", "") or " ".join(str(error).split()) or type(error).__name__
        unexpected = re.findall(r"'(\w+)' was unexpected", said)
        yield (*getattr(error, "absolute_path", ()), *unexpected), f"Ray: {said}"


def _unfilled(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unfilled(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unfilled(inner, (*place, index))
    elif isinstance(value, str):
        yield from ((place, text) for text in _PLACEHOLDER.findall(value))


def _texts(value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        yield from ((index, text) for index, text in enumerate(value) if isinstance(text, str))


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[Any, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
