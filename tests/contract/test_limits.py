"""Token buckets: what is granted is never more than the budget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.model.limits import RateLimitDefinition
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.limits import RateLimits
from tests.support.sql import SECOND_US, Sql
from tests.support.threads import run_together

# One token in about a day: nothing refills while a test runs.
SLOWLY = 0.00001
# One token in a hundred seconds: what a test itself takes is less than one.
PER_100_S = 0.01
UNKNOWN: list[Callable[[RateLimits], object]] = [
    lambda limits: limits.acquire("unknown"),
    lambda limits: limits.take_turn("unknown"),
    lambda limits: limits.get("unknown"),
    lambda limits: limits.drain("unknown"),
    lambda limits: limits.delete("unknown"),
]


def test_a_new_bucket_is_full(storage: Storage) -> None:
    made = storage.rate_limits.put("api", 3, 0.5)

    assert (made.scope, made.capacity, made.refill_per_sec) == ("api", 3, 0.5)
    assert made.tokens == 3.0
    assert storage.rate_limits.get("api").tokens == 3.0


def test_acquire_grants_until_capacity_then_throttles(storage: Storage) -> None:
    """acquire_grants_until_capacity_then_throttles

    Also acquire_returns_granted_then_throttled_with_sane_retry_after.
    """
    storage.rate_limits.put("api", 3, SLOWLY)

    granted = [storage.rate_limits.acquire("api") for _ in range(3)]
    refused = storage.rate_limits.acquire("api")

    assert all(each.is_granted and each.retry_after_s == 0 for each in granted)
    assert not refused.is_granted
    assert refused.retry_after_s == pytest.approx(1 / SLOWLY, rel=0.01)


def test_many_tokens_are_taken_all_or_none(storage: Storage) -> None:
    storage.rate_limits.put("api", 5, SLOWLY)

    assert storage.rate_limits.acquire("api", 3).is_granted
    assert not storage.rate_limits.acquire("api", 3).is_granted
    assert storage.rate_limits.acquire("api", 2).is_granted
    assert storage.rate_limits.get("api").tokens == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("tokens", [0, -1, 6, True])
def test_more_than_a_bucket_can_hold_is_an_error(storage: Storage, tokens: int) -> None:
    storage.rate_limits.put("api", 5, SLOWLY)

    with pytest.raises(InvalidInputError) as caught:
        storage.rate_limits.acquire("api", tokens)

    assert caught.value.field == "tokens"
    assert storage.rate_limits.get("api").tokens == 5.0


def test_all_that_a_bucket_holds_is_waited_for(storage: Storage) -> None:
    storage.rate_limits.put("api", 5, PER_100_S)
    assert storage.rate_limits.acquire("api", 5).is_granted

    refused = storage.rate_limits.acquire("api", 5)

    assert not refused.is_granted
    assert refused.retry_after_s == pytest.approx(500, abs=90)


@pytest.mark.parametrize("verb", UNKNOWN)
def test_an_unknown_scope_is_an_error(
    storage: Storage, verb: Callable[[RateLimits], object]
) -> None:
    """unknown_scope_throttles_safely: here it does not throttle for ever"""
    with pytest.raises(RateLimitNotFoundError) as caught:
        verb(storage.rate_limits)

    assert caught.value.scope == "unknown"


def test_refill_replenishes_tokens_over_elapsed_time(
    storage: Storage, sql: Sql
) -> None:
    """refill_replenishes_tokens_over_elapsed_time"""
    storage.rate_limits.put("api", 100, PER_100_S)
    storage.rate_limits.acquire("api", 100)
    sql.age(1000)

    assert storage.rate_limits.get("api").tokens == pytest.approx(10, abs=1)
    assert storage.rate_limits.acquire("api", 9).is_granted
    assert not storage.rate_limits.acquire("api", 9).is_granted
    sql.age(10_000)
    assert storage.rate_limits.get("api").tokens == 100.0


def test_a_clock_that_steps_back_refills_nothing_twice(
    storage: Storage, sql: Sql
) -> None:
    storage.rate_limits.put("api", 100, PER_100_S)
    storage.rate_limits.acquire("api", 100)
    sql.age(-5000)  # what was stored lies ahead now

    assert not storage.rate_limits.acquire("api").is_granted
    sql.age(4000)
    assert not storage.rate_limits.acquire("api").is_granted
    assert storage.rate_limits.get("api").tokens == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    "write",
    [
        lambda limits: limits.acquire("api", 1),
        lambda limits: limits.put("api", 100, PER_100_S),
    ],
    ids=["acquire", "put"],
)
def test_a_bucket_that_is_written_while_the_clock_is_back_refills_nothing_twice(
    storage: Storage, sql: Sql, write: Callable[[RateLimits], object]
) -> None:
    storage.rate_limits.put("api", 100, PER_100_S)
    assert storage.rate_limits.acquire("api", 60).is_granted

    sql.age(-3000)  # what was stored lies ahead now
    write(storage.rate_limits)
    assert storage.rate_limits.get("api").tokens == pytest.approx(40, abs=2)
    sql.age(3000)  # and it is as late as it was
    assert storage.rate_limits.get("api").tokens == pytest.approx(40, abs=2)


def test_drain_empties_the_bucket_and_may_pause_it(storage: Storage, sql: Sql) -> None:
    """drain_force_empties_the_bucket"""
    storage.rate_limits.put("api", 10, PER_100_S)

    assert storage.rate_limits.drain("api").tokens == 0.0
    sql.age(500)
    assert storage.rate_limits.get("api").tokens == pytest.approx(5, abs=1)
    storage.rate_limits.drain("api", pause_s=6000)
    sql.age(5000)
    refused = storage.rate_limits.acquire("api")
    assert not refused.is_granted
    assert refused.retry_after_s == pytest.approx(1100, abs=90)
    sql.age(1500)
    assert storage.rate_limits.acquire("api", 4).is_granted


def test_another_drain_shortens_no_pause(storage: Storage) -> None:
    """The next 429 may come without the hint of the first"""
    storage.rate_limits.put("api", 10, 1.0)
    storage.rate_limits.drain("api", pause_s=3600)

    for pause_s in (0, 60):
        storage.rate_limits.drain("api", pause_s)
        refused = storage.rate_limits.acquire("api")
        assert refused.retry_after_s == pytest.approx(3601, abs=20)

    storage.rate_limits.drain("api", pause_s=7200)
    assert storage.rate_limits.acquire("api").retry_after_s > 7000

    storage.rate_limits.delete("api")
    storage.rate_limits.put("api", 10, 1.0)
    assert storage.rate_limits.acquire("api").is_granted


@pytest.mark.parametrize("pause_s", [-1, 86_401, float("nan"), float("inf")])
def test_drain_refuses_a_pause_outside_its_bounds(
    storage: Storage, pause_s: float
) -> None:
    storage.rate_limits.put("api", 10, 1.0)

    with pytest.raises(InvalidInputError):
        storage.rate_limits.drain("api", pause_s)

    assert storage.rate_limits.get("api").tokens == 10.0


def test_a_change_cuts_to_the_new_capacity_and_gives_nothing(storage: Storage) -> None:
    storage.rate_limits.put("api", 10, SLOWLY)
    storage.rate_limits.acquire("api", 2)

    assert storage.rate_limits.put("api", 20, SLOWLY).tokens == pytest.approx(8, 0.01)
    assert storage.rate_limits.put("api", 5, 3.0).tokens == 5.0
    assert storage.rate_limits.get("api").refill_per_sec == 3.0


def test_what_overflowed_is_not_gained_by_a_larger_capacity(
    storage: Storage, sql: Sql
) -> None:
    storage.rate_limits.put("api", 10, 1.0)
    sql.age(1000)

    assert storage.rate_limits.put("api", 100, SLOWLY).tokens == 10.0


def test_a_change_counts_what_was_gained_at_the_old_rate(
    storage: Storage, sql: Sql
) -> None:
    storage.rate_limits.put("api", 100, PER_100_S)
    storage.rate_limits.drain("api")
    sql.age(1000)

    changed = storage.rate_limits.put("api", 100, 1000.0)

    assert changed.tokens == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("scope", "capacity", "refill"), [("", 1, 1), ("a", 0, 1), ("a", 1, 0)]
)
def test_put_refuses_what_is_outside_its_bounds(
    storage: Storage, scope: str, capacity: int, refill: float
) -> None:
    with pytest.raises(InvalidInputError):
        storage.rate_limits.put(scope, capacity, refill)

    assert storage.rate_limits.all() == []


def test_buckets_are_listed_by_scope_and_deleted(storage: Storage) -> None:
    for scope in ("b", "a-2", "B"):
        storage.rate_limits.put(scope, 1, 1)

    assert [each.scope for each in storage.rate_limits.all()] == ["B", "a-2", "b"]
    storage.rate_limits.delete("b")
    assert [each.scope for each in storage.rate_limits.all()] == ["B", "a-2"]


def test_concurrent_acquires_never_double_spend(storage: Storage) -> None:
    """concurrent_acquires_never_double_spend"""
    storage.rate_limits.put("api", 10, SLOWLY)

    results = run_together([partial(storage.rate_limits.acquire, "api")] * 50)

    assert sum(result.is_granted for result in results) == 10
    assert storage.rate_limits.get("api").tokens == pytest.approx(0, abs=0.01)


def test_threads_that_ask_all_the_time_get_no_more_than_the_budget(
    storage: Storage, sql: Sql
) -> None:
    """Many takers of several tokens, while the bucket refills and is changed."""
    rate, capacity = 200.0, 40
    storage.rate_limits.put("api", capacity, rate)
    began_us = sql.now_us()

    def take(tokens: int) -> int:
        return sum(
            tokens
            for _ in range(40)
            if storage.rate_limits.acquire("api", tokens).is_granted
        )

    def change() -> int:
        for _ in range(20):
            storage.rate_limits.put("api", capacity, rate)
        return 0

    granted = sum(
        run_together([partial(take, n) for n in (1, 2, 3, 1, 2, 3)] + [change])
    )

    elapsed_s = (sql.now_us() - began_us) / 1_000_000 + 0.002
    assert capacity <= granted <= capacity + rate * elapsed_s


def test_a_deleted_queue_takes_its_unused_bucket_along(
    storage: Storage, sql: Sql
) -> None:
    """N-04"""
    for name in ("full", "refilled", "used"):
        storage.queues.ensure(name)
        storage.rate_limits.put(name, 10, PER_100_S)
    storage.rate_limits.put("other", 10, PER_100_S)
    storage.rate_limits.acquire("refilled", 10)
    sql.age(1001)
    storage.rate_limits.acquire("used", 10)

    for name in ("full", "used"):
        storage.queues.delete(name)
    storage.queues.delete_with_jobs("refilled")

    assert [each.scope for each in storage.rate_limits.all()] == ["other", "used"]


# -- the line --------------------------------------------------------------------------


def test_a_turn_is_taken_at_once_while_there_are_tokens(storage: Storage) -> None:
    storage.rate_limits.put("api", 2, SLOWLY)

    assert [storage.rate_limits.take_turn("api").is_granted for _ in range(2)] == [
        True,
        True,
    ]
    assert storage.rate_limits.get("api").tokens == pytest.approx(0, abs=0.01)


def test_each_that_is_refused_has_a_turn_of_its_own(storage: Storage) -> None:
    """So that not all of them come back for the one token that is next."""
    storage.rate_limits.put("api", 3, PER_100_S)
    storage.rate_limits.take_turn("api", 3)

    waits = [
        storage.rate_limits.take_turn("api", tokens).retry_after_s
        for tokens in (1, 1, 3, 1)
    ]

    assert waits == pytest.approx([100, 200, 500, 600], abs=60)


def test_who_has_waited_finds_its_token(storage: Storage, sql: Sql) -> None:
    storage.rate_limits.put("api", 10, PER_100_S)
    storage.rate_limits.take_turn("api", 10)
    waits = [storage.rate_limits.take_turn("api").retry_after_s for _ in range(3)]
    sql.age(waits[0])

    assert not storage.rate_limits.take_turn("api").is_granted  # behind the others
    assert storage.rate_limits.take_turn("api", has_waited=True).is_granted
    sql.age(waits[2] - waits[0])
    assert storage.rate_limits.take_turn("api", has_waited=True).is_granted
    assert storage.rate_limits.take_turn("api", has_waited=True).is_granted


def test_the_line_is_over_when_its_last_turn_has_come(
    storage: Storage, sql: Sql
) -> None:
    storage.rate_limits.put("api", 10, PER_100_S)
    storage.rate_limits.take_turn("api", 10)
    storage.rate_limits.take_turn("api", 5)
    sql.age(501)

    assert storage.rate_limits.take_turn("api", 5).is_granted


def test_a_full_bucket_loses_nothing_although_others_wait(
    storage: Storage, sql: Sql
) -> None:
    """As when those who wait come late, behind many that come anew."""
    storage.rate_limits.put("api", 10, PER_100_S)
    storage.rate_limits.take_turn("api", 10)
    for _ in range(100):
        storage.rate_limits.take_turn("api")
    # Full for a moment only, however long the calls took: after a second the line ends.
    emptied_us = sql.value("SELECT last_refilled_at FROM forge_rate_limit")
    sql.age(1000.01 + (emptied_us - sql.now_us()) / SECOND_US)

    assert storage.rate_limits.take_turn("api").is_granted
    behind = storage.rate_limits.take_turn("api")
    assert not behind.is_granted
    assert behind.retry_after_s == pytest.approx(9100, abs=90)
    sql.age(100)
    assert storage.rate_limits.take_turn("api").is_granted


def test_a_line_that_nobody_stands_in_holds_nobody_up(
    storage: Storage, sql: Sql
) -> None:
    """As when the jobs that waited were deleted."""
    storage.rate_limits.put("api", 10, PER_100_S)
    storage.rate_limits.take_turn("api", 10)
    for _ in range(100):
        storage.rate_limits.take_turn("api")
    sql.age(1002)  # full for more than a second

    assert storage.rate_limits.take_turn("api").is_granted
    assert storage.rate_limits.take_turn("api", 9).is_granted
    again = storage.rate_limits.take_turn("api")
    assert not again.is_granted
    assert again.retry_after_s == pytest.approx(100, abs=60)


def test_who_is_told_to_come_back_waits_out_the_pause_of_a_drain(
    storage: Storage,
) -> None:
    storage.rate_limits.put("api", 10, PER_100_S)
    storage.rate_limits.drain("api", pause_s=6000)

    waits = [storage.rate_limits.take_turn("api").retry_after_s for _ in range(2)]

    assert waits == pytest.approx([6100, 6200], abs=90)


def test_nobody_is_told_to_wait_longer_than_a_day(storage: Storage) -> None:
    storage.rate_limits.put("api", 1_000_000_000, 1 / 31_536_000)
    storage.rate_limits.drain("api")

    refused = [storage.rate_limits.take_turn("api", 10**9) for _ in range(2)]

    assert [each.retry_after_s for each in refused] == pytest.approx(
        [86_400] * 2, abs=1
    )


@pytest.mark.parametrize("tokens", [0, -1, 6, True])
def test_a_turn_for_more_than_a_bucket_can_hold_is_an_error(
    storage: Storage, tokens: int
) -> None:
    storage.rate_limits.put("api", 5, SLOWLY)

    with pytest.raises(InvalidInputError) as caught:
        storage.rate_limits.take_turn("api", tokens)

    assert caught.value.field == "tokens"


def test_turns_that_are_taken_together_never_double_spend(storage: Storage) -> None:
    storage.rate_limits.put("api", 10, SLOWLY)

    results = run_together([partial(storage.rate_limits.take_turn, "api")] * 50)

    assert sum(result.is_granted for result in results) == 10
    turns = {round(each.retry_after_s) for each in results if not each.is_granted}
    assert turns == {86_400}


# -- declared by code ------------------------------------------------------------------


def test_ensure_default_is_idempotent_and_preserves_existing_state(
    storage: Storage,
) -> None:
    """ensure_default_is_idempotent_and_preserves_existing_state"""
    definition = RateLimitDefinition("slack", 50, SLOWLY)

    assert storage.rate_limits.declare(definition)
    storage.rate_limits.acquire("slack", 20)

    assert not storage.rate_limits.declare(definition)
    assert storage.rate_limits.get("slack").tokens == pytest.approx(30, abs=0.01)


def test_what_an_operator_changed_stays_until_the_code_changes(
    storage: Storage,
) -> None:
    storage.rate_limits.declare(RateLimitDefinition("slack", 50, SLOWLY))
    storage.rate_limits.put("slack", 20, SLOWLY)

    assert not storage.rate_limits.declare(RateLimitDefinition("slack", 50, SLOWLY))
    assert storage.rate_limits.get("slack").capacity == 20
    assert storage.rate_limits.declare(RateLimitDefinition("slack", 60, SLOWLY))
    changed = storage.rate_limits.get("slack")
    assert changed.capacity == 60
    assert changed.tokens == pytest.approx(20, abs=0.01)


def test_a_bucket_that_was_deleted_is_made_again(storage: Storage) -> None:
    definition = RateLimitDefinition("slack", 50, 1)
    storage.rate_limits.declare(definition)
    storage.rate_limits.delete("slack")

    assert storage.rate_limits.declare(definition)
    assert storage.rate_limits.get("slack").tokens == 50.0


def test_declare_refuses_what_is_outside_its_bounds(storage: Storage) -> None:
    with pytest.raises(InvalidInputError):
        storage.rate_limits.declare(RateLimitDefinition("slack", 50, 0))

    assert storage.rate_limits.all() == []
