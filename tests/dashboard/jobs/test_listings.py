"""The lists and their states."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.jobs.listings import (
    LISTINGS,
    STATUS_NAMES,
    parts_of,
    sortable,
)
from flask_forge_jobs.handlers.filters import STATUS_WORDS


def test_every_state_has_a_name() -> None:
    assert set(STATUS_NAMES) == set(STATUS_WORDS)


@pytest.mark.parametrize(
    ("statuses", "parts"),
    [
        ((), tuple(STATUS_NAMES)),
        (("pending",), ("pending", "scheduled")),
        (("scheduled",), ("scheduled",)),
        (("dead", "failed"), ("failed", "dead")),
    ],
)
def test_a_filter_covers_tabs(
    statuses: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    assert parts_of(statuses) == parts


def test_every_list_can_be_sorted_as_it_is() -> None:
    for listing in LISTINGS:
        assert listing.sort.removeprefix("-") in sortable(listing.statuses)
