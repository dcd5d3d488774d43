"""The examples of pages of the manual, run as they stand.

Code of other packages is marked ``py`` there, and is not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.pages import write_files
from tests.support.backends import long
from tests.support.pytest_runs import PytestRuns, pytest_runs

PAGES = [
    "batches.rst", "coming_from.rst", "limit.rst", "results.rst", "transactions.rst",
    "unique.rst",
    # Each takes more than a second of the processor.
    *map(long, (
        "async.rst", "bulk.rst", "isolation.rst", "monitor.rst", "schedule.rst",
        "side_by_side.rst", "signals.rst", "steps.rst", "troubleshoot.rst",
        "../reference/explanations.rst",
    )),
]  # fmt: skip


@pytest.fixture(scope="module")
def runs() -> Iterator[PytestRuns]:
    """Runs of pytest that find everything loaded."""
    with pytest_runs() as started:
        yield started


@pytest.mark.parametrize("page", PAGES)
def test_every_example_runs(page: str, tmp_path: Path, runs: PytestRuns) -> None:
    files = write_files(page, tmp_path)

    status, text = runs.run(tmp_path, "-W", "error")

    assert status == 0, text
    count = sum(text.count("def test_") for text in files.values())
    assert f" {count} passed" in text
