"""Parts of one run spread over several processes, where whoever runs the method has some to spare. Loads no torch.

A method calls `spread` and needs to know nothing else: in a notebook, and unless told otherwise, the parts are done
here one after the other. They must not depend on how many processes there are, so that results do not either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

Shared = TypeVar("Shared")
Part = TypeVar("Part")
Result = TypeVar("Result")


class Crew(Protocol):
    """Whoever does parts of a run."""

    def __call__(
        self, function: Callable[[Shared, Part], Result], shared: Shared, parts: Sequence[Part]
    ) -> list[Result]: ...


_crew: ContextVar[Any] = ContextVar("crew", default=None)


def spread(function: Callable[[Shared, Part], Result], shared: Shared, parts: Sequence[Part]) -> list[Result]:
    """`[function(shared, part) for part in parts]`, by the crew at hand; blocks until all parts are done.

    Args:
        function: At the top level of a module, free of side effects.
        shared: What all parts need; goes to each process once, as long as it is the same object.
        parts: Fit to be pickled, as the results.
    """
    crew: Crew | None = _crew.get()
    if crew is None:
        return [function(shared, part) for part in parts]
    return crew(function, shared, parts)


@contextmanager
def working_with(crew: Crew | None) -> Iterator[None]:
    """Inside, `spread` hands its parts to this crew; None: does them itself."""
    token = _crew.set(crew)
    try:
        yield
    finally:
        _crew.reset(token)
