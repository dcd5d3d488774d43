"""Limits that all processes share: token buckets, and how many jobs run at once.

The clock of a token bucket is the database's, and taking tokens is one statement, so
however many processes take at once, no token is spent twice.

A concurrency limit has no counter. It counts the running jobs of its key that it
admitted in this very run, so whatever ends a run makes room, and the jobs of a process
that dies count until they are rescued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import DAY_US, SECOND_US
from flask_forge_jobs.model.rate_limits import (
    CAPACITY_RANGE,
    Acquired,
    RateLimit,
    RateLimitDefinition,
    check_rate_limit,
    check_scope,
)
from flask_forge_jobs.storage.database import Executor, Row, Transaction
from flask_forge_jobs.storage.rows import rate_limit_from_row

MAX_PAUSE_S = DAY_US / SECOND_US
# Who comes back a hair too early waits a second time.
TURN_S = 0.001


class RateLimits:
    """Takes tokens, and lists and changes the buckets they come from.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Executor) -> None:
        self._database = database

    def acquire(self, scope: str, tokens: int = 1) -> Acquired:
        """Take tokens from a bucket, all or none.

        A bucket that gives none is left as it is.

        Args:
            scope: The bucket.
            tokens: How many, 1 to the bucket's capacity.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The bucket can never hold so many.
        """
        if self._take(scope, tokens, may_pass=True):
            return Acquired(is_granted=True)
        bucket = self._able_to_hold(scope, tokens)
        return Acquired(is_granted=False, retry_after_s=bucket.wait_s(tokens))

    def take_turn(
        self, scope: str, tokens: int = 1, *, has_waited: bool = False
    ) -> Acquired:
        """Take tokens from a bucket, or a place in the line of those who wait for some.

        Who is refused is told when its turn will be, later for each that comes, so that
        not all of them come back for the one token that is next. While others wait, who
        comes anew waits behind them.

        Args:
            scope: The bucket.
            tokens: How many, 1 to the bucket's capacity.
            has_waited: The caller was refused before, and has waited.

        Returns:
            What was taken, or when to come back; in a day at most.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The bucket can never hold so many.
        """
        if self._take(scope, tokens, may_pass=has_waited):
            return Acquired(is_granted=True)
        rows = self._database.execute("line_up", scope=scope, tokens=tokens)
        if not rows:
            self._able_to_hold(scope, tokens)  # or it has changed just now
        wait_us = max(int(rows[0][0]) if rows else 0, 0)
        return Acquired(is_granted=False, retry_after_s=wait_us / SECOND_US + TURN_S)

    def _take(self, scope: str, tokens: int, *, may_pass: bool) -> bool:
        check_integer("tokens", tokens, *CAPACITY_RANGE)
        rows = self._database.execute(
            "acquire_tokens", scope=scope, tokens=tokens, may_pass=may_pass
        )
        return bool(rows)

    def _able_to_hold(self, scope: str, tokens: int) -> RateLimit:
        bucket = self.get(scope)
        if tokens > bucket.capacity:
            raise InvalidInputError(
                "tokens",
                f"{tokens} exceed the capacity of {scope!r}, {bucket.capacity}",
            )
        return bucket

    def get(self, scope: str) -> RateLimit:
        """Return one bucket.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
        """
        rows = self._database.read(lambda tx: tx.all("get_rate_limit", scope=scope))
        return _only(scope, rows)

    def all(self) -> list[RateLimit]:
        """Return every bucket, by scope."""
        rows = self._database.read(
            lambda transaction: transaction.all("all_rate_limits")
        )
        return [rate_limit_from_row(row) for row in rows]

    def put(self, scope: str, capacity: int, refill_per_sec: float) -> RateLimit:
        """Make a bucket, full, or change one; what it holds is cut to its capacity.

        Args:
            scope: 1 to 128 characters, none of ``, / ? # %`` or a control character.
            capacity: Most tokens it holds, 1 to 1,000,000,000.
            refill_per_sec: Tokens it gains each second, more than 0.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
        check_scope(scope)
        check_rate_limit(capacity, refill_per_sec)
        rows = self._database.execute(
            "put_rate_limit",
            scope=scope,
            capacity=capacity,
            refill_per_sec=float(refill_per_sec),
            declared_as=None,
        )
        return _only(scope, rows)

    def declare(self, definition: RateLimitDefinition) -> bool:
        """Make a bucket as code says; what has changed in the code changes the bucket.

        What an operator has changed stays until the code says something else.

        Args:
            definition: The bucket.

        Returns:
            Whether anything was changed.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
        definition.check()
        rows = self._database.execute(
            "put_rate_limit",
            scope=definition.scope,
            capacity=definition.capacity,
            refill_per_sec=float(definition.refill_per_sec),
            declared_as=f"{definition.capacity} {float(definition.refill_per_sec)!r}",
        )
        return bool(rows)

    def drain(self, scope: str, pause_s: float = 0.0) -> RateLimit:
        """Empty a bucket, as after a real refusal of whatever it protects.

        Args:
            scope: The bucket.
            pause_s: Seconds before it begins to refill, 0 to a day.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The pause is outside its bounds.
        """
        if not 0 <= pause_s <= MAX_PAUSE_S:
            raise InvalidInputError(
                "pause_s", f"{pause_s!r} is not within 0 to {MAX_PAUSE_S:.0f}"
            )
        rows = self._database.execute(
            "drain_rate_limit", scope=scope, pause_us=int(pause_s * SECOND_US)
        )
        return _only(scope, rows)

    def delete(self, scope: str) -> None:
        """Remove a bucket.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
        """
        if not self._database.execute("delete_rate_limit", scope=scope):
            raise RateLimitNotFoundError(scope)


def _only(scope: str, rows: list[Row]) -> RateLimit:
    if not rows:
        raise RateLimitNotFoundError(scope)
    return rate_limit_from_row(rows[0])


class ConcurrencyLimits:
    """Admits running jobs while fewer of their key run than may.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Executor) -> None:
        self._database = database

    def acquire(
        self, job: ClaimedJob, worker_id: str, key: str, max_concurrent: int
    ) -> bool:
        """Admit the run of a job; one statement.

        Args:
            job: The claimed job.
            worker_id: The worker that claimed it.
            key: Its concurrency key.
            max_concurrent: How many jobs of the key may run at once.

        Returns:
            False when as many run already, or the job is no longer the worker's.
        """
        rows = self._database.execute(
            "acquire_concurrency",
            job_id=job.id,
            worker_id=worker_id,
            run=job.claim,
            concurrency_key=key,
            max_concurrent=max_concurrent,
        )
        return bool(rows and rows[0][0])


def release_waiters(transaction: Transaction, freed: Iterable[str]) -> None:
    """Make jobs due that waited for the runs that ended in this transaction.

    Args:
        transaction: The open transaction in which the runs ended.
        freed: Concurrency keys of the runs, one for each.
    """
    for key, count in sorted(Counter(freed).items()):
        for (queue_name,) in transaction.all(
            "release_waiters", concurrency_key=key, freed=count
        ):
            transaction.wake(queue_name)
