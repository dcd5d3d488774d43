"""The short form of the driver that kills workers while batches run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.batch_kills import run
from tests.acceptance.driving import SHORT_SEED
from tests.support.databases import sqlite_url


@pytest.mark.long
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_each_batch_ends_once_whatever_dies(backend: str, tmp_path: Path) -> None:
    url = (
        sqlite_url(tmp_path / "queue.sqlite") if backend == "sqlite" else "postgresql:"
    )

    text, holds = run(url, tmp_path, rounds=2, jobs=500, seed=SHORT_SEED)

    assert holds, text
