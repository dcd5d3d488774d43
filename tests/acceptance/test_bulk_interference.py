"""The short form of the measurement: others enqueue while many jobs are acted on."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.acceptance.bulk_interference import (
    LIMIT_MS,
    MS,
    Figure,
    Subject,
    measure,
    percentile,
    table,
)

ROWS = 6_000
# The machine may be busy with other tests.
PATIENCE = 4


@pytest.mark.long
def test_others_enqueue_while_many_jobs_are_acted_on(database_url: str) -> None:
    with closing(Subject(database_url, ROWS)) as subject:
        figures = measure(subject, idle_s=0.2)

    for figure in figures:
        assert figure.enqueued > 0, table("waits", figures)
        assert figure.p50_ms < LIMIT_MS, table("waits", figures)
        if figure.rows:
            # Who is kept out waits for the end of it all.
            assert figure.max_ms < figure.took_s * MS / 2, table("waits", figures)
            assert figure.p99_ms < PATIENCE * LIMIT_MS, table("waits", figures)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_a_sample(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_table_tells_what_is_missed() -> None:
    def figure(name: str, p99_ms: float, *, is_limited: bool = True) -> Figure:
        return Figure(name, 9, 1.0, 1.0, p99_ms, 80.0, 5, is_limited)

    lines = table(
        "sqlite",
        [
            figure("idle", 60.0, is_limited=False),
            figure("retry", 49.9),
            figure("delete", 50.0),
        ],
    ).splitlines()

    assert [line.split()[-1] for line in lines[2:]] == ["met", "met", "MISSED"]
