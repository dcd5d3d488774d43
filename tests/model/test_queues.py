from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.queues import (
    MAX_THROTTLE_DELAY_S,
    QueueCounts,
    QueueSettings,
    check_backoff,
    check_max_workers,
    check_retention_days,
    failure_delay_s,
    throttle_delay_s,
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


def settings(
    *, enabled: bool = True, base: int = 60, maximum: int = 1800, throttles: int = 0
) -> QueueSettings:
    return QueueSettings(
        "mail",
        backoff_enabled=enabled,
        backoff_base_seconds=base,
        backoff_max_seconds=maximum,
        throttle_attempts=throttles,
    )


def test_throttle_disabled_returns_flat_fallback() -> None:
    assert throttle_delay_s(settings(enabled=False, throttles=7), 0) == 60


def test_throttle_enabled_grows_exponentially() -> None:
    delays = [throttle_delay_s(settings(throttles=n), 0) for n in (0, 1, 2, 5)]

    assert delays == [60, 120, 240, 1800]


def test_throttle_enabled_caps_at_max() -> None:
    assert throttle_delay_s(settings(throttles=10_000), 0) == 1800


@pytest.mark.parametrize(
    ("hint_s", "delay_s"), [(0, 60), (59, 60), (3600, 3600), (10**9, 86_400)]
)
def test_throttle_takes_the_longer_of_curve_and_hint(
    hint_s: float, delay_s: float
) -> None:
    """At most a day."""
    assert throttle_delay_s(settings(), hint_s) == delay_s
    assert throttle_delay_s(settings(enabled=False), hint_s) == delay_s


def test_failed_disabled_returns_one_second_or_what_the_task_says() -> None:
    """The reference's ``failed_disabled_returns_zero``, but a second."""
    off = settings(enabled=False)

    assert failure_delay_s(4, off) == 1
    assert failure_delay_s(4, off, lambda: 0.5, otherwise_s=960) == 960
    assert failure_delay_s(4, settings(), otherwise_s=7) == 960


def test_failed_enabled_grows_exponentially() -> None:
    assert [failure_delay_s(n, settings()) for n in (0, 1, 2)] == [60, 120, 240]


def test_failed_enabled_caps_at_max() -> None:
    assert failure_delay_s(1000, settings()) == 1800


def test_failed_enabled_honours_custom_base_and_max() -> None:
    custom = settings(base=10, maximum=300)

    assert [failure_delay_s(n, custom) for n in (0, 3, 9)] == [10, 80, 300]


def test_failed_negative_attempts_clamp_to_zero() -> None:
    assert failure_delay_s(-5, settings()) == 60


def test_jitter_adds_up_to_a_tenth() -> None:
    assert failure_delay_s(0, settings(), lambda: 0.0) == 60
    assert failure_delay_s(0, settings(), lambda: 0.5) == pytest.approx(63)
    assert failure_delay_s(0, settings(enabled=False), lambda: 0.5) == 1


@given(
    n=st.integers(-(2**40), 2**40),
    base=st.integers(-5, 86_400),
    maximum=st.integers(-5, 86_400),
    hint_s=st.floats(0, 1e12),
)
def test_delays_stay_within_their_bounds(
    n: int, base: int, maximum: int, hint_s: float
) -> None:
    queue = settings(base=base, maximum=maximum, throttles=n)

    assert 1 <= failure_delay_s(n, queue) <= max(maximum, 1)
    assert 1 <= throttle_delay_s(queue, hint_s) <= MAX_THROTTLE_DELAY_S
