"""The second axis on the page, in its picture and in the terminal: there when it should be, and complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.comparison import compare
from orchestrator.report import summary_lines, write_report
from orchestrator.report.picture import HEIGHT, WIDTH
from orchestrator.report.series import series_of
from orchestrator.report.subtask_words import shown_sizes
from orchestrator.report.subtasks import subtask_charts
from orchestrator.report.tradeoff import module_row_id
from orchestrator.report.words import signed
from orchestrator.store import Store
from orchestrator.stored_subtasks import compare_subtasks
from orchestrator.subtask_comparison import SubtaskComparison
from tests.orchestrator.constructed_study import SWEEP, ConstructedStudy
from tests.orchestrator.report.test_page import Reader


def built(folder: Path, *, seeds: tuple[int, ...] = (0, 1, 2), sweep: object = SWEEP) -> Store:
    store = Store.open(str(folder))
    study = ConstructedStudy(store, seeds=seeds)
    study.sweep = sweep  # type: ignore[assignment]
    study.build({"digits": 0.981})
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return built(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def html(store: Store) -> str:
    return write_report(store, "made_up").read_text()


def on_digits(store: Store) -> SubtaskComparison:
    return compare_subtasks(store, "made_up", compare(store, "made_up"))["digits"]


def test_every_modular_configuration_is_drawn_and_tabled(html: str, store: Store) -> None:
    page = Reader(html)
    assert page.text.count("Sub-tasks: k of 10 classes") == 1
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    for one in on_digits(store).modular:
        row = module_row_id("digits", one)
        assert row in page.ids
        assert f"#{row}" in page.links, "the point in the picture leads to its row"
    assert page.tags["script"] == 0


def test_the_table_holds_accuracy_size_and_difference_of_the_chosen_configuration(html: str, store: Store) -> None:
    found = on_digits(store)
    [chosen] = found.chosen
    row = html[html.index(f'id="{module_row_id("digits", chosen)}"') :].partition("</tr>")[0]
    accuracy = chosen.composed.accuracy("test")
    assert all(f"{accuracy[k].mean:.3f} ± " in row for k in (2, 3, 5, 10))
    assert chosen.against_dense is not None
    assert f"<small>{signed(chosen.against_dense.mean)}</small>" in row
    assert "drawn in the charts above" in row
    assert f"{100 * chosen.module_size.mean:.3g} %" in row
    assert chosen.kernels_kept is not None
    assert f">{100 * chosen.kernels_kept.mean:.1f} %<" in row


def test_the_opening_answers_what_modules_are_worth(html: str) -> None:
    opening = Reader(html.partition("<main")[0] + "</body></html>").text
    assert re.search(r"class modules of activation_driven #\d have [\d.]+ % .*difference .0\.\d{3} \[", opening)


def test_nothing_is_drawn_outside_of_the_picture(html: str) -> None:
    figure = html[html.index("<h3>Sub-tasks") :].partition("</figure>")[0]
    places = re.findall(r'\b(x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)"', figure)
    assert len(places) > 40
    assert all(0 <= float(value) <= (WIDTH if name[-1:] in "x12" and "x" in name else HEIGHT) for name, value in places)
    assert "nan" not in figure


def test_configurations_that_differ_in_the_choice_of_units_alone_share_a_line(store: Store) -> None:
    first, second = series_of(on_digits(store).modular)
    assert (first.label, second.label) == ("activation_driven, gamma 0.03", "activation_driven, gamma 0.3")
    assert first.names == second.names == ("0.95", "0.9", "0.8", "0.7")
    assert (first.joined, first.named_by) == (True, "threshold")


def test_configurations_that_were_trained_differently_are_not_joined(tmp_path: Path) -> None:
    [series] = series_of(on_digits(built(tmp_path, sweep=((0.3, 0.9), (0.1, 0.8), (0.05, 0.7)))).modular)
    assert not series.joined
    assert series.label == "activation_driven"
    assert sorted(series.names) == ["#0", "#1", "#2"]


def test_charts_by_number_of_classes_hold_the_chosen_dense_and_others(store: Store) -> None:
    found = on_digits(store)
    accuracy, size = subtask_charts(found)
    labels = [line.label for line in accuracy.lines]
    assert labels == [line.label for line in size.lines]
    assert [re.split("[ ,]", label)[0] for label in labels] == [
        *("activation_driven", "activation_driven", "dense"),
        *("hypersparse", "magnitude", "scratch"),
    ]
    assert accuracy.lines[0].x == tuple(range(2, 11))
    assert accuracy.lines[0].y == tuple(one.mean for one in found.chosen[0].composed.accuracy("test").values())
    assert set(size.lines[2].y) == {1.0}


def test_studies_without_class_modules_show_nothing_of_sub_tasks(tmp_path: Path) -> None:
    store = built(tmp_path, sweep=())
    html = write_report(store, "made_up").read_text()
    assert "ub-task" not in html
    assert store.study("made_up").read_file("modules.png") is None
    comparison = compare(store, "made_up")
    lines = summary_lines(comparison, compare_subtasks(store, "made_up", comparison))
    assert not any("ub-task" in line for line in lines)


def test_a_store_of_an_earlier_version_still_has_its_report(tmp_path: Path) -> None:
    store = built(tmp_path / "new", sweep=())
    page = write_report(store, "made_up").read_text()
    (tmp_path / "new" / "studies" / "made_up" / "subtasks.parquet").unlink()
    assert write_report(store, "made_up").read_text() == page


def test_one_seed_is_shown_without_intervals(tmp_path: Path) -> None:
    store = built(tmp_path, seeds=(0,))
    section = write_report(store, "made_up").read_text().partition("<h3>Sub-tasks")[2].partition("<section")[0]
    assert "one seed: no intervals" in section
    assert 'class="bar"' not in section
    assert " ± " not in section.partition("<tbody>")[2]


def test_a_picture_of_the_trade_off_is_written_beside_the_page(html: str, store: Store, tmp_path: Path) -> None:
    del html
    data = store.study("made_up").read_file("modules.png")
    assert data is not None
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000
    write_report(store, "made_up", output=tmp_path / "page.html")
    assert (tmp_path / "modules.png").read_bytes() == data


def test_the_terminal_has_a_row_for_each_network_and_fits_a_screen(store: Store) -> None:
    comparison = compare(store, "made_up")
    lines = summary_lines(comparison, compare_subtasks(store, "made_up", comparison))
    start = next(i for i, line in enumerate(lines) if line.startswith("  Sub-tasks of 10 classes: test accuracy"))
    rows = lines[start + 1 : start + 7]
    assert [row.split()[0] for row in rows] == [
        *("network", "dense", "hypersparse", "magnitude", "scratch"),
        "activation_driven",
    ]
    assert max(map(len, rows)) <= 130
    [chosen] = on_digits(store).chosen
    assert f"{chosen.composed.accuracy('test')[2].mean:.3f} (" in rows[-1]


def test_tables_show_a_few_small_numbers_of_classes_and_all(store: Store) -> None:
    assert shown_sizes(on_digits(store)) == (2, 3, 5, 10)
    minus = "\N{MINUS SIGN}"
    assert [signed(value) for value in (-0.0001, -0.0123, 0.5)] == ["+0.000", f"{minus}0.012", "+0.500"]
