"""The page of a constructed study: complete, self-contained, unbreakable by what it shows."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestrator.comparison import compare, read_results
from orchestrator.errors import StoreProblem
from orchestrator.report import summary_lines, write_report
from orchestrator.report.facts import gather_facts
from orchestrator.results import results_table, table_bytes
from orchestrator.store import Store
from tests.orchestrator.constructed_study import ConstructedStudy, graded, make_record, make_result, make_run

VOID = {"meta", "br"}
HOSTILE = "</title><script>alert('x')</script> & \"quoted\" <b>"


class Reader(HTMLParser):
    """Fails on tags that do not match and gathers what a test asks for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "xlink:href"):
                self.links.append(value or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data + " "


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(str(tmp_path_factory.mktemp("store")))
    study = ConstructedStudy(store)
    study.build()
    study.fail("digits", "hypersparse", trial=20, seed=0, reason="epoch 7: the loss became nan")
    study.write_results()
    return store


@pytest.fixture(scope="module")
def html(store: Store) -> str:
    return write_report(store, "made_up").read_text()


def test_page_is_well_formed_and_every_link_leads_somewhere_on_it(html: str) -> None:
    page = Reader(html)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert page.links
    assert all(link.startswith("#") for link in page.links)


def test_page_loads_nothing_and_runs_nothing(html: str) -> None:
    assert not re.search(r"https?://|url\(|@import|//cdn", html)
    assert Reader(html).tags.keys() & {"script", "link", "img", "iframe", "object"} == set()
    assert len(html.encode()) < 5_000_000


def test_page_holds_question_answers_figures_costs_failures_and_origin(html: str) -> None:
    text = Reader(html).text
    for wanted in (
        "Which method keeps accuracy longest",
        "Within 0.01 of dense",
        "has the largest hypervolume",
        "budget 5 %",
        "stored bytes",
        "search 1 h 10 min, confirm 51 min 20 s, test 1 min 01 s",
        "epoch 7: the loss became nan",
        "beaten by 3 others",
        "0123456789ab",
        "digits-5f0c",
        "Test split opened 2025-03-01T13:00:00+00:00",
        "With 3 seeds an interval reaches 2.5 standard deviations",
    ):
        assert wanted in text, wanted


def test_every_confirmed_point_is_drawn_tabled_and_can_be_run_again(html: str, store: Store) -> None:
    page = Reader(html)
    for task in compare(store, "made_up").tasks:
        for one in task.configurations:
            row = f"row-{task.task}-{one.method}-{one.trial}-{one.variant}"
            assert row in page.ids
            assert f"#{row}" in page.links, "the point in the picture leads to its row"
            assert all(f"pare rerun {key} --store {store.uri}" in page.text for key in one.run_keys)


def test_only_runs_that_finished_are_offered_to_be_run_again(html: str, store: Store) -> None:
    text = Reader(html).text
    for record in store.study("made_up").records():
        assert (f"pare rerun {record.run.key} " in text) == (record.status == "finished"), record.id


def test_costs_count_each_run_of_the_ledger_once(store: Store) -> None:
    records = store.study("made_up").records()
    rows = read_results(store, "made_up").to_pylist()
    facts = gather_facts(store, "made_up", rows, measure="stored_bytes")
    assert len(facts.runs) == len(records)
    assert sum(line.device_seconds for line in facts.runs) == pytest.approx(sum(r.device_seconds for r in records))
    [failed] = [line for line in facts.runs if line.status == "failed"]
    assert len(facts.failures[failed.run_key]) == 2


def test_the_same_results_give_the_same_page(html: str, store: Store) -> None:
    assert write_report(store, "made_up").read_text() == html


def test_picture_is_written_beside_the_page(store: Store) -> None:
    data = store.study("made_up").read_file("pareto.png")
    assert data is not None
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000


def test_page_can_go_elsewhere_and_the_store_is_then_only_read(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    ConstructedStudy(store).build({"digits": 0.98})
    page = write_report(store, "made_up", output=tmp_path / "deep" / "page.html")
    assert page == tmp_path / "deep" / "page.html"
    assert page.exists()
    assert (tmp_path / "deep" / "pareto.png").exists()
    assert write_report(store, "made_up", output=tmp_path / "folder") == tmp_path / "folder" / "report.html"
    assert store.study("made_up").read_file("report.html") is None
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreProblem, match="--output"):
        write_report(store, "made_up", output=tmp_path / "file" / "page.html")


def test_hostile_names_and_reasons_are_shown_as_text(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    study = ConstructedStudy(store)
    study.question = HOSTILE
    study.build({"digits": 0.98}, methods=("dense", "magnitude"))
    study.fail("digits", "magnitude", trial=30, seed=0, reason=HOSTILE)
    study.write_results()
    page = Reader(write_report(store, "made_up").read_text())
    assert page.tags["script"] == page.tags["b"] == 0
    assert page.text.count(HOSTILE) >= 3, "in the question, the reason, and the attempts"


def test_one_seed_is_reported_without_intervals(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    ConstructedStudy(store, seeds=(0,)).build({"digits": 0.98})
    text = Reader(write_report(store, "made_up").read_text()).text
    assert "no two methods can be told apart" in text
    assert "no interval" in text
    assert "better than" not in text


def test_a_study_whose_runs_all_failed_still_has_a_page(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    study = ConstructedStudy(store)
    study.trials = 0
    study.build({"digits": 0.98}, methods=("magnitude",))
    study.fail("digits", "magnitude", trial=0, seed=0, reason="out of memory")
    study.write_results()
    text = Reader(write_report(store, "made_up").read_text()).text
    assert "nothing can be compared" in text
    assert "out of memory" in text
    assert any("nothing can be compared" in line for line in summary_lines(compare(store, "made_up")))


def test_a_task_that_was_only_searched_shows_its_trials(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    folder = store.study("young")
    folder.put_spec("study: young\ntasks: {digits: {}}\nmethods: {magnitude: {}}\n")
    run = make_run("digits", "magnitude", {}, 0)
    result = make_result(run, [graded("final", 0.9, 0.2)])
    store.put_outcome(result)
    records = [make_record(run, phase="search", study="young")]
    table = results_table(records, {run.key: result}, None, measure="stored_bytes", tolerance=0.01)
    folder.write_file("results.parquet", table_bytes(table))
    text = Reader(write_report(store, "young").read_text()).text
    assert "magnitude #0 final, search: validation 0.900, 20.0 %" in text
    assert "The test split is locked" in text


def test_summary_for_the_terminal_has_a_row_per_method_and_fits_a_screen(store: Store) -> None:
    lines = summary_lines(compare(store, "made_up"))
    tables = [line for line in lines if " ± " in line]
    assert Counter(line.split()[0] for line in tables)["magnitude"] == 2
    assert max(map(len, tables)) <= 100
