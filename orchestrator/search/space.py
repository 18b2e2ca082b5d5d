"""A cell's search space: defaults within narrowed ranges, whole numbers, and how many configurations there are."""

from __future__ import annotations

import itertools
import json
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from methods.config import Choice, MethodConfig, Range, SearchSpace
from methods.json_value import Json


def whole_fields(config_class: type[MethodConfig]) -> frozenset[str]:
    """Names of the fields whose values are whole numbers (`int`, `int | None`), to be searched in whole steps."""
    return frozenset(name for name, field in config_class.model_fields.items() if _is_whole(field.annotation))


def _is_whole(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = set(get_args(annotation))
        return int in kinds and float not in kinds
    return annotation is int


def first_values(space: SearchSpace, config_class: type[MethodConfig]) -> dict[str, Json]:
    """The method's own defaults, moved to the nearest end where a study's narrower range leaves them out.

    A default that is no number, or not among a choice's options, gives way to the middle of the range (on its scale) or
    to the first option.
    """
    values: dict[str, Json] = {}
    whole = whole_fields(config_class)
    for name, domain in space.items():
        default = config_class.model_fields[name].get_default(call_default_factory=True)
        if isinstance(domain, Choice):
            values[name] = default if default in domain.options else domain.options[0]
            continue
        if not isinstance(default, int | float):
            log = domain.scale == "log"
            default = math.sqrt(domain.low * domain.high) if log else (domain.low + domain.high) / 2
        value = min(max(default, domain.low), domain.high)
        values[name] = (
            min(max(round(value), math.ceil(domain.low)), math.floor(domain.high)) if name in whole else value
        )
    return values


def count(space: SearchSpace, whole: frozenset[str]) -> float:
    """How many different configurations the space holds; infinite with a range of real numbers."""
    return math.prod(_count(domain, name in whole) for name, domain in space.items())


def _count(domain: Range | Choice, whole: bool) -> float:
    if isinstance(domain, Choice):
        return len(domain.options)
    return math.floor(domain.high) - math.ceil(domain.low) + 1 if whole else math.inf


def everything(space: SearchSpace) -> Iterator[dict[str, Json]]:
    """All configurations of a space that `count` finds finite (its ranges are whole), in a fixed order."""
    values = [
        domain.options if isinstance(domain, Choice) else range(math.ceil(domain.low), math.floor(domain.high) + 1)
        for domain in space.values()
    ]
    return (dict(zip(space, combination, strict=True)) for combination in itertools.product(*values))


def same(config: Mapping[str, Json]) -> str:
    """One text for equal configurations, whatever the order of their fields."""
    return json.dumps(config, sort_keys=True)
