"""What every contract test may ask for, on whichever backend it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sql import Sql


@pytest.fixture(autouse=True)
def _counts_equal_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did, the counts must equal the rows in the end (I8)."""
    beside: Sql | None = None
    if "storage" in request.fixturenames:
        beside = request.getfixturevalue("sql")
    yield
    if beside is not None:
        with beside.kept_open():
            beside.assert_counts_equal_rows()
            beside.assert_nobody_waits_in_vain()
