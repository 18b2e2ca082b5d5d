"""Mending a weak network from the command line: what is measured, written, said, refused and taken off again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from methods.artefact import load_network
from methods.contract import Split
from methods.data.dataset import DataError
from methods.export import format_of
from methods.measure import predict
from methods.modules.patch_effect import TargetQuality, target_quality
from methods.modules.patching import Way, patched_scores
from methods.task_spec import DataSpec, NetworkSpec
from orchestrator import samples
from orchestrator.class_modules.patching import Patched, effect_of, export_patched, unpatch
from orchestrator.class_modules.weak import open_module, open_weak
from orchestrator.cli import app
from orchestrator.errors import ExportRefused, StoreProblem, UnknownRecord
from orchestrator.execution import deployed_network, execute
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_task
from tests.orchestrator.decomposed import digits, known, run_of, trained

WEAK = a_task(epochs=1, fraction=0.15, validation_share=0.4, network=NetworkSpec(name="mlp", arguments={"widths": [6]}))
LARGE = a_task(epochs=1, data=DataSpec(source="digits", image_shape=(1, 12, 12)))


@dataclass(frozen=True)
class Made:
    store: Store
    weak: str
    heads: str
    headless: str
    united: str
    large: str
    """Of images of another shape."""

    def patch(self, strong: str, *, way: Way | None = None, output: str = "p.safetensors", name: str = "3") -> Patched:
        return export_patched(self.weak, strong, name, store=self.store, way=way, output=Path(output), force=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    store = Store.open(str(tmp_path_factory.mktemp("patching") / "store"))
    with known():
        keys = {}
        for name, task, method in (("weak", WEAK, "dense"), ("united", a_task(epochs=6), "activation_driven")):
            run = run_of(digits(task), method, task=task)
            result = execute(Work(run), digits(task), WorkerSettings(store.uri), lambda _: False).result
            assert result is not None
            keys[name] = result.key
        heads = trained(store, digits(), kept=0.9).key
        headless = trained(store, digits(), heads=False, kept=0.9).key
        large = trained(store, digits(LARGE), task=LARGE).key
        yield Made(store, keys["weak"], heads, headless, keys["united"], large)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pare(*words: str) -> Result:
    return CliRunner().invoke(app, ["modules", *words])


@pytest.mark.parametrize(("strong", "way"), [("united", "calibrated"), ("headless", "calibrated"), ("heads", "score")])
def test_the_written_network_is_the_weak_one_with_the_modules_answer_and_measured_as_such(
    made: Made, strong: str, way: Way
) -> None:
    done = made.patch(getattr(made, strong))
    assert done.way == way
    weak = open_weak(made.store, made.weak)
    module = open_module(made.store, getattr(made, strong), "3", weak=weak)
    validation = weak.task.validation
    score = module.scores(validation)
    if way == "score":
        expected = patched_scores(weak.logits(validation), score.sigmoid(), target=3, calibration=(0.0, 1.0))
    else:
        expected = patched_scores(weak.logits(validation), score, target=3, calibration=module.calibration())
    network = load_network(Path("p.safetensors").read_bytes()).eval()
    found = predict(network, validation, normalization=weak.normalization, device="cpu")
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=5e-3)  # the layer is stored in float16
    targets = validation.targets
    assert done.effect.after == target_quality(found, targets, target=3)
    assert done.effect.before == target_quality(weak.logits(validation), targets, target=3)
    assert done.effect.num_samples == len(validation)
    assert done.sizes["parameters"] > done.weak_sizes["parameters"]


def test_a_trained_head_is_shown_beside_its_control(made: Made) -> None:
    done = made.patch(made.united, way="trained_head")
    assert done.effect.control is not None
    assert done.effect.control != done.effect.after
    assert made.patch(made.united).effect.control is None


def test_the_card_says_what_was_patched_with_what_and_what_both_were_tested_on(made: Made) -> None:
    done = made.patch(made.heads)
    card = json.loads(done.export.description.read_text())["patch"]
    assert card["weak"] == {"run_key": made.weak, "variant": "dense", "sizes": card["weak"]["sizes"]}
    assert card["module"]["run_key"] == made.heads
    assert card["module"]["card"]["class_name"] == "3"
    assert card["module"]["tested_on"]["data_fingerprint"] == digits().fingerprint
    assert card["effect"]["data_fingerprint"] == digits(WEAK).fingerprint
    assert TargetQuality(**card["effect"]["after"]) == done.effect.after


@pytest.mark.parametrize("name", ["p.safetensors", "p.safetensors.zst"])
def test_a_patch_comes_off_and_leaves_the_deployed_weak_network(made: Made, name: str) -> None:
    made.patch(made.heads, output=name)
    back = unpatch(Path(name), output=Path(f"weak{name[1:]}"))
    kind = format_of(back.name)
    assert kind is not None
    network = kind.read(back.read_bytes())
    weak = deployed_network(made.store, made.weak, "dense")
    state = network.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(state[key], value) for key, value in weak.state_dict().items())
    told = json.loads(back.with_name(f"{back.name}.json").read_text())
    assert told["weak"]["run_key"] == made.weak
    with pytest.raises(ExportRefused, match="was not patched"):
        unpatch(back, output=Path(f"again{name[1:]}"))
    with pytest.raises(ExportRefused, match="is there already"):
        unpatch(Path(name), output=back)


@pytest.mark.parametrize("damaged", ["{", "[]", '{"patch": 3}', b"\xff"])
def test_a_damaged_description_is_named_and_nothing_is_written(made: Made, damaged: str | bytes) -> None:
    description = made.patch(made.heads).export.description
    description.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(StoreProblem, match=r"p\.safetensors\.json is no description of a network"):
        unpatch(Path("p.safetensors"), output=Path("w.safetensors"))
    description.unlink()
    assert unpatch(Path("p.safetensors"), output=Path("w.safetensors")).exists()


def test_samples_of_one_kind_alone_are_refused(made: Made) -> None:
    weak = open_weak(made.store, made.weak)
    own = weak.task.validation.targets == 3
    for chosen, said in ((own, r"(\d+) of \1 samples"), (~own, r"0 of \d+ samples")):
        split = Split(weak.task.validation.inputs[chosen], weak.task.validation.targets[chosen])
        with pytest.raises(ExportRefused, match=said + " to measure on are of the class '3'"):
            effect_of(weak.logits(split), weak, split, target=3, way="score")


def test_the_command_shows_before_and_after_and_gives_json(made: Made) -> None:
    shown = pare(
        *("patch", made.weak, "--with", made.united, "--class", "3", "--way", "trained_head"),
        *("--store", made.store.uri, "--output", "t.safetensors"),
    )
    assert shown.exit_code == 0, shown.output
    for wanted in ("weak network", "patched", "control", "change", "other classes", "MACs", "t.safetensors"):
        assert wanted in shown.output
    as_json = pare(
        *("patch", made.weak, "--with", made.united, "--class", "3", "--as", "5", "--json"),
        *("--store", made.store.uri, "--output", "u.safetensors"),
    )
    found = json.loads(as_json.stdout)
    assert found["class_name"] == "5"
    assert found["effect"]["before"].keys() == {"precision", "recall", "f1", "others"}
    off = pare("unpatch", "u.safetensors", "--output", "v.safetensors")
    assert off.exit_code == 0
    assert "wrote v.safetensors" in off.output


def test_what_does_not_fit_together_is_refused_and_nothing_is_written(made: Made) -> None:
    store = made.store
    for strong, more, error, said in (
        (made.heads, {"class_name": "x"}, ExportRefused, r"strong run \w+ does not know the class 'x'; known: 0, 1"),
        (made.heads, {"weak_class": "ten"}, ExportRefused, r"weak run \w+ does not know the class 'ten'"),
        (made.united, {"way": "score"}, ExportRefused, "have no heads"),
        (made.large, {}, ExportRefused, r"inputs of shape \(1, 12, 12\), run \w+ of \(1, 8, 8\)"),
        (made.weak, {}, UnknownRecord, "has no class modules"),
        (made.heads, {"variant": "wide"}, UnknownRecord, "wide"),
    ):
        given = {"class_name": "3", **more}
        with pytest.raises(error, match=said):
            export_patched(made.weak, strong, store=store, output=Path("n.safetensors"), **given)  # type: ignore[arg-type]
    assert not list(Path().iterdir())
    wrong = pare("patch", made.weak, "--with", made.heads, "--class", "3", "--way", "scored", "--store", store.uri)
    assert wrong.exit_code == 2
    assert "no way 'scored'; known: calibrated, score, trained_head" in wrong.output


def test_samples_that_are_gone_are_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DataError("/data: no such folder")

    monkeypatch.setattr(samples, "load_dataset", gone)
    with pytest.raises(ExportRefused, match="samples are not at hand"):
        made.patch(made.heads)


def test_a_module_whose_score_never_changes_cannot_be_calibrated(made: Made) -> None:
    with known():
        dead = trained(made.store, digits(), heads=False, kept=0.0).key
    with pytest.raises(ExportRefused, match="same on all of them"):
        made.patch(dead)


def test_effects_by_hand() -> None:
    scores = torch.eye(3)[torch.tensor([0, 0, 1, 2, 2, 2])]
    found = target_quality(scores, torch.tensor([0, 1, 1, 2, 2, 0]), target=2)
    assert found == TargetQuality(precision=2 / 3, recall=1.0, f1=0.8, others=2 / 4)
    never = target_quality(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 2, 1]), target=2)
    assert never == TargetQuality(precision=0.0, recall=0.0, f1=0.0, others=1.0)
    with pytest.raises(ValueError, match="0 of 3 samples are of class 2"):
        target_quality(scores[:3], torch.tensor([0, 1, 1]), target=2)
