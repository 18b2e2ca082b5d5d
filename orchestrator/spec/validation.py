"""Turns pydantic's errors into sentences that name the value and the mend."""

from __future__ import annotations

import json
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from methods.registry import did_you_mean
from orchestrator.spec.yaml_document import Path

Problem = tuple[Path, str]
"""Where inside the checked value, and what is wrong there."""

_PREFIX = "Input should be "
_PLAIN = {"a valid array": "a list", "a valid integer": "a whole number", "a valid string": "text", "a valid ": "a "}


def problems(error: ValidationError, model: type[BaseModel], *, also_known: tuple[str, ...] = ()) -> list[Problem]:
    """Every error of a validation against `model`; `also_known` are keys that its caller reads itself."""
    return [
        _problem(dict(detail), model, also_known)
        for detail in error.errors(include_url=False)
        # A default that is made from another field is not made when that one is wrong, which is said already.
        if detail["type"] != "default_factory_not_called"
    ]


def _problem(detail: dict[str, Any], model: type[BaseModel], also_known: tuple[str, ...]) -> Problem:
    path: Path = tuple(detail["loc"])
    kind, value, message = detail["type"], detail["input"], detail["msg"]
    if kind == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        known = tuple(sorted(_keys(owner) + (also_known if len(path) == 1 else ())))
        return path, f"unknown key '{path[-1]}'; known: {', '.join(known)}.{did_you_mean(str(path[-1]), known)}"
    if kind == "missing":
        return path, f"is missing; write `{path[-1]}: ...`"
    if kind == "literal_error":
        options = detail["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return (
            path,
            f"must be one of {', '.join(options)}, not {brief(value)}.{did_you_mean(str(value), tuple(options))}",
        )
    if kind == "value_error":
        return path, f"{detail['ctx']['error']}; given: {brief(value)}"
    if kind == "string_pattern_mismatch":
        return path, f"may hold only a-z, 0-9 and _, not {brief(value)}"
    if kind == "model_type":
        return path, f"must hold keys ({', '.join(sorted(_keys(_model_at(model, path))))}), not {brief(value)}"
    if message.startswith(_PREFIX):
        message = "must be " + message.removeprefix(_PREFIX)
        for stiff, plain in _PLAIN.items():
            message = message.replace(stiff, plain)
    return path, f"{message}, not {brief(value)}"


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(str(field.validation_alias or name) for name, field in model.model_fields.items())


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """The innermost model on the way to `path`."""
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            break
        model = inner
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) in (typing.Union, tuple):
        return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
    return None


def brief(value: Any) -> str:
    """A value from a YAML file as a message shows it."""
    if value is None:
        return "nothing"
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
