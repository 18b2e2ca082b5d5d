"""What all tests share: one thread each, and in CI no test of a service or in a browser may be skipped."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Workers and tests share two cores, and one thread gives the same sums everywhere."""
    import torch

    torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    del call
    report = yield
    needed = [name for name in ("service", "browser") if item.get_closest_marker(name)]
    if report.skipped and needed and os.environ.get("PAREDOWN_REQUIRE_SERVICES"):
        report.outcome = "failed"
        report.longrepr = f"{needed[-1]} test skipped where services are required: {report.longrepr}"
    return report
