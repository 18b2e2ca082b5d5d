"""Notes on MLflow's pages: what fits in them."""

from __future__ import annotations

from orchestrator.tracking.notes import note_tags
from orchestrator.tracking.pages import MOST_CHARACTERS, NOTE_TAG, parent_note


def _note(rows: int) -> str:
    table = "\n".join(f"| method {row} | {'0.981 ± 0.002 | ' * 6}" for row in range(rows))
    return parent_note("1", "abc", "Which one?", table=table, picture="note/accuracy_by_size.png")


def test_a_comparison_that_is_too_long_gives_way_to_a_link_and_all_else_stays() -> None:
    assert "| method 9 |" in _note(10)
    long = _note(200)
    assert len(long) <= MOST_CHARACTERS
    assert "| method 9 |" not in long
    assert "[comparison.md](#/experiments/1/runs/abc/artifacts/comparison.md)" in long
    assert "/artifacts/report.html)" in long
    assert long.rstrip().endswith("run_uuid=abc)")


def test_a_note_as_long_as_a_tag_can_hold_stays_ours() -> None:
    first = note_tags(_note(200), there={})
    assert len(first[NOTE_TAG]) <= MOST_CHARACTERS
    assert note_tags("another", there=first)[NOTE_TAG] == "another"
