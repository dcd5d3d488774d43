from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.rate_limits import (
    MIN_REFILL_PER_SEC,
    RateLimit,
    check_rate_limit,
    check_scope,
)


def bucket(tokens: float = 0.0, elapsed_s: float = 0.0, rate: float = 2.0) -> RateLimit:
    """A bucket of ten that was read some seconds after its tokens were stored."""
    return RateLimit("api", 10, rate, tokens, 0, int(elapsed_s * SECOND_US))


def test_tokens_come_back_with_time_and_stop_at_the_capacity() -> None:
    assert bucket(1.5).tokens == 1.5
    assert bucket(1.5, 2).tokens == 5.5
    assert bucket(1.5, 999).tokens == 10.0
    assert bucket(99.0).tokens == 10.0


def test_a_clock_that_steps_back_gives_and_takes_nothing() -> None:
    assert bucket(3.0, -50).tokens == 3.0


def test_the_wait_is_what_is_missing_over_the_rate() -> None:
    """From the row, not from a table"""
    assert bucket(1.0).wait_s(1) == 0.0
    assert bucket(0.5).wait_s(1) == 0.25
    assert bucket(0.0, 1).wait_s(10) == 4.0


def test_the_wait_of_a_drained_bucket_begins_at_the_end_of_its_pause() -> None:
    assert bucket(0.0, -30).wait_s(1) == 30.5


@given(
    tokens=st.floats(0, 10),
    elapsed_s=st.floats(0, 1000),
    rate=st.floats(0.001, 1000),
    wanted=st.integers(1, 10),
)
def test_after_the_wait_there_are_enough(
    tokens: float, elapsed_s: float, rate: float, wanted: int
) -> None:
    now = bucket(tokens, elapsed_s, rate)

    later = bucket(tokens, elapsed_s + now.wait_s(wanted), rate)

    # An instant is whole microseconds.
    assert later.tokens >= wanted - rate / SECOND_US * 2 - 1e-9


@pytest.mark.parametrize(
    ("capacity", "refill", "field"),
    [
        (0, 1.0, "capacity"),
        (10**9 + 1, 1.0, "capacity"),
        (True, 1.0, "capacity"),
        (1.5, 1.0, "capacity"),
        (1, 0, "refill_per_sec"),
        (1, -1.0, "refill_per_sec"),
        (1, MIN_REFILL_PER_SEC / 2, "refill_per_sec"),
        (1, 1e9 + 1, "refill_per_sec"),
        (1, float("nan"), "refill_per_sec"),
        (1, float("inf"), "refill_per_sec"),
        (1, True, "refill_per_sec"),
        (1, "1", "refill_per_sec"),
    ],
)
def test_settings_outside_their_bounds_are_refused(
    capacity: object, refill: object, field: str
) -> None:
    """A bucket that can never give a token is a mistake"""
    with pytest.raises(InvalidInputError) as caught:
        check_rate_limit(capacity, refill)

    assert caught.value.field == field


def test_settings_at_their_bounds_are_taken() -> None:
    check_rate_limit(1, MIN_REFILL_PER_SEC)
    check_rate_limit(10**9, 10**9)


@pytest.mark.parametrize("scope", ["", " a", "a/b", "a,b", "\x00", "x" * 129, None])
def test_a_scope_is_named_like_a_queue(scope: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_scope(scope)

    assert caught.value.field == "scope"
