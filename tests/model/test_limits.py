from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.limits import (
    MAX_KEY_LENGTH,
    MIN_REFILL_PER_SEC,
    ConcurrencyLimit,
    RateLimit,
    check_rate_limit,
    check_scope,
    concurrency_wait_s,
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


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ('{"account_id":7}', "send account_id=7"),
        ('{"account_id":"7"}', 'send account_id="7"'),
        ('{"account_id":{"b":1,"a":[]}}', 'send account_id={"b":1,"a":[]}'),
        ('{"other":1}', "send account_id=null"),
        ("[1]", "send account_id=null"),
    ],
)
def test_each_value_of_the_key_has_permits_of_its_own(payload: str, name: str) -> None:
    assert ConcurrencyLimit(2, "account_id").key_of("send", payload) == name


def test_without_a_key_all_jobs_of_a_kind_share_the_permits() -> None:
    assert ConcurrencyLimit(2).key_of("send", "not even read") == "send"


def test_a_default_is_a_value_like_any_other() -> None:
    plan = ConcurrencyLimit(2, "account_id", default="7")

    assert plan.key_of("send", "{}") == plan.key_of("send", '{"account_id":7}')


def test_long_values_differ_in_a_short_name() -> None:
    plan = ConcurrencyLimit(1, "text")
    names = {
        plan.key_of("send", f'{{"text":"{"x" * 5000}{end}"}}')
        for end in ("a", "b", "a")
    }

    assert len(names) == 2
    assert {len(name) for name in names} == {MAX_KEY_LENGTH}


def test_a_damaged_payload_is_an_error() -> None:
    with pytest.raises(InvalidInputError):
        ConcurrencyLimit(1, "text").key_of("send", "{")


@pytest.mark.parametrize("most", [0, 1025, True, 1.5, "2", None])
def test_a_number_outside_its_bounds_is_refused(most: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ConcurrencyLimit(most).check()

    assert caught.value.field == "max_concurrent"


def test_the_wait_doubles_up_to_a_minute() -> None:
    waits = [concurrency_wait_s(attempts) for attempts in (0, 1, 2, 7, 8, 1000)]

    assert waits == [0.25, 0.5, 1.0, 32.0, 60.0, 60.0]
