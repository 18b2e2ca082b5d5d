"""Typed data to JSON files and back."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from orchestrator.errors import StoreProblem

_Model = TypeVar("_Model", bound=BaseModel)


def encode_json(value: BaseModel) -> bytes:
    """JSON of `value`; a value that is not finite is kept as `NaN` or `Infinity`, as Python's own `json` does.

    An R2 on constant targets is not finite, and `null` in its place could not be read back as a number.
    """
    return to_json(value.model_dump(), inf_nan_mode="constants", indent=1)


def decode_json(model: type[_Model], data: bytes, place: str) -> _Model:
    """`data` as a `model`.

    Raises:
        StoreProblem: It is not, e.g. because the file was cut short; names `place`.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise StoreProblem(
            f"{place}: not a readable {model.__name__}: {first_fault(error)}. "
            "It was cut short or changed from outside; delete it and the study makes it anew"
        ) from error


def first_fault(error: ValidationError) -> str:
    """Where the first fault is, and what is wrong there."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"
