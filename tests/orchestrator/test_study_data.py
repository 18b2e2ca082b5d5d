from __future__ import annotations

import pytest

from orchestrator.errors import DataProblem
from orchestrator.spec import parse_study
from orchestrator.study_data import load_tasks

TWO_SKEWS = """
study: skews
tasks:
  plain: {data: DATA, network: small_cnn, epochs: 1}
  first: {data: DATA, network: small_cnn, epochs: 1, skew: {seed: 1, minimum: 5}}
methods:
  dense: {search: none}
"""
MIXTURE = "{source: mixture, parts: [{source: digits, classes: [3, 8]}, {source: digits, classes: [1]}]}"


def test_a_mixture_is_loaded_once_and_what_a_skew_left_of_its_classes_is_told() -> None:
    heard: list[str] = []
    tasks = load_tasks(parse_study(TWO_SKEWS.replace("DATA", MIXTURE), file="skews.yaml"), heard.append)
    assert heard.count("loading mixture") == 1
    (told,) = [sentence for sentence in heard if "skewed" in sentence]
    counts = tasks["first"].class_counts
    assert told.startswith("task first: ")
    assert told.endswith(", ".join(f"{name} {count}" for name, count in counts.items()))
    assert list(counts) == ["3", "8", "1"]
    assert sum(counts.values()) < sum(tasks["plain"].class_counts.values())
    assert tasks["first"].locked is tasks["plain"].locked


def test_an_unknown_class_of_a_part_is_told_with_its_task() -> None:
    text = TWO_SKEWS.replace("DATA", MIXTURE.replace("[1]", "[11]"))
    with pytest.raises(DataProblem, match=r"task plain: 'digits' has no class '11'; .* Did you mean '1'\?"):
        load_tasks(parse_study(text, file="skews.yaml"))
