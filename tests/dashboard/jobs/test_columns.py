"""The columns of each list: chosen, sorted by, and left out where constant."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.jobs.columns import choices, columns
from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD_JOBS,
    JOBS,
    RETRIES,
    SCHEDULED_JOBS,
    Listing,
)
from tests.dashboard.jobs.test_query import read


@pytest.mark.parametrize(
    ("listing", "text", "names"),
    [
        (JOBS, "", "status kind queue tries when error enqueued"),
        (JOBS, "status=in_progress", "kind queue tries running enqueued"),
        (JOBS, "status=pending", "kind queue tries next enqueued"),
        (JOBS, "status=done", "kind queue tries enqueued finished"),
        (
            JOBS,
            "status=failed&status=dead&queue=mail",
            "status kind tries next error enqueued",
        ),
        (
            JOBS,
            "queue=mail&queue=bulk",
            "status kind queue tries when error enqueued",
        ),
        (JOBS, "error=out", "status kind queue tries when error enqueued"),
        (
            JOBS,
            "col=priority&col=finished",
            "status kind queue tries priority when error enqueued finished",
        ),
        (SCHEDULED_JOBS, "", "kind queue tries next enqueued"),
        (RETRIES, "", "kind queue tries next error enqueued"),
        (DEAD_JOBS, "", "kind queue tries error enqueued finished"),
    ],
)
def test_a_list_has_its_columns(listing: Listing, text: str, names: str) -> None:
    query = read(text, listing)

    assert " ".join(column.name for column in columns(query)) == names


def test_one_kind_leaves_only_the_id() -> None:
    titles = [column.title for column in columns(read("kind=send"))]

    assert "Id" in titles
    assert "Kind and id" not in titles


def test_a_head_sorts_and_turns_the_order_round() -> None:
    shown = {
        column.name: (column.direction, column.address)
        for column in columns(read("status=failed&sort=scheduled_at"))
    }

    assert shown["next"] == ("ascending", "jobs?status=failed&sort=-scheduled_at")
    assert shown["tries"] == (None, "jobs?status=failed&sort=-attempts")
    assert shown["enqueued"] == (None, "jobs?status=failed")
    assert shown["error"] == (None, None)


def test_further_columns_are_links_that_keep_the_page() -> None:
    shown = [
        (each.title, each.is_shown, each.address)
        for each in choices(read("col=priority&after=5.id", DEAD_JOBS))
    ]

    assert shown == [
        ("Starts", False, "dead?col=priority&col=next&after=5.id"),
        ("Priority", True, "dead?after=5.id"),
    ]
