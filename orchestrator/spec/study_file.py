"""Reads a study from YAML and finds all its faults at once, each with its line and how to mend it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from methods.data.catalog import known_kind, located_faults
from methods.networks.catalog import check_network
from methods.registry import did_you_mean
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from orchestrator.errors import Fault, StudyInvalid
from orchestrator.spec.method_entry import read_entry
from orchestrator.spec.study import NAME_PATTERN, MethodEntry, Study, StudySettings
from orchestrator.spec.validation import brief, problems
from orchestrator.spec.yaml_document import Path as Place
from orchestrator.spec.yaml_document import YamlBroken, YamlDocument, read_yaml, shown

_Model = TypeVar("_Model", bound=BaseModel)


def load_study(path: str | Path, *, look_for_data: bool = True) -> Study:
    """Read a study file.

    Args:
        path: Of the file.
        look_for_data: Whether folders of samples must be there.

    Raises:
        StudyInvalid: The file cannot be read, or its content has faults; carries all of them.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text ({error.reason} at byte {error.start})"
        raise StudyInvalid([Fault(str(path), 1, "file", message)]) from error
    except OSError as error:
        message = f"cannot be read: {error.strerror}.{_similar_file(path)}"
        raise StudyInvalid([Fault(str(path), 1, "file", message)]) from error
    return parse_study(text, file=str(path), look_for_data=look_for_data)


def parse_study(text: str, *, file: str, look_for_data: bool = True) -> Study:
    """Read a study from the text of its file.

    Args:
        text: YAML.
        file: Its name in messages.
        look_for_data: Whether folders of samples must be there.

    Raises:
        StudyInvalid: Carries every fault found, in the order of lines.
    """
    try:
        document = read_yaml(text)
    except YamlBroken as error:
        raise StudyInvalid([Fault(file, error.line, "yaml", str(error))]) from error
    reader = _Reader(document, file, look_for_data=look_for_data)
    study = reader.study(text)
    if study is None or reader.faults:
        raise StudyInvalid(sorted(reader.faults, key=lambda fault: fault.line))
    return study


