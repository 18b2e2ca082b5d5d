"""Class modules of several runs as one file: which are chosen, what the file computes, what is said and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from methods.artefact import load_network
from methods.contract import Split
from methods.data.dataset import DataError
from methods.measure import predict
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import as_network
from methods.task_spec import DataSpec, SkewSpec, TaskSpec
from methods.tasks import PreparedTask, build_task
from orchestrator import samples
from orchestrator.class_modules import export_across, export_composition, modules_of
from orchestrator.class_modules.choosing import choose
from orchestrator.class_modules.judging import judging_samples
from orchestrator.class_modules.sources import SourceRun, Wish, open_sources, parse_wishes
from orchestrator.cli import app
from orchestrator.errors import ExportRefused, UnknownRecord
from orchestrator.execution import execute
from orchestrator.export.description import normalization_of
from orchestrator.library_results import stored_library
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_task
from tests.orchestrator.decomposed import digits, known, run_of, trained


def _digits_task(*, skew: int | None = None, classes: str = "", **more: Any) -> TaskSpec:
    return a_task(
        epochs=3,
        validation_share=0.2,
        skew=None if skew is None else SkewSpec(seed=skew, minimum=10),
        data=DataSpec(source="digits", classes=tuple(classes)),
        **more,
    )


TASKS = {
    "skew 1": _digits_task(skew=1),
    "skew 3": _digits_task(skew=3),
    "low": _digits_task(classes="01234"),
    "high": _digits_task(classes="56789"),
    "otherwise split": _digits_task(split_seed=1),
    "large": a_task(epochs=1, data=DataSpec(source="digits", image_shape=(1, 12, 12))),
}


@dataclass(frozen=True)
class Made:
    store: Store
    keys: dict[str, str]
    """By the name of the task."""

    def runs(self, *names: str) -> list[str]:
        return [self.keys[name] for name in names]

    def sources(self, *names: str) -> list[SourceRun]:
        return open_sources(self.store, self.runs(*names))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    store = Store.open(str(tmp_path_factory.mktemp("across") / "store"))
    with known():
        keys = {name: trained(store, digits(task), task=task).key for name, task in TASKS.items()}
        keys["headless"] = trained(store, digits(), heads=False).key
        for method in ("dense", "activation_driven"):
            result = execute(Work(run_of(digits(), method)), digits(), WorkerSettings(store.uri), lambda _: False)
            assert result.result is not None
            keys[method] = result.result.key
        yield Made(store, keys)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _validation(name: str, classes: str) -> tuple[PreparedTask, Split, Tensor]:
    """The run's task, its validation samples of some classes, and the place of each sample's class among these."""
    task = build_task(TASKS[name], digits(TASKS[name]), name="digits", seed=0, device="cpu")
    places = torch.full((len(task.info.class_names),), -1)
    for place, label in enumerate(classes):
        if label in task.info.class_names:
            places[task.info.class_names.index(label)] = place
    place_N = places[task.validation.targets]
    own = place_N >= 0
    return task, Split(task.validation.inputs[own], task.validation.targets[own]), place_N[own]


def test_each_class_goes_to_the_run_whose_module_says_best_whether_a_sample_is_of_it(made: Made) -> None:
    keys = made.runs("skew 1", "skew 3")
    found = export_across(keys, ["8", "3", "5"], store=made.store)
    assert found.classes == ("8", "3", "5"), "as asked for"
    for place, choice in enumerate(found.choices):
        f1 = {}
        for name, key in zip(("skew 1", "skew 3"), keys, strict=True):
            task, split, place_N = _validation(name, "835")
            module = as_network(stored_library(made.store, key).compose([choice.class_name]))
            says_N = predict(module, split, normalization=task.normalization, device="cpu")[:, 0] > 0
            true_N = place_N == place
            f1[key] = 2 * int((says_N & true_N).sum()) / int(says_N.sum() + true_N.sum())
        assert choice.f1_by_run == pytest.approx(f1)
        assert choice.f1 == max(choice.f1_by_run.values(), key=lambda value: value or 0)
        assert choice.run_key == max(keys, key=lambda key: f1[key])


def test_the_file_has_the_accuracy_that_is_said_of_it_though_its_runs_normalise_otherwise(made: Made) -> None:
    keys = made.runs("skew 1", "skew 3")
    wishes = [f"{keys[0]}:8", f"{keys[1]}:3", "5"]
    found = export_across(keys, wishes, store=made.store, output=Path("three.safetensors"))
    assert [choice.run_key for choice in found.choices[:2]] == keys
    assert [choice.pinned for choice in found.choices] == [True, True, False]
    network = load_network(found.export.path.read_bytes()).eval()
    task, split, place_N = _validation("skew 1", "835")
    scores = predict(as_network(network), split, normalization=task.normalization, device="cpu")
    assert found.measured.accuracy == pytest.approx(float((scores.argmax(dim=1) == place_N).double().mean()))
    assert found.measured.num_samples == len(place_N)
    # The module of the other run reads these inputs as its own task normalises them.
    other = normalization_of(made.store.finished_run(keys[1]))
    assert other is not None
    assert other != task.normalization
    alone = as_network(stored_library(made.store, keys[1]).compose(["3"]))
    expected = predict(alone, split, normalization=other, device="cpu")[:, 0]
    assert torch.allclose(scores[:, 1], expected, atol=0.02 * float(expected.abs().max())), "but for float16"


def test_each_runs_own_composition_stands_beside_with_the_accuracy_it_has_by_itself(made: Made) -> None:
    keys = made.runs("skew 1", "skew 3")
    found = export_across(keys, ["8", "3", "5"], store=made.store).measured
    alone = {key: export_composition(key, ["8", "3", "5"], store=made.store).accuracy for key in keys}
    assert found.single_runs == alone


def test_the_description_says_which_module_is_whose(made: Made) -> None:
    keys = made.runs("skew 1", "skew 3")
    found = export_across(keys, [f"{keys[1]}:0", f"{keys[0]}:1"], store=made.store, format="artefact")
    described = json.loads(found.export.description.read_text())
    assert [one["run_key"] for one in described["runs"]] == keys
    assert [one["task"]["name"] for one in described["runs"]] == ["digits", "digits"]
    assert [(one["class_name"], one["run_key"], one["method"]) for one in described["modules"]] == [
        ("0", keys[1], "decomposed"),
        ("1", keys[0], "decomposed"),
    ]
    assert [one["f1"] for one in described["modules"]] == [choice.f1 for choice in found.choices]
    assert described["output"]["class_names"] == described["classes"] == ["0", "1"]
    assert described["validation"]["accuracy"] == found.measured.accuracy
    assert described["f1_measured_on"] == "the validation samples of task 'digits', which are those of all runs"
    recorded = normalization_of(made.store.finished_run(keys[1]))
    assert recorded is not None
    assert described["input"]["normalization"] == {"mean": list(recorded.mean), "std": list(recorded.std)}
    assert described["dense_sizes_of"] == keys[1], "that of the first module"
    assert "run_key" not in described
    assert described["test"] is None


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_files_that_normalise_by_themselves_agree_with_the_network(made: Made, name: str) -> None:
    keys = made.runs("skew 1", "skew 3")
    found = export_across(keys, [f"{keys[0]}:0", f"{keys[1]}:1"], store=made.store, format=name)
    assert found.export.max_abs_difference < 1e-4


def test_runs_of_different_classes_are_judged_on_samples_of_both(made: Made) -> None:
    keys = made.runs("low", "high")
    found = export_across(keys, ["1", "7"], store=made.store)
    assert [choice.run_key for choice in found.choices] == keys
    assert found.measured.measured_on == f"validation samples of run {keys[0]} (1) and run {keys[1]} (7)"
    assert found.measured.single_runs == {}, "neither run knows both"
    assert found.caution == ""
    network = as_network(load_network(found.export.path.read_bytes()).eval())
    first, low, place_low = _validation("low", "17")
    _, high, place_high = _validation("high", "17")
    both = Split(torch.cat([low.inputs, high.inputs]), torch.cat([place_low, place_high]))
    scores = predict(network, both, normalization=first.normalization, device="cpu")
    assert found.measured.accuracy == pytest.approx(float((scores.argmax(dim=1) == both.targets).double().mean()))
    assert found.measured.num_samples == len(both)


def test_samples_of_a_class_are_of_the_run_asked_for_else_of_the_first_that_knows_it(made: Made) -> None:
    sources = made.sources("low", "skew 1", "otherwise split")
    wishes = [Wish("1"), Wish("2", sources[2].key), Wish("7")]
    judging = judging_samples(sources, wishes)
    whose = (("low", "1"), ("otherwise split", "2"), ("skew 1", "7"))
    expected = [_validation(name, label)[1].inputs for name, label in whose]
    assert torch.equal(judging.split.inputs, torch.cat(expected))
    assert torch.bincount(judging.split.targets).tolist() == [len(inputs) for inputs in expected]
    assert "several runs know 1, 2, 7" in judging.doubt


def test_tasks_that_differ_in_skew_alone_share_their_samples(made: Made) -> None:
    wishes = [Wish("1"), Wish("7")]
    assert judging_samples(made.sources("skew 1", "skew 3"), wishes).doubt == ""
    found = export_across(made.runs("skew 1", "otherwise split"), ["1", "7"], store=made.store)
    assert "flatters its modules" in found.caution
    assert json.loads(found.export.description.read_text())["caution"] == found.caution


def test_without_samples_the_f1_stored_with_the_runs_decides(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DataError("no such folder")

    monkeypatch.setattr(samples, "load_dataset", gone)
    keys = made.runs("skew 1", "skew 3")
    found = export_across(keys, ["0", "1"], store=made.store)
    cards = [{card.class_name: card.f1 for card in modules_of(made.store, key).cards} for key in keys]
    for choice in found.choices:
        f1 = [card[choice.class_name] for card in cards]
        assert list(choice.f1_by_run.values()) == f1
        assert choice.run_key == keys[f1.index(max(f1))]
    assert "as stored with it" in found.f1_measured_on
    assert (found.measured.accuracy, found.measured.single_runs) == (None, {})
    assert found.measured.not_measured == f"run {keys[0]}: the run's samples are not at hand: no such folder"
    assert json.loads(found.export.description.read_text())["not_measured"] == found.measured.not_measured


def test_a_single_module_is_chosen_by_the_stored_f1(made: Made) -> None:
    keys = made.runs("skew 1", "skew 3")
    found = export_across(keys, ["4"], store=made.store)
    stored = {
        key: next(card.f1 for card in modules_of(made.store, key).cards if card.class_name == "4") for key in keys
    }
    assert found.choices[0].f1_by_run == stored
    assert "tells nothing apart" in found.measured.not_measured
    assert "above 0 the module finds the class" in json.loads(found.export.description.read_text())["output"]["meaning"]


def test_equal_f1_goes_to_the_run_named_first_and_an_undefined_one_to_nobody(made: Made) -> None:
    sources = made.sources("skew 1", "skew 3")
    first, second = (source.key for source in sources)
    nan = float("nan")
    f1 = {first: {"0": 0.5, "1": nan, "2": nan}, second: {"0": 0.5, "1": 0.0, "2": nan}}
    chosen = choose([Wish("0"), Wish("1")], sources, f1)
    assert [choice.run_key for choice in chosen] == [first, second]
    assert [choice.next_best for choice in chosen] == [0.5, None]
    assert choose([Wish("2", second)], sources, f1)[0].f1 is None, "asked for, so nothing is to be compared"
    with pytest.raises(ExportRefused, match=f"class '2': no run .* choose one with --class {first}:2"):
        choose([Wish("2")], sources, f1)


def test_a_class_name_may_hold_a_colon(made: Made) -> None:
    [source] = made.sources("skew 1")
    names = ("3", "digits:3", *(f"class {index}" for index in range(8)))
    renamed = SourceRun(source.result, _renamed(source, names), source.normalization)
    asked = ["digits:3", f"{source.key}:3", "class 0"]
    assert parse_wishes(asked, [renamed]) == [Wish("digits:3"), Wish("3", source.key), Wish("class 0")]
    assert parse_wishes([f"{source.key}:digits:3"], [renamed]) == [Wish("digits:3", source.key)]
    with pytest.raises(ExportRefused, match=r"known: 3, digits:3.* Did you mean 'digits:3'"):
        parse_wishes(["digit:3"], [renamed])
    with pytest.raises(ExportRefused, match=f"no run knows the class '{source.key}:'"):
        parse_wishes([f"{source.key}:"], [made.sources("skew 3")[0], renamed])


def _renamed(source: SourceRun, names: tuple[str, ...]) -> ModuleLibrary:
    return replace(source.library, class_names=names)


@pytest.mark.parametrize(
    ("runs", "classes", "fault"),
    [
        (("skew 1", "skew 1"), ["0"], "is named twice; name each run once"),
        (("skew 1", "skew 3"), ["0", "cat"], "no run knows the class 'cat'; known: 0, 1, 2"),
        (("low", "high"), ["0", "LOW:7"], "run .* does not know the class '7'; known: 0, 1, 2, 3, 4"),
        (("low", "skew 1"), ["0", "LOW:0"], "class '0' is named twice; name each class once, from one run"),
        (("skew 1", "skew 3"), [], "no class is named"),
        (("skew 1", "large"), ["0"], r"of shape \(1, 12, 12\), run .* of \(1, 8, 8\); .*image_shape"),
        (("skew 1", "activation_driven"), ["0"], "'activation_driven' are made to be united.*gradsplitter"),
        (("headless", "skew 1"), ["0"], "'decomposed' have no heads.*cannot be compared.*gradsplitter"),
    ],
)
def test_what_makes_no_composition_is_refused_and_nothing_is_written(
    made: Made, runs: tuple[str, ...], classes: list[str], fault: str
) -> None:
    asked = [name.replace("LOW", made.keys["low"]) for name in classes]
    with pytest.raises(ExportRefused, match=fault):
        export_across(made.runs(*runs), asked, store=made.store)
    assert list(Path().iterdir()) == []


def test_a_run_without_modules_and_a_file_in_the_way_are_refused(made: Made) -> None:
    with pytest.raises(UnknownRecord, match="'dense' has no class modules"):
        export_across(made.runs("skew 1", "dense"), ["0"], store=made.store)
    Path("mine.onnx").write_text("mine")
    with pytest.raises(ExportRefused, match="give --force"):
        export_across(made.runs("skew 1", "skew 3"), ["0", "1"], store=made.store, output=Path("mine.onnx"))
    assert Path("mine.onnx").read_text() == "mine"


def _pare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["modules", "compose", *arguments])


def test_the_command_prints_a_table_and_the_best_single_run(made: Made) -> None:
    keys = made.runs("skew 1", "skew 3")
    place = ["--store", made.store.uri]
    shown = _pare(*keys, "--class", "0", "--class", f"{keys[1]}:7", *place)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == "composition of 0, 7"
    assert lines[1].split()[:3] == ["class", "run", "method"]
    assert lines[2].startswith("0 ")
    assert lines[3].split()[:3] == ["7", keys[1], "decomposed"]
    assert "asked for" in lines[3]
    again = _pare(*keys, "--class", "0", "--class", f"{keys[1]}:7", *place, "--json", "--force")
    told = json.loads(again.stdout)
    assert told["classes"] == ["0", "7"]
    assert (
        f"accuracy: {told['measured']['accuracy']:.4f} on these {told['measured']['num_samples']} samples"
        in shown.stdout
    )
    assert f"best single run: {max(told['measured']['single_runs'].values()):.4f}" in shown.stdout
    assert told["export"]["run_key"] == ", ".join(
        key for key in keys if key in [choice["run_key"] for choice in told["choices"]]
    )
    alone = _pare(keys[0], "--class", "0", "--class", "7", *place)
    assert alone.stdout.splitlines()[0] == "composition of 0, 7"
    assert "validation samples of these classes" in alone.stdout
    assert _pare(keys[0], keys[0], "--class", "0", *place).exit_code == 2
