"""A study file is checked whole: every fault at once, each with its line, the value and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.config import Choice, Range
from orchestrator.errors import Fault, StudyInvalid
from orchestrator.spec import Study
from orchestrator.spec.study_file import load_study, parse_study

GOOD = """\
study: tiny
question: Which is smaller?
tasks:
  digits: {data: digits, network: small_cnn, epochs: 3}
methods:
  dense: {search: none}
  magnitude:
    set: {finetune_share: 0.5}
    search: {pruning_rate: [0.8, 0.9]}
seeds: [0, 1]
search: {trials: 4}
"""


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(StudyInvalid) as caught:
        parse_study(text, file="tiny.yaml")
    return caught.value.faults


def parsed(text: str) -> Study:
    return parse_study(text, file="tiny.yaml")


# What is replaced in GOOD, by what; the line, the place and pieces of the message that must come of it.
BAD = [
    ("seeds:", "seedz:", 10, "seedz", ["unknown key 'seedz'", "Did you mean 'seeds'?"]),
    ("study: tiny", "study: Tiny-1", 1, "study", ["a-z, 0-9", '"Tiny-1"']),
    ("study: tiny\n", "", 1, "study", ["is missing"]),
    ("[0, 1]", "[0, 1, 0]", 10, "seeds", ["seed 0 is given twice"]),
    ("[0, 1]", "[]", 10, "seeds", ["at least 1 item"]),
    ("[0, 1]", "[0, -1]", 10, "seeds[1]", ["greater than or equal to 0", "-1"]),
    ("[0, 1]", '[0, "1"]', 10, "seeds[1]", ["whole number", '"1"']),
    ("[0, 1]", "3", 10, "seeds", ["must be a list", "not 3"]),
    ("trials: 4", "trials: 0", 11, "search.trials", ["greater than or equal to 1", "not 0"]),
    ("trials: 4", "trials: true", 11, "search.trials", ["whole number", "not true"]),
    (
        "[0, 1]\nsearch: {trials: 4}",
        "[0]\nsearch: {extra_seeds: 2}",
        11,
        "search",
        ["extra_seeds", "one seed has none", "give 2 seeds or more"],
    ),
    ("trials: 4", "extra_seeds: -1", 11, "search.extra_seeds", ["greater than or equal to 0", "-1"]),
    ("trials: 4", "sampler: tpee", 11, "search.sampler", ["tpe, random", "Did you mean 'tpe'?"]),
    ("trials: 4", "objective: bytes", 11, "search.objective", ["stored_bytes"]),
    ("trials: 4", "early_stopping: {rungs: [0.5, 0.25]}", 11, "search.early_stopping.rungs", ["above", "[0.5, 0.25]"]),
    ("trials: 4", "early_stopping: {rungs: [0.5, 1.0]}", 11, "search.early_stopping.rungs", ["below 1"]),
    ("trials: 4", "early_stopping: {rung: [0.5]}", 11, "search.early_stopping.rung", ["Did you mean 'rungs'?"]),
    ("seeds:", "budget: {wall_minutes: 0}\nseeds:", 10, "budget.wall_minutes", ["greater than 0"]),
    ("seeds:", "budget: soon\nseeds:", 10, "budget", ["wall_minutes", '"soon"']),
    ("seeds:", "resources: {cpus: 0}\nseeds:", 10, "resources.cpus", ["greater than or equal to 1"]),
    ("seeds:", "resources: {gpus: -1}\nseeds:", 10, "resources.gpus", ["greater than or equal to 0"]),
    ("seeds:", "executor: slurm\nseeds:", 10, "executor", ["ray://host:port", '"slurm"']),
    ("seeds:", "executor: ray://somewhere\nseeds:", 10, "executor", ["ray://host:port"]),
    ("seeds:", "store: gs://bucket\nseeds:", 10, "store", ["gs://", "s3://"]),
    ("seeds:", "store: ${PARE_NOT_SET}\nseeds:", 10, "store", ["PARE_NOT_SET is not set", "export"]),
    ("seeds:", "tracking: mlflow\nseeds:", 10, "tracking", ["sqlite, none", '"mlflow"']),
    ("seeds:", "report: {size_budgets: [0.2, 0.1]}\nseeds:", 10, "report.size_budgets", ["above the one before"]),
    ("seeds:", "report: {measure: flops}\nseeds:", 10, "report.measure", ["macs"]),
    ("data: digits", "data: digitz", 4, "tasks.digits.data", ["unknown data source", "Did you mean 'digits'?"]),
    ("data: digits", "data: parquet_images", 4, "tasks.digits.data", ["needs `path`"]),
    ("data: digits", "data: {source: digits, target: y}", 4, "tasks.digits.data", ["only data source 'table'"]),
    ("data: digits", "data: {source: table, target: y}", 4, "tasks.digits.data", ["file or folder"]),
    ("data: digits", "data: {source: table, kind: ranking}", 4, "tasks.digits.data.kind", ["regression", '"ranking"']),
    ("data: digits", "data: {source: table, drop: id}", 4, "tasks.digits.data.drop", ["must be a list", '"id"']),
    ("data: digits", "data: {source: table, targte: y}", 4, "tasks.digits.data.targte", ["Did you mean 'target'?"]),
    ("epochs: 3", "epochs: 3, class_weights: equal", 4, "tasks.digits.class_weights", ["none, balanced", '"equal"']),
    (
        "digits, network: small_cnn, epochs: 3",
        "diabetes, network: mlp, epochs: 3, class_weights: balanced",
        4,
        "tasks.digits.class_weights",
        ["a regression has no classes"],
    ),
    ("epochs: 3", "epochs: 3, skew: 1", 4, "tasks.digits.skew", ["concentration, minimum, seed", "not 1"]),
    ("epochs: 3", "epochs: 3, skew: {minimum: 5}", 4, "tasks.digits.skew.seed", ["is missing"]),
    ("epochs: 3", "epochs: 3, skew: {seed: 1, min: 5}", 4, "tasks.digits.skew.min", ["Did you mean 'minimum'?"]),
    ("epochs: 3", "epochs: 3, skew: {seed: -1}", 4, "tasks.digits.skew.seed", ["greater than or equal to 0"]),
    ("epochs: 3", "epochs: 3, skew: {seed: 1, minimum: 0}", 4, "tasks.digits.skew.minimum", ["equal to 1"]),
    (
        "epochs: 3",
        "epochs: 3, skew: {seed: 1, concentration: .inf}",
        4,
        "tasks.digits.skew.concentration",
        ["finite number"],
    ),
    (
        "digits, network: small_cnn, epochs: 3",
        "diabetes, network: mlp, epochs: 3, skew: {seed: 1}",
        4,
        "tasks.digits.skew",
        ["a regression has no classes to skew"],
    ),
    ("data: digits", "data: {source: digits, classes: [3]}", 4, "tasks.digits.data", ["`classes` keeps '3' alone"]),
    ("data: digits", "data: {source: digits, classes: 3}", 4, "tasks.digits.data.classes", ["must be a list"]),
    ("data: digits", "data: {source: digits, classes: [3, no]}", 4, "tasks.digits.data.classes[1]", ["must be text"]),
    (
        "data: digits",
        "data: {source: digits, image_shape: [3, 32]}",
        4,
        "tasks.digits.data.image_shape",
        ["[channels, height, width]", "[3, 32]"],
    ),
    ("data: digits, ", "", 4, "tasks.digits.data", ["is missing"]),
    ("small_cnn", "small_cn", 4, "tasks.digits.network", ["unknown network", "Did you mean 'small_cnn'?"]),
    ("small_cnn", "{name: mlp, width: [8]}", 4, "tasks.digits.network", ["no argument 'width'"]),
    ("small_cnn", "{widths: [8]}", 4, "tasks.digits.network.name", ["is missing"]),
    ("epochs: 3", "epochs: 0", 4, "tasks.digits.epochs", ["greater than or equal to 1"]),
    ("epochs: 3", "epochs: many", 4, "tasks.digits.epochs", ["whole number", '"many"']),
    ("epochs: 3", "epochs: .nan", 4, "tasks.digits.epochs", ["whole number"]),
    ("epochs: 3", "epochs: 3, epoch: 4", 4, "tasks.digits.epoch", ["unknown key 'epoch'", "Did you mean 'epochs'?"]),
    ("epochs: 3", "epochs: 3, epochs: 4", 4, "tasks.digits.epochs", ["already on line 4"]),
    ("  digits:", "  Digits:", 4, "tasks.Digits", ["a-z, 0-9"]),
    ("  digits:", "  5:", 4, "tasks", ["the key 5 is not text"]),
    ("  dense: {search: none}", "  denze: {search: none}", 6, "methods.denze", ["Did you mean 'dense'?", "method:"]),
    ("{search: none}", "{method: dens}", 6, "methods.dense.method", ["unknown method 'dens'"]),
    ("{search: none}", "{serch: none}", 6, "methods.dense.serch", ["Did you mean 'search'?"]),
    ("{search: none}", "{momentum: 0.5}", 6, "methods.dense.momentum", ["under `set:`"]),
    ("{search: none}", "3", 6, "methods.dense", ["not 3"]),
    ("{search: none}", "{search: some}", 6, "methods.dense.search", ["all, none", '"some"']),
    ("{search: none}", "{set: [1]}", 6, "methods.dense.set", ["fields and their values"]),
    ("finetune_share: 0.5", "finetune_share: 2", 8, "methods.magnitude.set.finetune_share", ["less than 1", "2"]),
    ("finetune_share: 0.5", "share: 0.5", 8, "methods.magnitude.set.share", ["unknown key 'share'", "finetune_share"]),
    ("finetune_share: 0.5", "pruning_rate: 0.5", 9, "methods.magnitude.search.pruning_rate", ["both set and searched"]),
    ("[0.8, 0.9]", "[0.9, 0.8]", 9, "methods.magnitude.search.pruning_rate", ["empty range", "0.9", "0.8"]),
    ("[0.8, 0.9]", "[0.5, 0.9]", 9, "methods.magnitude.search.pruning_rate", ["own range [0.8, 0.99]", "narrow"]),
    ("[0.8, 0.9]", "[0.8]", 9, "methods.magnitude.search.pruning_rate", ["[low, high]"]),
    ("[0.8, 0.9]", "[0.8, high]", 9, "methods.magnitude.search.pruning_rate", ["two numbers", '"high"']),
    ("[0.8, 0.9]", "{options: [0.8, 0.999]}", 9, "methods.magnitude.search.pruning_rate", ["0.999", "[0.8, 0.99]"]),
    ("[0.8, 0.9]", "{low: 0.8, scale: cubic}", 9, "methods.magnitude.search.pruning_rate", ["linear or log"]),
    ("pruning_rate: [0.8, 0.9]", "momentum: [0, 1]", 9, "methods.magnitude.search.momentum", ["no search range"]),
    ("pruning_rate: [0.8, 0.9]", "rate: [0, 1]", 9, "methods.magnitude.search.rate", ["unknown field 'rate'"]),
]


@pytest.mark.parametrize(("old", "new", "line", "place", "pieces"), BAD, ids=[f"{bad[1]!r}" for bad in BAD])
def test_a_fault_names_its_line_and_place_and_the_mend(
    old: str, new: str, line: int, place: str, pieces: list[str]
) -> None:
    assert old in GOOD
    (fault,) = faults_of(GOOD.replace(old, new, 1))
    assert (fault.file, fault.line, fault.place) == ("tiny.yaml", line, place)
    for piece in pieces:
        assert piece in fault.message


def test_all_faults_are_shown_at_once_in_the_order_of_lines() -> None:
    text = GOOD.replace("epochs: 3", "epochs: 0").replace("small_cnn", "small_cn").replace("[0.8, 0.9]", "[0.1, 0.9]")
    text = text.replace("[0, 1]", "[]").replace("trials: 4", "trails: 4").replace("dense:", "dens:")
    places = [(fault.line, fault.place) for fault in faults_of(text)]
    assert places == [
        (4, "tasks.digits.epochs"),
        (4, "tasks.digits.network"),
        (6, "methods.dens"),
        (9, "methods.magnitude.search.pruning_rate"),
        (10, "seeds"),
        (11, "search.trails"),
    ]


def test_the_message_of_the_error_has_one_line_per_fault() -> None:
    with pytest.raises(StudyInvalid, match=r"tiny.yaml:4: tasks.digits.epochs: .*\ntiny.yaml:10: seeds: ") as caught:
        parsed(GOOD.replace("epochs: 3", "epochs: 0").replace("[0, 1]", "[]"))
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "line", "piece"),
    [
        ("study: [\n", 2, "expected the node content"),
        ("study: x\n\tquestion: y\n", 2, "indent with spaces"),
        ("tasks:\n  d: {source: image_folder, path: ${HERE}}\n", 2, 'needs quotes: "${NAME}"'),
        ("study: x\n---\nstudy: y\n", 2, "single document"),
        ("study: *nowhere\n", 1, "undefined alias"),
        ("study: a: b\n", 1, "not allowed here"),
    ],
)
def test_broken_yaml_is_one_fault_with_its_line(text: str, line: int, piece: str) -> None:
    (fault,) = faults_of(text)
    assert fault.line == line
    assert piece in fault.message


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n", "3\n"])
def test_a_file_that_is_no_mapping_says_what_it_must_hold(text: str) -> None:
    (fault,) = faults_of(text)
    assert "`study:`, `tasks:` and `methods:`" in fault.message


def test_an_endless_document_is_refused() -> None:
    assert any("contains itself" in fault.message for fault in faults_of("study: x\ntasks: &a [*a]\n"))


def test_sections_without_entries_are_faults_with_an_example() -> None:
    faults = faults_of("study: x\ntasks: {}\n")
    assert {fault.place for fault in faults} == {"tasks", "methods"}
    assert all("write e.g." in fault.message for fault in faults)


def test_a_missing_file_names_its_near_miss(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(GOOD)
    with pytest.raises(StudyInvalid, match=r"quickstar.yaml:1: file: cannot be read: No such file.*quickstart.yaml"):
        load_study(tmp_path / "quickstar.yaml")


def test_a_file_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"study: \xff\xfe")
    with pytest.raises(StudyInvalid, match="UTF-8"):
        load_study(tmp_path / "x.yaml")


def test_a_study_keeps_its_text_and_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(GOOD)
    study = load_study(path)
    assert (study.source_text, study.file, study.name) == (GOOD, str(path), "tiny")


def test_a_text_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_study(path).name == "tiny"


def test_a_table_is_named_by_path_and_target(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,size,y\n1,2,3\n")
    source = f"{{source: table, path: {tmp_path}/t.csv, target: y, kind: regression, numeric: [size], drop: [id]}}"
    data = (
        parsed(GOOD.replace("data: digits, network: small_cnn", f"data: {source}, network: mlp")).tasks["digits"].data
    )
    assert (data.target, data.kind, data.numeric, data.drop) == ("y", "regression", ("size",), ("id",))


MIXTURE = GOOD.replace(
    "{data: digits, network: small_cnn, epochs: 3}",
    """
    data:
      source: mixture
      parts:
        - {source: digits, classes: [3, 8], image_shape: [3, 32, 32]}
        - {source: image_folder, path: "${PARE_TEST_PLACE}", classes: [cat]}
        - digits
    network: small_cnn
    epochs: 3
    skew: {seed: 1, minimum: 10}""",
)


def test_a_mixture_names_its_parts_as_a_task_names_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARE_TEST_PLACE", str(tmp_path))
    task = parsed(MIXTURE).tasks["digits"]
    first, second, third = task.data.parts
    assert (first.source, first.classes, first.image_shape) == ("digits", ("3", "8"), (3, 32, 32))
    assert (second.path, second.classes) == ("${PARE_TEST_PLACE}", ("cat",))
    assert third.source == "digits"
    assert task.skew is not None
    assert (task.skew.seed, task.skew.concentration, task.skew.minimum) == (1, 1.0, 10)


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "piece"),
    [
        ("- digits", "- digitz", 10, "tasks.digits.data.parts[2]", "Did you mean 'digits'?"),
        ("- digits", "- 3", 10, "tasks.digits.data.parts[2]", "must hold keys (classes, drop, image_shape"),
        ("- digits", "- {source: digits, clases: [1]}", 10, "tasks.digits.data.parts[2].clases", "mean 'classes'?"),
        ("[3, 32, 32]", "[3, 32, 0]", 8, "tasks.digits.data.parts[0].image_shape", "three whole numbers from 1"),
        ('path: "${PARE_TEST_PLACE}"', "path: /no/such", 9, "tasks.digits.data.parts[1]", "no folder /no/such"),
        ("source: mixture", "source: mixtur", 5, "tasks.digits.data", "Did you mean 'mixture'?"),
    ],
)
def test_a_fault_inside_a_mixture_names_its_line_and_its_part(
    old: str, new: str, line: int, place: str, piece: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARE_TEST_PLACE", str(tmp_path))
    assert old in MIXTURE
    (fault,) = faults_of(MIXTURE.replace(old, new, 1))
    assert (fault.line, fault.place) == (line, place)
    assert piece in fault.message


def test_numbers_without_a_dot_before_the_exponent_are_numbers() -> None:
    study = parsed(GOOD.replace("{search: none}", "{set: {weight_decay: 5e-6}, search: {learning_rate: [2e-2, 1E-1]}}"))
    assert study.methods[0].fixed == {"weight_decay": 5e-6}
    assert study.methods[0].space == {"learning_rate": Range(0.02, 0.1, "log")}


def test_without_search_the_whole_space_of_the_method_is_searched_less_what_is_set() -> None:
    study = parsed(GOOD.replace("dense: {search: none}", "dense: {set: {learning_rate: 0.3}}"))
    assert study.methods[0].space == {"weight_decay": Range(1e-5, 1e-3, "log")}


def test_a_narrowed_range_keeps_the_scale_of_the_method_unless_told() -> None:
    study = parsed(
        GOOD.replace(
            "{search: none}", "{search: {learning_rate: {low: 0.05}, weight_decay: {high: 1e-4, scale: linear}}}"
        )
    )
    assert study.methods[0].space == {
        "learning_rate": Range(0.05, 0.9, "log"),
        "weight_decay": Range(1e-5, 1e-4, "linear"),
    }


def test_a_range_may_be_narrowed_to_options() -> None:
    study = parsed(GOOD.replace("[0.8, 0.9]", "{options: [0.8, 0.9]}"))
    assert study.methods[1].space == {"pruning_rate": Choice((0.8, 0.9))}


def test_choices_and_whole_numbers_are_narrowed_by_their_own_kind() -> None:
    entry = "hypersparse: {search: {window: [10], warmup_epochs: [30, 60], eta: all}}"
    study = parsed(GOOD.replace("dense: {search: none}", entry))
    space = study.methods[0].space
    assert space["window"] == Choice((10,))
    assert space["eta"] == Range(1.03, 1.1)
    warmup = space["warmup_epochs"]
    assert isinstance(warmup, Range)
    assert (type(warmup.low), type(warmup.high)) == (int, int)


def test_fields_that_are_searched_only_by_name_stay_out_of_the_whole_space() -> None:
    study = parsed(GOOD.replace("dense: {search: none}", "hypersparse: {search: all}"))
    names = ["learning_rate", "weight_decay", "pruning_rate", "lambda_init", "eta", "warmup_epochs", "window"]
    assert sorted(study.methods[0].space) == sorted(names)
    entry = "hypersparse: {search: {momentum: all, first_drop: [50, 80], second_drop: all}}"
    space = parsed(GOOD.replace("dense: {search: none}", entry)).methods[0].space
    assert list(space) == ["momentum", "first_drop", "second_drop"]
    drop = space["first_drop"]
    assert isinstance(drop, Range)
    assert (drop.low, drop.high) == (50, 80)
    assert (type(drop.low), type(drop.high)) == (int, int)


@pytest.mark.parametrize(("asked", "piece"), [("[5]", "the option 5"), ("[20.5, 60]", "whole number")])
def test_choices_and_whole_numbers_refuse_others(asked: str, piece: str) -> None:
    field = "window" if asked == "[5]" else "warmup_epochs"
    (fault,) = faults_of(GOOD.replace("dense: {search: none}", f"hypersparse: {{search: {{{field}: {asked}}}}}"))
    assert piece in fault.message


def test_one_method_enters_twice_under_labels_of_its_own() -> None:
    study = parsed(GOOD.replace("dense: {search: none}", "plain: {method: dense}\n  tuned: {method: dense}"))
    assert [(entry.label, entry.method) for entry in study.methods[:2]] == [("plain", "dense"), ("tuned", "dense")]


def test_no_early_stopping_is_written_none() -> None:
    assert parsed(GOOD.replace("trials: 4", "early_stopping: none")).search.early_stopping is None


def test_the_environment_fills_the_store_and_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARE_TEST_PLACE", str(tmp_path))
    text = GOOD.replace("data: digits", 'data: {source: image_folder, path: "${PARE_TEST_PLACE}"}')
    study = parsed(text + "store: ${PARE_TEST_PLACE}/results\n")
    assert study.store == f"{tmp_path}/results"
    assert study.tasks["digits"].data.path == "${PARE_TEST_PLACE}"  # the task stays the same on every machine


_SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["none", "all", "dense", "", "é"])
)
_VALUES = st.recursive(
    _SCALARS | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "data", "method", "search", "set", "low", "options", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def _paths(tree: Any) -> list[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [(), *[(key, *rest) for key, value in inner for rest in _paths(value)]]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_stands_at_a_place_is_read_or_refused_in_words(data: st.DataObject) -> None:
    tree = yaml.safe_load(GOOD)
    *above, last = data.draw(st.sampled_from(_paths(tree)[1:]))
    parent = tree
    for step in above:
        parent = parent[step]
    parent[last] = data.draw(_VALUES)
    faults: tuple[Fault, ...] = ()
    try:
        parsed(yaml.safe_dump(tree, allow_unicode=True))
    except StudyInvalid as error:
        faults = error.faults
    assert all(fault.line >= 1 and fault.message for fault in faults)


def test_all_leaves_out_what_a_set_field_excludes() -> None:
    entry = parsed(GOOD.replace("  dense: {search: none}", "  odf2nna: {set: {epsilon: 0.3}}")).methods[0]
    assert "keep_share" not in entry.space
    assert "preset" in entry.space


def test_fields_that_exclude_each_other_are_a_fault_of_the_entry() -> None:
    searched = "  odf2nna: {search: {keep_share: all, epsilon: all}}"
    (fault,) = faults_of(GOOD.replace("  dense: {search: none}", searched))
    assert (fault.line, fault.place) == (6, "methods.odf2nna")
    assert "epsilon and keep_share both say how much to cut" in fault.message


def test_a_set_field_may_need_what_is_searched() -> None:
    entry = "  gradual_magnitude: {set: {begin_share: 0.6}, search: {end_share: [0.7, 0.9]}}"
    assert parsed(GOOD.replace("  dense: {search: none}", entry)).methods[0].fixed["begin_share"] == 0.6
    never = entry.replace("[0.7, 0.9]", "[0.5, 0.6]")
    (fault,) = faults_of(GOOD.replace("  dense: {search: none}", never))
    assert "is not below" in fault.message
