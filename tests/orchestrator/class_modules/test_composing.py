"""From class modules in the store to files: what they compute, what is said of them, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from methods.artefact import decode, load_network
from methods.data.dataset import DataError
from methods.data.load import load_dataset
from methods.export import FORMATS
from methods.measure import predict
from methods.tasks import TaskData, build_task, prepare
from orchestrator import samples
from orchestrator.class_modules import export_all, export_composition, libraries, modules_of
from orchestrator.class_modules.naming import label_of
from orchestrator.errors import ExportRefused, UnknownRecord
from orchestrator.execution import execute
from orchestrator.library_results import stored_library
from orchestrator.runs import Run
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_task

TASK = a_task(epochs=3, validation_share=0.2)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return prepare(TASK, load_dataset(TASK.data, test_share=TASK.test_share))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data: TaskData) -> Store:
    """A store with two modular runs and a dense one."""
    store = Store.open(str(tmp_path_factory.mktemp("composing") / "store"))
    for method, config in (("dense", {}), ("activation_driven", {"gamma": 1.0}), ("activation_driven", {"gamma": 0.1})):
        run = Run(
            task_name="digits", task=TASK, data_fingerprint=data.fingerprint, method=method, config=config, seed=0
        )
        assert execute(Work(run), data, WorkerSettings(store.uri), lambda _: False).result is not None
    return store


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    return libraries(store)[0].run_key


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_runs_with_modules_are_listed_smallest_modules_first(store: Store) -> None:
    lines = libraries(store)
    assert [line.config["gamma"] for line in lines] == [1.0, 0.1]
    assert lines[0].module_size < lines[1].module_size
    for line in lines:
        modules = modules_of(store, line.run_key)
        assert line.num_classes == 10
        assert line.reuse_accuracy == pytest.approx(sum(one.accuracy for one in modules.subtasks) / 9)


def test_a_file_tells_its_classes_apart_as_well_as_is_said_of_it(store: Store, key: str, data: TaskData) -> None:
    made = export_composition(key, ["8", "3", "5"], store=store, output=Path("three.safetensors"))
    assert made.classes == ("3", "5", "8")
    network = load_network(made.export.path.read_bytes()).eval()
    task = build_task(TASK, data, name="digits", seed=0, device="cpu")
    own = torch.isin(task.validation.targets, torch.tensor([3, 5, 8]))
    logits = predict(network, task.validation, normalization=task.normalization, device="cpu")[own]
    labels = torch.searchsorted(torch.tensor([3, 5, 8]), task.validation.targets[own])
    assert made.accuracy == float((logits.argmax(dim=1) == labels).double().mean())
    assert made.num_samples == len(labels)
    described = json.loads(made.export.description.read_text())
    assert described["kind"] == "composed"
    assert described["output"]["class_names"] == described["classes"] == ["3", "5", "8"]
    assert described["validation"]["accuracy"] == made.accuracy
    assert described["validation_samples"] == made.num_samples
    assert [card["class_name"] for card in described["modules"]] == ["3", "5", "8"]
    assert described["sizes"] == made.sizes
    assert described["test"] is None, "the locked split is not opened for a composition"


def test_a_composition_is_smaller_than_the_union_and_larger_than_a_module(store: Store, key: str) -> None:
    sizes = [
        export_composition(key, classes, store=store).sizes["parameters"]
        for classes in (["3"], ["3", "8"], [str(digit) for digit in range(10)])
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_will_do(store: Store, key: str, name: str) -> None:
    made = export_composition(key, ["0", "1"], store=store, format=name)
    assert made.export.path.name == f"{key}-composed-0-1{FORMATS[name].suffix}"
    assert made.export.max_abs_difference < 1e-4


def test_all_modules_become_files_of_one_logit_each(store: Store, key: str) -> None:
    made = export_all(key, store=store, format="artefact", output=Path("modules"))
    assert [one.classes for one in made] == [(str(digit),) for digit in range(10)]
    library = stored_library(store, key)
    x = torch.rand(4, 1, 8, 8)
    for index, one in enumerate(made):
        network = decode(one.export.path.read_bytes())
        with torch.no_grad():
            wanted = library.network.eval().run(x, keep=library.keep([index])).logits[:, [index]]
            assert torch.allclose(network(x), wanted, atol=0.02 * float(wanted.abs().max()))
        assert one.accuracy is None
        assert "tells nothing apart" in one.not_measured
        described = json.loads(one.export.description.read_text())
        assert (described["kind"], described["output"]["num_outputs"]) == ("module", 1)
        assert "compare it with those of other modules" in described["output"]["meaning"]


def test_without_the_samples_the_file_is_written_and_says_that_it_was_not_measured(
    store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DataError("no such folder")

    monkeypatch.setattr(samples, "load_dataset", gone)
    made = export_composition(key, ["0", "1"], store=store)
    assert made.accuracy is None
    assert "not at hand: no such folder" in made.not_measured
    assert json.loads(made.export.description.read_text())["not_measured"] == made.not_measured


@pytest.mark.parametrize(
    ("classes", "fault"),
    [(["cat"], "unknown class 'cat'; there are: 0, 1"), (["3", "3"], "named twice"), ([], "at least one class")],
)
def test_classes_that_make_no_composition_are_refused_and_nothing_is_written(
    store: Store, key: str, classes: list[str], fault: str
) -> None:
    with pytest.raises(ExportRefused, match=fault):
        export_composition(key, classes, store=store)
    assert list(Path().iterdir()) == []


def test_a_file_in_the_way_is_kept(store: Store, key: str) -> None:
    Path("two.safetensors").write_text("mine")
    with pytest.raises(ExportRefused, match="give --force"):
        export_composition(key, ["0", "1"], store=store, output=Path("two.safetensors"))
    assert Path("two.safetensors").read_text() == "mine"
    with pytest.raises(ExportRefused, match="give --output a folder"):
        export_all(key, store=store, output=Path("two.safetensors.d/x.onnx"))


@pytest.mark.parametrize(
    "classes", [("C#",), ("C+",), ("a b",), ("a/b",), ("x" * 300,), ("\u732b" * 90,), tuple(map(str, range(100)))]
)
def test_every_composition_has_a_name_of_its_own_that_a_file_can_bear(classes: tuple[str, ...]) -> None:
    name = label_of(classes)
    assert len(name.encode()) < 100
    assert not set(name) & set("/ #+")
    others = [("C#",), ("C+",), ("a b",), ("a/b",), tuple(map(str, range(99))), ("C_",)]
    assert name not in [label_of(other) for other in others if other != classes]


def test_one_file_in_the_way_of_all_modules_leaves_none_written(store: Store, key: str) -> None:
    Path("all").mkdir()
    Path(f"all/{key}-module-7.safetensors").write_text("mine")
    with pytest.raises(ExportRefused, match=r"module-7.*give --force"):
        export_all(key, store=store, output=Path("all"))
    assert [path.name for path in Path("all").iterdir()] == [f"{key}-module-7.safetensors"]


def test_a_run_without_modules_is_refused(store: Store) -> None:
    dense = next(run for run in store.finished_keys() if run not in store.modular_keys())
    with pytest.raises(UnknownRecord, match="`pare modules list`"):
        export_composition(dense, ["0"], store=store)
    with pytest.raises(UnknownRecord, match="'dense' has no class modules"):
        modules_of(store, dense)
