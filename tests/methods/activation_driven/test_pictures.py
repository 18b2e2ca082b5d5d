"""Figures of a run: which sites are drawn, and how units lie in a map."""

from __future__ import annotations

import torch

from methods.activation_driven.pictures import MOST_MAPS, activation_maps, overlap_map, threshold_chart
from methods.networks.sites import Site


def test_units_lie_by_the_class_that_fires_them_most_the_surest_first() -> None:
    rates = torch.tensor([[0.2, 0.9, 0.1, 0.4], [0.3, 0.1, 0.8, 0.5]], dtype=torch.float64)
    (found,) = activation_maps([rates], [Site("Hidden1_relu", 4, ())], class_names=("cat", "dog"))
    assert found.name == "rates_hidden1_relu"
    assert found.columns == ("cat", "dog", "dog", "dog")
    assert found.values == ((0.9, 0.1, 0.4, 0.2), (0.1, 0.8, 0.5, 0.3))


def test_a_very_deep_network_shows_its_first_and_last_site_and_others_between() -> None:
    sites = [Site(f"site{number}", 1, ()) for number in range(3 * MOST_MAPS)]
    rates = [torch.ones(2, 1, dtype=torch.float64)] * len(sites)
    names = [one.name for one in activation_maps(rates, sites, class_names=("cat", "dog"))]
    assert len(names) == len(set(names)) == MOST_MAPS
    assert (names[0], names[-1]) == ("rates_site0", f"rates_site{3 * MOST_MAPS - 1}")


def test_the_overlap_has_the_sizes_on_its_diagonal_and_the_thresholds_ascend() -> None:
    overlap = overlap_map(torch.tensor([[0.25, 0.125], [0.125, 0.5]]), class_names=("cat", "dog"))
    assert overlap.values == ((0.25, 0.125), (0.125, 0.5))
    assert "diagonal: module size" in overlap.title
    chart = threshold_chart({0.9: (0.1, 0.4), 0.5: (0.2, 0.6)})
    assert chart.lines[0].x == (0.5, 0.9)
    assert [line.y for line in chart.lines] == [(0.2, 0.1), (0.6, 0.4)]
