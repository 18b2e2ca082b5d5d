"""How smoothly weights vary from channel to channel, and the order of channels that makes them vary least.

A generator reads the index of a channel as a coordinate, so neighbours should be alike: before training, the channels
of the trained network are put in the order of a shortest path through them. Source: Yang and Wang, "Neural
Metamorphosis", ECCV 2024, arXiv 2410.11878, and its public code, whose solver cut distances to integers unscaled and
kept one arbitrary jump of a round trip; here distances are scaled first and the path is open (ours).

Shapes: C = channels, D = values of a channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ortools.constraint_solver import pywrapcp, routing_enums_pb2
from torch import Tensor

_LARGEST_DISTANCE = 60_000
"""Of the scaled distances, which the solver wants as integers."""
_SOLUTIONS = 300
"""After which the search ends: by number, not by time, so that equal channels get an equal order everywhere."""


def total_variation(tensor: Tensor) -> Tensor:
    """The sum of absolute differences between neighbours along the first two axes, or the only one, a scalar.

    Raises:
        ValueError: The tensor has no axis.
    """
    if tensor.dim() == 0:
        raise ValueError("total_variation: a scalar has no neighbours; give a tensor of one axis or more")
    along_first = tensor.diff(dim=0).abs().sum()
    return along_first if tensor.dim() == 1 else along_first + tensor.diff(dim=1).abs().sum()


def network_total_variation(tensors: Sequence[Tensor]) -> Tensor:
    """The mean of `total_variation` over the tensors of a network, a scalar.

    Raises:
        ValueError: There are no tensors.
    """
    if not tensors:
        raise ValueError("network_total_variation: no tensors; give at least one")
    return torch.stack([total_variation(tensor) for tensor in tensors]).mean()


def shortest_path_order(vectors: Tensor) -> list[int]:
    """The order of channels in which the sum of L1 distances between neighbours is small.

    A local search for the shortest open path through all of them: not proven the shortest, never longer than the order
    given, and the same at every call.

    Args:
        vectors: Everything that hangs on each channel, (C, D).

    Raises:
        ValueError: No channels, or values that are not finite.
    """
    if vectors.dim() != 2 or len(vectors) == 0 or not bool(vectors.isfinite().all()):
        raise ValueError(
            f"shortest_path_order: vectors {tuple(vectors.shape)}; give one row of finite values for each channel"
        )
    values_CD = vectors.detach().double().cpu()
    distances_CC = torch.cdist(values_CD, values_CD, p=1)
    given = list(range(len(vectors)))
    largest = float(distances_CC.max())
    if len(given) < 3 or largest == 0:
        return given
    found = _open_path((distances_CC / largest * _LARGEST_DISTANCE).round().long())
    # A path read backwards is as short; the end with the lower index comes first.
    found = found if found[0] < found[-1] else found[::-1]
    return min(given, found, key=lambda order: _length(distances_CC, order))


def _open_path(distances_CC: Tensor) -> list[int]:
    """A round trip from a place that is at no distance from any channel, which is where the path is open."""
    count = len(distances_CC)
    table = torch.zeros(count + 1, count + 1, dtype=torch.int64)
    table[1:, 1:] = distances_CC
    manager = pywrapcp.RoutingIndexManager(count + 1, 1, 0)
    routing = pywrapcp.RoutingModel(manager)
    routing.SetArcCostEvaluatorOfAllVehicles(routing.RegisterTransitMatrix(table.tolist()))
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.PATH_CHEAPEST_ARC
    parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    parameters.solution_limit = _SOLUTIONS
    solution = routing.SolveWithParameters(parameters)
    order = []
    index = solution.Value(routing.NextVar(routing.Start(0)))
    while not routing.IsEnd(index):
        order.append(manager.IndexToNode(index) - 1)
        index = solution.Value(routing.NextVar(index))
    return order


def _length(distances_CC: Tensor, order: Sequence[int]) -> float:
    return float(distances_CC[list(order[:-1]), list(order[1:])].sum())
