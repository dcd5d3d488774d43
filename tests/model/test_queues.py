from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.queues import (
    QueueCounts,
    QueueSettings,
    check_backoff,
    check_max_workers,
    check_retention_days,
)


def test_settings_have_the_defaults_of_the_contract() -> None:
    queue = QueueSettings("mail")

    assert (queue.max_workers, queue.paused) == (64, False)
    assert (queue.retain_done_for_days, queue.retain_dead_for_days) == (7, 30)
    assert not queue.backoff_enabled
    assert (queue.backoff_base_seconds, queue.backoff_max_seconds) == (60, 1800)
    assert (queue.throttle_attempts, queue.throttled_until) == (0, None)


def test_counts_add_up() -> None:
    counts = QueueCounts(
        pending=1, scheduled=2, in_progress=4, done=8, failed=16, dead=32
    )

    assert counts.total == 63
    assert QueueCounts().total == 0


@pytest.mark.parametrize("value", [0, 64, 1024])
def test_max_workers_within_bounds(value: int) -> None:
    assert check_max_workers(value) == value


@pytest.mark.parametrize("value", [-1, 1025, True, 1.5, "3", None])
def test_max_workers_beyond_bounds(value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_max_workers(value)

    assert caught.value.field == "max_workers"


@pytest.mark.parametrize("value", [-1, 36_501, None])
def test_retention_beyond_bounds(value: Any) -> None:
    assert check_retention_days("done_days", 36_500) == 36_500
    with pytest.raises(InvalidInputError) as caught:
        check_retention_days("done_days", value)

    assert caught.value.field == "done_days"


@pytest.mark.parametrize(
    ("base", "maximum", "field"),
    [
        (0, 60, "base_seconds"),
        (86_401, 86_401, "base_seconds"),
        (60, 86_401, "max_seconds"),
        (60, 0, "max_seconds"),
        (60, 59, "max_seconds"),
        (True, 60, "base_seconds"),
    ],
)
def test_backoff_beyond_bounds(base: int, maximum: int, field: str) -> None:
    """The maximum is never below the base."""
    with pytest.raises(InvalidInputError) as caught:
        check_backoff(base, maximum)

    assert caught.value.field == field


@pytest.mark.parametrize(("base", "maximum"), [(1, 1), (60, 60), (86_400, 86_400)])
def test_backoff_within_bounds(base: int, maximum: int) -> None:
    check_backoff(base, maximum)
