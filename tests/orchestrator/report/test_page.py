"""The page of a constructed study: complete, self-contained, unbreakable by what it shows."""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestrator.comparison import Comparison, compare, read_results
from orchestrator.errors import StoreProblem
from orchestrator.report import summary_lines, words, write_report
from orchestrator.report.axes import axes_of
from orchestrator.report.facts import gather_facts
from orchestrator.report.picture import HEIGHT
from orchestrator.report.png import pareto_png
from orchestrator.results import results_table, table_bytes
from orchestrator.statistics import estimate
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


def test_matrices_hold_every_pair_from_both_sides_in_words_for_those_who_see_no_colour(html: str, store: Store) -> None:
    signs = re.findall(r'role="img" aria-label="(\w+) (better|worse|not distinguishable from) (\w+)"', html)
    tasks = compare(store, "made_up").tasks
    assert len(signs) == 2 * sum(len(task.verdicts) for task in tasks)
    turned = {"better": "worse", "worse": "better", "not distinguishable from": "not distinguishable from"}
    assert Counter(signs) == Counter((column, turned[word], row) for row, word, column in signs)
    assert {"better", "not distinguishable from"} <= {word for _, word, _ in signs}


def test_page_says_what_each_method_cost_and_how_far_validation_flattered(html: str, store: Store) -> None:
    text = Reader(html).text
    assert "What it cost, and how far validation flattered" in text
    [first, _] = compare(store, "made_up").tasks
    for one in first.methods:
        assert one.gap is not None
        assert f"{one.gap.mean:+.3f}" in text


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
    assert any("nothing can be compared" in line for line in summary_lines(compare(store, "made_up"), {}))


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


def _regression(store: Store, scores: dict[str, float], *, seeds: tuple[int, ...] = (0, 1)) -> None:
    """A confirmed and tested regression in which each method has one network of the given R2."""
    folder = store.study("costs")
    folder.put_spec(f"study: costs\nseeds: {list(seeds)}\ntasks: {{houses: {{}}}}\nmethods: {{dense: {{}}}}\n")
    records, outcomes, tested = [], {}, {}
    for place, (method, r2) in enumerate(scores.items()):
        for seed in seeds:
            run = make_run("houses", method, {}, seed)
            variant = graded("final", 0.0, 1.0 if method == "dense" else 0.1 / (place + 1))
            quality = {"r2": r2 - 0.01 * seed, "mse": 4_000 * (1 - r2)}
            outcomes[run.key] = make_result(run, [variant.model_copy(update={"validation": quality})])
            tested[f"{run.key}/final"] = quality
            records += [
                make_record(run, phase="confirm", study="costs"),
                make_record(run, phase="search", study="costs"),
            ]
            store.put_outcome(outcomes[run.key])
    sheet = {"opened_at": "2025-03-01T13:00:00+00:00", "opened_by": "study", "rows": tested}
    folder.put_test(sheet)
    table = results_table(records, outcomes, sheet, measure="stored_bytes", tolerance=0.01)
    folder.write_file("results.parquet", table_bytes(table))


@pytest.mark.parametrize(
    "scores",
    [
        {"dense": 0.4, "magnitude": 0.35, "scratch": -0.2},
        {"dense": 0.4, "magnitude": 0.35, "scratch": -5e7},
        {"dense": -900.0, "magnitude": 0.2, "scratch": 0.1},
        {"dense": -4.0, "magnitude": -8.0, "scratch": -5e7},
        {"dense": 0.0, "magnitude": 0.0, "scratch": 0.0},
    ],
    ids=["a little below 0", "one far below", "dense far below", "all below", "all alike"],
)
def test_scores_of_any_depth_leave_a_page_that_can_be_read(scores: dict[str, float], tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    _regression(store, scores)
    html = write_report(store, "costs").read_text()
    page = Reader(html)
    [task] = compare(store, "costs").tasks
    axes = axes_of(task, compare(store, "costs").terms)
    assert axes.highest - axes.lowest < 3, "one bad network does not press the others together"
    assert 3 <= len(axes.y_ticks()) <= 11
    places = [float(y) for y in re.findall(r'\b(?:y|y1|y2|cy)="(-?[\d.]+)"', html)]
    assert all(0 <= y <= HEIGHT for y in places), "nothing is drawn outside of the picture"
    assert not re.search(r'(?:height|width)="-|nan|inf', html.partition("<figcaption>")[0].rpartition("<figure>")[2])
    assert f"MSE {words.squared_error(4_000 * (1 - scores['scratch']))} ± 0" in page.text
    assert all(len(line) < 400 for line in summary_lines(compare(store, "costs"), {}))


def test_a_classification_shows_no_squared_error(html: str) -> None:
    assert "MSE" not in Reader(html).text


def test_summary_for_the_terminal_has_a_row_per_method_and_fits_a_screen(store: Store) -> None:
    lines = summary_lines(compare(store, "made_up"), {})
    tables = [line for line in lines if " ± " in line]
    assert Counter(line.split()[0] for line in tables)["magnitude"] == 2
    assert max(map(len, tables)) <= 100


def test_a_task_whose_scores_spread_far_has_a_second_panel_near_dense(store: Store, tmp_path: Path) -> None:
    both = compare(store, "made_up")
    few = ConstructedStudy(Store.open(str(tmp_path)), seeds=(0, 1))
    few.build({"digits": 0.98}, methods=("dense", "magnitude"))
    [task] = compare(few.store, "made_up").tasks
    dense = task.dense
    assert dense is not None
    poor = replace(task.configurations[0], validation=estimate([0.2, 0.3]), test=estimate([0.2, 0.3]))
    spread = replace(task, configurations=(*task.configurations, poor))

    def width(comparison: Comparison) -> int:
        return struct.unpack(">I", pareto_png(comparison)[16:20])[0]

    one = replace(both, tasks=(task,))
    assert width(replace(both, tasks=(spread,))) == 2 * width(one)
    assert width(replace(both, tasks=(spread, spread))) == 2 * width(one), "several tasks have a panel each"


def test_each_family_has_a_section_with_its_configurations_and_no_other(html: str) -> None:
    sections = {one.partition("</h3>")[0]: one for one in html.split('<section class="family"><h3>')[1:]}
    names = list(dict.fromkeys(sections))
    assert names == ["Family: sparse and dense pruning", "Family: references"]
    assert "row-cifar10-hypersparse-" in sections[names[0]]
    assert "row-cifar10-magnitude-" not in sections[names[0]].partition("</table>")[0]
    assert "row-cifar10-dense-" in sections[names[1]]
