"""The short form of the measurement: every read is answered while jobs run."""

from __future__ import annotations

import pytest

from tests.acceptance.operating import run
from tests.support.backends import BACKENDS
from tests.support.databases import fresh_url

ROWS, REPEATS = 2_000, 2


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_operators_read_everything_while_jobs_run(backend: str) -> None:
    # The limits of time are those of a machine without other work.
    with fresh_url(backend) as url:
        text, _ = run(url, ROWS, REPEATS, only="/v1/")

    assert "/v1/attention" in text
