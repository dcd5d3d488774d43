"""What a task may do with the buckets that all processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.model.outcomes import Done, Failed, Snooze
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.tasks.context import TaskContext, current_job

MakeContext = Callable[..., TaskContext]


@pytest.fixture
def limits() -> Iterator[RateLimits]:
    storage = open_storage(DatabaseSettings())
    storage.rate_limits.put("slack", 2, 0.01)
    yield storage.rate_limits
    storage.close()


def test_a_task_takes_tokens_and_is_put_off_when_there_are_none(
    make_context: MakeContext, limits: RateLimits
) -> None:
    context = make_context(rate_limits=limits)

    context.rate_limit("slack", 2)
    with pytest.raises(Snooze) as caught:
        context.rate_limit("slack")

    assert caught.value.retry_after_s == pytest.approx(100, abs=60)


def test_a_job_that_was_put_off_passes_those_that_come_anew(
    make_context: MakeContext, limits: RateLimits
) -> None:
    limits.take_turn("slack", 2)
    limits.take_turn("slack")  # somebody waits
    limits.put("slack", 10**9, 1_000_000.0)  # and there are tokens at once

    with pytest.raises(Snooze):
        make_context(rate_limits=limits).rate_limit("slack")
    make_context(rate_limits=limits, throttle_attempts=1).rate_limit("slack")


def test_a_drain_empties_the_bucket_for_everybody(
    make_context: MakeContext, limits: RateLimits
) -> None:
    make_context(rate_limits=limits).drain_rate_limit("slack", 3000)

    with pytest.raises(Snooze) as caught:
        make_context(rate_limits=limits).rate_limit("slack")

    assert caught.value.retry_after_s == pytest.approx(3100, abs=60)


def test_a_wrong_scope_pause_or_number_is_an_error(
    make_context: MakeContext, limits: RateLimits
) -> None:
    context = make_context(rate_limits=limits)

    with pytest.raises(RateLimitNotFoundError):
        context.rate_limit("unknown")
    with pytest.raises(InvalidInputError, match="tokens"):
        context.rate_limit("slack", 3)
    with pytest.raises(InvalidInputError, match="pause_s"):
        context.drain_rate_limit("slack", -1)


def test_a_decorated_task_ends_put_off(
    make_context: MakeContext, limits: RateLimits
) -> None:
    forge = ForgeJobs()

    @forge.task
    def post(scope: str) -> None:
        current_job.rate_limit(scope, 2)

    context = make_context(rate_limits=limits)

    assert post.run(context, '{"scope":"slack"}') == Done()
    assert isinstance(post.run(context, '{"scope":"slack"}'), Snooze)
    assert post.run(context, '{"scope":"none"}') == Failed(
        "RateLimitNotFoundError: no rate limit has the scope 'none'; "
        "declare it with forge.rate_limit() and restart the worker"
    )
