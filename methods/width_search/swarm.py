"""Particle swarm optimisation in the unit cube (Kennedy and Eberhart, 1995; constriction of Clerc, 2002).

Written out, because it is twenty lines and has to go on from a checkpoint bit for bit without pickle, which the
maintained libraries (pymoo, nevergrad) offer no way to do.

Shapes: P = particles, D = dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

INERTIA = 0.7298
"""Clerc and Kennedy's constriction for two attractors of strength 2.05."""
PULL = 1.49618


@dataclass
class Swarm:
    """Where the particles are and what they have seen; higher scores are better."""

    position: Tensor
    """(P, D) in [0, 1]."""
    velocity: Tensor
    """(P, D)."""
    own_best: Tensor
    """(P, D), the best place of each particle so far."""
    best_score: Tensor
    """(P,), its score there."""

    @classmethod
    def scattered(cls, particles: int, dimensions: int, *, generator: torch.Generator) -> Swarm:
        """At random places, at rest; the first in the middle of the diagonal, where all dimensions are alike."""
        position_PD = torch.rand(particles, dimensions, generator=generator, dtype=torch.float64)
        position_PD[0] = 0.5
        worst_P = torch.full((particles,), -math.inf, dtype=torch.float64)
        return cls(position_PD, torch.zeros_like(position_PD), position_PD.clone(), worst_P)

    def learn(self, score_P: Tensor) -> None:
        """Take in the scores of the present positions."""
        better_P = score_P > self.best_score
        self.own_best = torch.where(better_P[:, None], self.position, self.own_best)
        self.best_score = torch.where(better_P, score_P, self.best_score)

    def move(self, generator: torch.Generator) -> None:
        """One step towards each particle's own best place and the best of all; particles stop at the walls."""
        own_PD, all_PD = (torch.rand(self.position.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        towards_own_PD = self.own_best - self.position
        towards_all_PD = self.best - self.position
        self.velocity = INERTIA * self.velocity + PULL * (own_PD * towards_own_PD + all_PD * towards_all_PD)
        moved_PD = self.position + self.velocity
        self.velocity = torch.where((moved_PD < 0) | (moved_PD > 1), 0.0, self.velocity)
        self.position = moved_PD.clamp(0, 1)

    @property
    def best(self) -> Tensor:
        """(D,) the best place seen by any particle, the first of equals."""
        return self.own_best[int((self.best_score == self.best_score.max()).nonzero()[0])]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "position": self.position.clone(),
            "velocity": self.velocity.clone(),
            "best": self.own_best.clone(),
            "best_score": self.best_score.clone(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Swarm:
        """The inverse of `state`."""
        return cls(state["position"], state["velocity"], state["best"], state["best_score"])
