"""Nights of a real study: the first, the same again, one with a method made worse, one that cannot run."""

from __future__ import annotations

import http.server
import json
import threading
import xml.etree.ElementTree as Xml
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from methods.magnitude.method import Magnitude
from methods.training import masks
from orchestrator.cli import app
from orchestrator.nightly.history import History
from orchestrator.store import Store

STUDY = """study: gate
tasks: {{digits: {{data: digits, network: small_cnn, epochs: 6, fraction: 0.3}}}}
methods: {{dense: {{search: none}}, magnitude: {{set: {{pruning_rate: 0.8}}, search: none}}}}
seeds: [0, 1, 2]
search: {{trials: 1, early_stopping: none}}
executor: inline
tracking: none
nightly: {{nights: 3, minimum_effect: {{seconds: 50, latency: 50}}, webhook: "{webhook}"}}
"""


@pytest.fixture(scope="module")
def heard() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A webhook's address, and what it was sent."""
    nights: list[dict[str, object]] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nights.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            del format, words

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/gate", nights
        server.shutdown()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, heard: tuple[str, list[dict[str, object]]]) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "gate.yaml").write_text(STUDY.format(webhook=heard[0]))
    return folder


def _nightly(place: Path, date: str, *words: str) -> Result:
    options = ["--store", str(place / "nights"), "--date", date, "--output", str(place / "out" / date)]
    return CliRunner().invoke(app, ["nightly", str(place / "gate.yaml"), *options, *words])


def test_two_nights_then_a_regression_is_found_named_and_not_compared_with(
    place: Path, heard: tuple[str, list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _nightly(place, "2026-03-01")
    assert first.exit_code == 0, first.output
    assert "gate 2026-03-01: ok" in first.stdout
    assert "the first night" in first.stdout
    again = _nightly(place, "2026-03-02")
    assert again.exit_code == 0, again.output
    assert "gate 2026-03-02: ok" in again.stdout
    history = History(Store.open(str(place / "nights")), "gate")
    nights = history.nights()
    place_of = ("digits", "magnitude", "accuracy")
    accuracies = [next(one.values for one in night.figures if one.place == place_of) for night in nights]
    assert accuracies[0] == accuracies[1], "trained anew with the same seeds, on the same machine"

    fit = Magnitude.fit

    def careless(method: Magnitude, task: object, *rest: object) -> object:
        outcome = fit(method, task, *rest)  # type: ignore[arg-type]
        for variant in outcome.variants:
            for weight in masks.prunable_weights(variant.network):  # type: ignore[arg-type]
                weight.data[::2] = 0.0
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(Magnitude, "fit", careless)
        worse = _nightly(place, "2026-03-04")  # the third is missing
    assert worse.exit_code == 1, worse.output
    assert "gate 2026-03-04: regressed" in worse.stdout
    assert "regressed digits/magnitude accuracy" in worse.stdout
    assert "digits/dense accuracy" not in worse.stdout
    out = place / "out" / "2026-03-04"
    assert sorted(path.name for path in out.iterdir()) == ["history.png", "junit.xml", "night.json", "night.md"]
    suite = Xml.parse(out / "junit.xml").getroot()
    assert int(suite.get("failures", "0")) >= 1
    assert [night["date"] for night in heard[1]] == ["2026-03-01", "2026-03-02", "2026-03-04"]

    back = _nightly(place, "2026-03-05")
    assert back.exit_code == 0, "it is compared with the accepted nights, and as good as they"
    assert [night.accepted for night in history.nights()] == [True, True, False, True]
    same = _nightly(place, "2026-03-05", "--json")
    assert json.loads(same.stdout)["verdict"] == "ok", "a night that is there already is judged again"


def test_a_night_that_cannot_run_is_broken_and_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(method: Magnitude, *rest: object) -> object:
        del method, rest
        raise ValueError("the loss became nan")

    with monkeypatch.context() as patch:
        patch.setattr(Magnitude, "fit", raises)
        broken = _nightly(place, "2026-03-06")
    assert broken.exit_code == 1
    assert "broken    digits/magnitude accuracy: " in broken.stdout
    assert "the loss became nan" in broken.stdout
    assert not History(Store.open(str(place / "nights")), "gate").night("2026-03-06").accepted


def test_people_may_accept_and_reject_nights(place: Path) -> None:
    accepted = _nightly(place, "2026-03-04", "--accept")
    assert accepted.stdout == "gate 2026-03-04: regressed, accepted\n"
    assert _nightly(place, "2026-03-04", "--reject").stdout == "gate 2026-03-04: regressed, not accepted\n"
    unknown = _nightly(place, "2026-04-01", "--accept")
    assert (unknown.exit_code, "no night 2026-04-01 of 'gate'; there are: 2026-03-01" in unknown.output) == (4, True)
    assert _nightly(place, "tomorrow").exit_code == 2


def test_a_damaged_night_is_named(place: Path) -> None:
    file = place / "nights" / "nightly" / "gate" / "2026-03-07.json"
    file.write_text("{}")
    damaged = _nightly(place, "2026-03-08")
    assert (damaged.exit_code, "is no night" in damaged.output) == (4, True)
    file.unlink()
