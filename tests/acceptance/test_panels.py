"""The short form: many open pages cost the database what one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.panels import compare
from tests.support.backends import BACKENDS
from tests.support.databases import fresh_url


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_open_pages_cost_what_one_costs(backend: str, tmp_path: Path) -> None:
    with fresh_url(backend) as url:
        text, holds = compare(url, tmp_path, 20, 4)

    assert holds, text
