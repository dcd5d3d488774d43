"""The short form of the measurement: every page is asked for while jobs run."""

from __future__ import annotations

import pytest

from tests.acceptance.page_times import USUAL, run
from tests.dashboard.browser.sites import every_page
from tests.support.backends import BACKENDS

ROWS, REPEATS = 2_000, 2


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_page_is_measured(backend: str) -> None:
    # The limits of time are those of a machine without other work.
    text, _ = run(backend, ROWS, REPEATS)

    assert all(path[:33] in text for path in (*every_page(), *USUAL))
    assert "first page, in the browser" in text
