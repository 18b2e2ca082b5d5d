"""Reads one entry under `methods:` of a study: which method, what is fixed, what is searched and how widely."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, get_args

from pydantic import ValidationError

from methods.config import Choice, MethodConfig, Range, SearchSpace
from methods.registry import UnknownMethod, config_class, did_you_mean
from orchestrator.spec.study import MethodEntry
from orchestrator.spec.validation import Problem, brief, problems
from orchestrator.spec.yaml_document import Path

_KEYS = ("method", "search", "set", "tasks")
_MOST_CROSSED = 6
"""Fields searched together of which every combination of ends is tried."""


def read_entry(label: str, value: Any) -> tuple[MethodEntry | None, list[Problem]]:
    """The entry, or None, and what is wrong in it."""
    value = {} if value is None else value
    if not isinstance(value, Mapping):
        return None, [((), f"must be {{}} or hold {', '.join(_KEYS)}, not {brief(value)}")]
    faults: list[Problem] = [((str(key),), _unknown_key(str(key))) for key in value if key not in _KEYS]
    method = value.get("method", label)
    try:
        config = config_class(str(method))
    except UnknownMethod as error:
        where: Path = ("method",) if "method" in value else ()
        mend = "" if "method" in value else " A label of your own needs `method: NAME`."
        return None, [*faults, (where, f"{error}{mend}")]
    tasks = value.get("tasks", [])
    if (
        not isinstance(tasks, list)
        or not all(isinstance(name, str) for name in tasks)
        or ("tasks" in value and not tasks)
    ):
        faults.append((("tasks",), f"must list the tasks it runs on, not {brief(tasks)}; leave it out for all"))
        tasks = []
    fixed, fixed_faults = _fixed(config, value.get("set"))
    space, space_faults = _space(config, value.get("search", "all"), fixed)
    faults += fixed_faults + space_faults
    for name, field in config.model_fields.items():
        if field.is_required() and name not in fixed and name not in space:
            faults.append((("set",), f"'{name}' has no default; set it or search it"))
    faults = faults or _refused_whole(config, fixed, space)
    if faults:
        return None, faults
    return MethodEntry.model_construct(
        label=label, method=str(method), fixed=fixed, space=space, tasks=tuple(tasks)
    ), []


def _refused_whole(config: type[MethodConfig], fixed: Mapping[str, Any], space: SearchSpace) -> list[Problem]:
    """Why the method takes no corner of the space searched: fields that exclude each other, or never agree."""
    few = len(space) <= _MOST_CROSSED
    corners = product((0, -1), repeat=len(space)) if few else [(at,) * len(space) for at in (0, -1)]
    reasons = [_refusal(config, {**fixed, **_corner(space, ends)}) for ends in corners]
    return [((), reasons[0])] if reasons[0] is not None and None not in reasons else []


def _refusal(config: type[MethodConfig], values: Mapping[str, Any]) -> str | None:
    try:
        config(**values)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return None


def _corner(space: SearchSpace, ends: Iterable[int]) -> dict[str, Any]:
    """Each field at its first (0) or last (-1) value."""
    return {
        name: mark.options[at] if isinstance(mark, Choice) else (mark.low, mark.high)[at]
        for (name, mark), at in zip(space.items(), ends, strict=True)
    }


def _unknown_key(key: str) -> str:
    mend = did_you_mean(key, _KEYS) or f" A setting of the method goes under `set:`, as `set: {{{key}: ...}}`."
    return f"unknown key '{key}'; known: {', '.join(_KEYS)}.{mend}"


def _fixed(config: type[MethodConfig], value: Any) -> tuple[dict[str, Any], list[Problem]]:
    """The fields under `set:` as checked JSON values."""
    value = {} if value is None else value
    if not isinstance(value, Mapping):
        return {}, [(("set",), f"must hold fields and their values, not {brief(value)}")]
    try:
        checked = config.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # A field that is missing here may be one that the search fills, and so may one that does not go with another;
        # the caller sees to both.
        later = {detail["loc"] for detail in error.errors() if detail["type"] == "missing" or not detail["loc"]}
        found = problems(error, config)
        return dict(value), [(("set", *path), message) for path, message in found if path not in later]
    return checked.model_dump(mode="json", include=set(value)), []


def _space(config: type[MethodConfig], value: Any, fixed: Mapping[str, Any]) -> tuple[SearchSpace, list[Problem]]:
    """What remains to be searched of the method's own space."""
    own = {name: _typed(config, name, mark) for name, mark in config.search_space().items()}
    if value == "none":
        return {}, []
    if value == "all":
        return {name: own[name] for name in config.default_space(fixed)}, []
    if not isinstance(value, Mapping):
        return {}, [(("search",), f"must be all, none, or fields with their ranges, not {brief(value)}")]
    space: SearchSpace = {}
    faults: list[Problem] = []
    for name, wanted in value.items():
        try:
            if name not in own:
                raise ValueError(_not_tunable(config, str(name), tuple(own)))
            if name in fixed:
                raise ValueError(f"'{name}' is both set and searched; drop one of the two")
            space[name] = _narrowed(config, name, own[name], wanted)
        except ValueError as error:
            faults.append((("search", str(name)), str(error)))
    return space, faults


