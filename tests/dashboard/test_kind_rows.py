"""The table of kinds: order, shares, and one axis for all rows."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.kind_rows import (
    DEFAULT_SORT,
    PER_PAGE,
    checked_sort,
    kind_rows,
)
from flask_forge_jobs.handlers.series import KindRow
from flask_forge_jobs.model.proportions import Failures


def totals(kind: str, completed: int, run_ms: int, dead: int = 0) -> KindRow:
    """Return the totals of a kind whose runs all take as long."""
    return KindRow(
        kind, completed, dead, 0, dead, completed * run_ms, run_ms, 2 * run_ms,
        4 * run_ms, completed + 2 * dead, None, None,
    )  # fmt: skip


FOUND = [
    totals("pack", 10, 100),
    totals("send", 1000, 10, dead=50),
    totals("idle", 0, 0),
]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("-total", ["send", "pack", "idle"]),
        ("name", ["idle", "pack", "send"]),
        ("-p95", ["pack", "send", "idle"]),
        ("runs", ["idle", "pack", "send"]),
        ("-failed", ["send", "idle", "pack"]),
    ],
)
def test_rows_are_in_the_order_that_is_asked_for(sort: str, names: list[str]) -> None:
    assert [row.totals.kind for row in kind_rows(FOUND, sort).rows] == names


def test_an_unknown_order_is_the_default() -> None:
    assert checked_sort("-p99") == "-p99"
    assert {checked_sort(None), checked_sort("x"), checked_sort("")} == {DEFAULT_SORT}


def test_a_row_has_shares_and_means() -> None:
    send, pack, idle = kind_rows(FOUND, DEFAULT_SORT).rows

    assert (send.failures, send.fails_often) == (Failures(100, 1100), True)
    assert (pack.mean_ms, pack.failures.share, pack.fails_often) == (100, 0, False)
    assert (idle.failures.runs, idle.mean_ms, idle.times) == (0, 0, None)


def test_only_kinds_that_fail_more_than_the_others_stand_out() -> None:
    even = [totals(f"k{number}", 97, 1, dead=3) for number in range(3)]
    kinds = [*even, totals("odd", 94, 1, dead=6)]

    often = [
        row.totals.kind for row in kind_rows(kinds, "name").rows if row.fails_often
    ]

    assert often == ["odd"]


def test_rows_share_an_axis() -> None:
    shown = kind_rows(FOUND, DEFAULT_SORT)

    assert [words for _, words in shown.labels] == ["10ms", "100ms", "1s"]
    send, pack, _ = shown.rows
    assert send.times is not None
    assert pack.times is not None
    assert (send.times.p50, pack.times.p50) == ("4%", "50%")


def test_the_first_rows_are_shown_and_all_counted() -> None:
    found = [totals(f"kind-{number:03}", 1, 1) for number in range(3 * PER_PAGE)]

    assert len(kind_rows(found, "name").rows) == PER_PAGE
    assert kind_rows(found, "name").page.total == 3 * PER_PAGE
    pages = [kind_rows(found, "name", number) for number in (1, 2, 3, 9)]
    assert [page.page.first for page in pages] == [
        0,
        PER_PAGE,
        2 * PER_PAGE,
        2 * PER_PAGE,
    ]
    assert [page.page.previous for page in pages] == [None, 1, 2, 2]
    assert [page.page.following for page in pages] == [2, 3, None, None]
    assert len({row.totals.kind for page in pages for row in page.rows}) == 3 * PER_PAGE
