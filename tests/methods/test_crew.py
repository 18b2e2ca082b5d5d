from collections.abc import Sequence
from typing import Any

from methods.crew import spread, working_with


def _times(shared: int, part: int) -> int:
    return shared * part


def test_without_a_crew_the_parts_are_done_here_in_order() -> None:
    assert spread(_times, 3, [1, 2, 5]) == [3, 6, 15]
    assert spread(_times, 3, []) == []


def test_a_crew_is_asked_inside_its_context_alone() -> None:
    asked = []

    def crew(function: Any, shared: Any, parts: Sequence[Any]) -> list[Any]:
        asked.append((shared, list(parts)))
        return [function(shared, part) for part in parts]

    with working_with(crew):
        assert spread(_times, 2, [4]) == [8]
        with working_with(None):
            assert spread(_times, 2, [5]) == [10]
    assert spread(_times, 2, [6]) == [12]
    assert asked == [(2, [4])]
