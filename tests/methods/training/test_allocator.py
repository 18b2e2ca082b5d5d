"""Freed memory that is kept: seen from outside, by the pages that the system has to clear."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CODE = """
import resource, sys, torch
from methods.networks.build import build_network
from methods.training.allocator import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
network = build_network("resnet20", input_shape=(3, 32, 32), num_outputs=10, seed=0).train()
images = torch.randn(128, 3, 32, 32)

def step():
    network(images).square().mean().backward()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(4):
    step()
before = faults()
for _ in range(4):
    step()
print(faults() - before)
"""


def _faults(how: str) -> int:
    ended = subprocess.run([sys.executable, "-c", _CODE, how], capture_output=True, text=True)
    if ended.returncode == 3:
        pytest.skip("the C library here is not glibc")
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


def test_maps_that_every_step_asks_for_cost_few_new_pages() -> None:
    assert _faults("keep") < _faults("leave") / 2