class _Reader:
    """Goes through one document and gathers its faults."""

    def __init__(self, document: YamlDocument, file: str, *, look_for_data: bool) -> None:
        self.document = document
        self.file = file
        self.look_for_data = look_for_data
        self.faults = [Fault(file, flaw.line, shown(flaw.path), flaw.message) for flaw in document.flaws]

    def study(self, text: str) -> Study | None:
        if any("contains itself" in fault.message for fault in self.faults):
            return None
        # Dates and whatever else YAML knows become text here, so that all further checks see plain JSON values.
        data = json.loads(json.dumps(self.document.data, default=str, skipkeys=True))
        if not isinstance(data, Mapping):
            self.fault((), f"must hold `study:`, `tasks:` and `methods:`, not {brief(data)}")
            return None
        rest = {key: value for key, value in data.items() if key not in ("tasks", "methods")}
        search = rest.get("search")
        if isinstance(search, Mapping) and search.get("early_stopping") == "none":
            rest["search"] = {**search, "early_stopping": None}
        settings = self.model(StudySettings, rest, (), also_known=("tasks", "methods"))
        tasks = {name: self.task(name, value) for name, value in self.named(data, "tasks")}
        methods = [self.method(label, value) for label, value in self.named(data, "methods")]
        if self.faults or settings is None:
            return None
        found = [method for method in methods if method is not None]
        self._check_names(settings, tuple(tasks), found)
        if self.faults:
            return None
        return Study.model_validate(
            dict(settings) | {"tasks": tasks, "methods": tuple(methods), "source_text": text, "file": self.file}
        )

    def _check_names(self, settings: StudySettings, tasks: tuple[str, ...], methods: list[MethodEntry]) -> None:
        """Names that one part of the study has of another."""
        for entry in methods:
            for place, name in enumerate(entry.tasks):
                if name not in tasks:
                    known = f"known: {', '.join(tasks)}.{did_you_mean(name, tasks)}"
                    self.fault(("methods", entry.label, "tasks", place), f"no task '{name}'; {known}")
        cells = tuple(
            f"{task}/{entry.label}" for task in tasks for entry in methods if not entry.tasks or task in entry.tasks
        )
        for path, name in settings.reuse.cells() if settings.reuse is not None else ():
            if name not in cells:
                message = f"no cell '{name}' (task/method) in this study; known: {', '.join(cells)}."
                self.fault(("reuse", *path), message + did_you_mean(name, cells))

    def fault(self, path: Place, message: str) -> None:
        self.faults.append(Fault(self.file, self.document.line(path), shown(path), message))

    def model(self, model: type[_Model], value: Any, path: Place, *, also_known: tuple[str, ...] = ()) -> _Model | None:
        """The value as such a model, or None with its faults noted."""
        try:
            # JSON mode is strict about types (no "8" or true for a number) and still takes a list for a tuple.
            return model.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            for where, message in problems(error, model, also_known=also_known):
                self.fault((*path, *where), message)
            return None

    def named(self, data: Mapping[str, Any], section: str) -> Iterable[tuple[str, Any]]:
        """The named entries of `tasks:` or `methods:`."""
        entries = data.get(section)
        if not isinstance(entries, Mapping) or not entries:
            given = "missing" if section not in data else f"must hold named {section}, not {brief(entries)}"
            example = "digits: {data: digits, network: small_cnn, epochs: 30}" if section == "tasks" else "dense: {}"
            self.fault((section,), f"{given}; write e.g. `{section}: {{{example}}}`")
            return []
        for name in entries:
            if not re.match(NAME_PATTERN, str(name)):
                self.fault((section, name), f"the name '{name}' may hold only a-z, 0-9 and _")
        return [(str(name), value) for name, value in entries.items()]

    def task(self, name: str, value: Any) -> TaskSpec | None:
        path = ("tasks", name)
        if not isinstance(value, Mapping):
            self.fault(path, f"must hold `data:`, `network:` and `epochs:`, not {brief(value)}")
            return None
        fields = dict(value)
        if "data" in fields:
            fields["data"] = _data_fields(fields["data"])
        network = fields.get("network")
        if isinstance(network, str):
            fields["network"] = {"name": network, "arguments": {}}
        elif isinstance(network, Mapping):
            arguments = {key: argument for key, argument in network.items() if key != "name"}
            fields["network"] = {key: network[key] for key in network if key == "name"} | {"arguments": arguments}
        faults_before = len(self.faults)
        task = self.model(TaskSpec, fields, path)
        if task is None:
            # Other fields' faults must not hide those of the data and the network.
            self._check_parts(fields, path, known=[fault.place for fault in self.faults[faults_before:]])
            return None
        self._check_parts(fields, path, known=[])
        if task.class_weights == "balanced" and known_kind(task.data) == "regression":
            self.fault((*path, "class_weights"), "a regression has no classes to weigh; remove `balanced`")
        if task.skew is not None and known_kind(task.data) == "regression":
            self.fault((*path, "skew"), "a regression has no classes to skew; remove it")
        return task

    def _check_parts(self, fields: Mapping[str, Any], path: Place, *, known: list[str]) -> None:
        for part in ("data", "network") if self.look_for_data else ("network",):
            at = (*path, part)
            if part not in fields or any(place.startswith(shown(at)) for place in known):
                continue
            for inside, message in _part_faults(part, fields[part]):
                self.fault((*at, *inside), message)

    def method(self, label: str, value: Any) -> MethodEntry | None:
        entry, faults = read_entry(label, value)
        for where, message in faults:
            self.fault(("methods", label, *where), message)
        return entry


def _data_fields(value: Any) -> Any:
    """The fields of a `data`, which may be the name of its source alone, as may each part of a mixture."""
    if isinstance(value, str):
        return {"source": value}
    if isinstance(value, Mapping) and isinstance(value.get("parts"), list):
        return {**value, "parts": [_data_fields(part) for part in value["parts"]]}
    return value


def _part_faults(part: str, value: Any) -> list[tuple[Place, str]]:
    """What the catalogs find wrong in a well-formed `data` or `network`, and where inside it."""
    if part == "data":
        return [*located_faults(DataSpec.model_validate(value))]
    network = NetworkSpec.model_validate(value)
    return [((), message) for message in check_network(network.name, network.arguments)]


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = tuple(found.name for found in path.parent.iterdir() if found.suffix in (".yaml", ".yml"))
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean '{path.with_name(near[0])}'?" if near else did_you_mean(path.stem, names)