def _not_tunable(config: type[MethodConfig], name: str, tunable: tuple[str, ...]) -> str:
    known = ", ".join(tunable) or "none"
    if name in config.model_fields:
        return f"'{name}' has no search range; give it a value under `set:`. Searchable: {known}"
    return f"unknown field '{name}'; searchable: {known}.{did_you_mean(name, tunable)}"


def _narrowed(config: type[MethodConfig], name: str, own: Range | Choice, wanted: Any) -> Range | Choice:
    """The part of the method's own range that the study asks for.

    Raises:
        ValueError: It is no range, empty, or reaches beyond the method's own.
    """
    if wanted == "all":
        return own
    if isinstance(wanted, Mapping) and set(wanted) == {"options"}:
        wanted = wanted["options"]
        if not isinstance(wanted, list):
            raise ValueError(f"options must be a list, not {brief(wanted)}")
        return _narrowed_choice(config, name, own, wanted)
    if isinstance(own, Choice):
        if not isinstance(wanted, list):
            raise ValueError(f"must be a list out of {_shown(own)}, not {brief(wanted)}")
        return _narrowed_choice(config, name, own, wanted)
    return _narrowed_range(config, name, own, wanted)


def _narrowed_choice(config: type[MethodConfig], name: str, own: Range | Choice, wanted: list[Any]) -> Choice:
    if not wanted:
        raise ValueError("names no option; name at least one")
    for option in wanted:
        if not _holds(own, option):
            raise ValueError(f"the option {brief(option)} is not in the method's {_shown(own)}")
    if isinstance(own, Range):
        return Choice(tuple(_number(config, name, option) for option in wanted))
    return Choice(tuple(wanted))


def _holds(own: Range | Choice, option: Any) -> bool:
    if isinstance(own, Choice):
        return option in own.options
    return _is_number(option) and own.low <= option <= own.high


def _narrowed_range(config: type[MethodConfig], name: str, own: Range, wanted: Any) -> Range:
    scale = own.scale
    low: Any = own.low
    high: Any = own.high
    if isinstance(wanted, list) and len(wanted) == 2:
        low, high = wanted
    elif isinstance(wanted, Mapping) and wanted and set(wanted) <= {"low", "high", "scale"}:
        low, high = wanted.get("low", low), wanted.get("high", high)
        scale = wanted.get("scale", scale)
    else:
        raise ValueError(
            f"must be [low, high], {{low: , high: , scale: log}} or {{options: [...]}}, not {brief(wanted)}"
        )
    if scale not in ("linear", "log"):
        raise ValueError(f"the scale is linear or log, not {brief(scale)}")
    for end in (low, high):
        if not _is_number(end):
            raise ValueError(f"a range has two numbers; {brief(end)} is none")
    found = Range(_number(config, name, low), _number(config, name, high), scale)
    if found.low < own.low or found.high > own.high:
        raise ValueError(
            f"{_shown(found)} reaches beyond the method's own range {_shown(own)}; a study may only narrow it"
        )
    return found


def _typed(config: type[MethodConfig], name: str, mark: Range | Choice) -> Range | Choice:
    """The range with ends of the field's type, so that the search can tell whole numbers."""
    if isinstance(mark, Choice):
        return mark
    return replace(mark, low=_number(config, name, mark.low), high=_number(config, name, mark.high))


def _number(config: type[MethodConfig], name: str, value: float) -> float:
    kind = config.model_fields[name].annotation
    if int not in (kind, *get_args(kind)):  # `int`, or `int | None` where None leaves the choice to the method
        return float(value)
    if value != int(value):
        raise ValueError(f"'{name}' is a whole number; {value} is none")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(mark: Range | Choice) -> str:
    if isinstance(mark, Choice):
        return "[" + ", ".join(map(str, mark.options)) + "]"
    return f"[{mark.low:g}, {mark.high:g}]"
