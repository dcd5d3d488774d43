"""Limits that all processes share: token buckets and concurrency limits.

Token buckets run on the database's clock, and one statement takes the tokens, so
concurrent processes never spend a token twice.

A concurrency limit has no counter. It counts the running jobs of its key that it
admitted in this very run, so whatever ends a run makes room, and the jobs of a dead
worker count until they are rescued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.evidence import NamedJob
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, optional_from_micros
from flask_forge_jobs.model.limits import (
    CAPACITY_RANGE,
    Acquired,
    RateLimit,
    RateLimitDefinition,
)
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.rows import first_row

MAX_PAUSE_S = DAY_US / SECOND_US
# A caller that returns a moment too early would wait twice.
TURN_S = 0.001


class RateLimits:
    """Takes tokens, and reads and changes the buckets."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def acquire(self, scope: str, tokens: int = 1) -> Acquired:
        """Take tokens from a bucket, all or none; a refusal changes nothing.

        Args:
            scope: The bucket.
            tokens: 1 to the bucket's capacity.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The bucket can never hold that many.
        """
        if self._take(scope, tokens, may_pass=True):
            return Acquired(is_granted=True)
        bucket = self._able_to_hold(scope, tokens)
        return Acquired(is_granted=False, retry_after_s=bucket.wait_s(tokens))

    def take_turn(
        self, scope: str, tokens: int = 1, *, has_waited: bool = False
    ) -> Acquired:
        """Take tokens from a bucket, or a place in the line of waiting callers.

        A refused caller learns when to retry: each one later than the one before it, so
        that they do not all return for the same token. New callers line up behind those
        that wait.

        Args:
            scope: The bucket.
            tokens: 1 to the bucket's capacity.
            has_waited: The caller was refused before and has waited.

        Returns:
            A grant, or when to retry; within a day.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The bucket can never hold that many.
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
        rows = self._database.read_all("get_rate_limit", scope=scope)
        return _only(scope, rows)

    def count(self) -> int:
        """Return how many buckets there are."""
        return int(self._database.read_one("count_rate_limits")[0][0])

    def all(self, limit: int = 2**31) -> list[RateLimit]:
        """Return the first buckets, by scope; by default every one."""
        rows = self._database.read_all("all_rate_limits", limit=limit)
        return [RateLimit(*row) for row in rows]

    def put(self, scope: str, capacity: int, refill_per_sec: float) -> RateLimit:
        """Create a full bucket, or change one; its tokens are cut to the capacity.

        Args:
            scope: 1 to 128 characters, none of ``, / ? # %`` or a control character.
            capacity: Most tokens it holds, 1 to 1,000,000,000.
            refill_per_sec: Tokens it gains each second, more than 0.

        Raises:
            InvalidInputError: A value is out of bounds.
        """
        definition = RateLimitDefinition(scope, capacity, refill_per_sec)
        definition.check()
        return _only(scope, self._put(definition, None))

    def declare(self, definition: RateLimitDefinition) -> bool:
        """Create a bucket as the code says, or change it if the code has changed.

        Otherwise, an operator's changes stay. Returns whether the bucket was
        created or changed.

        Raises:
            InvalidInputError: A value is out of bounds.
        """
        definition.check()
        declared = f"{definition.capacity} {float(definition.refill_per_sec)!r}"
        return bool(self._put(definition, declared))

    def _put(self, bucket: RateLimitDefinition, declared_as: str | None) -> list[Row]:
        return self._database.sole(
            "put_rate_limit",
            scope=bucket.scope,
            capacity=bucket.capacity,
            refill_per_sec=float(bucket.refill_per_sec),
            declared_as=declared_as,
        )

    def drain(self, scope: str, pause_s: float = 0.0) -> RateLimit:
        """Empty a bucket, as after a refusal by the service it protects.

        Args:
            scope: The bucket.
            pause_s: Seconds before it refills, 0 to a day; a longer pause stays.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The pause is out of bounds.
        """
        if not 0 <= pause_s <= MAX_PAUSE_S:
            raise InvalidInputError(
                "pause_s", f"{pause_s!r} is not within 0 to {MAX_PAUSE_S:.0f}"
            )
        rows = self._database.sole(
            "drain_rate_limit", scope=scope, pause_us=int(pause_s * SECOND_US)
        )
        return _only(scope, rows)

    def delete(self, scope: str) -> None:
        """Remove a bucket.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
        """
        if not self._database.sole("delete_rate_limit", scope=scope):
            raise RateLimitNotFoundError(scope)


def _only(scope: str, rows: list[Row]) -> RateLimit:
    return RateLimit(*first_row(rows, RateLimitNotFoundError, scope))


class ConcurrencyLimits:
    """Admits running jobs up to the limit of their concurrency key."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def acquire(
        self, job: ClaimedJob, worker_id: str, key: str, max_concurrent: int
    ) -> bool:
        """Admit the run of a claimed job, with one statement.

        Returns False when ``max_concurrent`` jobs of the key run already, or the worker
        no longer holds the job.
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

    def held(self, limit: int) -> list[tuple[str, NamedJob]]:
        """Return the keys of running jobs, each with its job, by key and start."""
        rows = self._database.read_one("concurrency_holders", limit=limit)
        return [
            (
                key,
                NamedJob(
                    job_id, queue_name, kind, optional_from_micros(since_us), worker_id
                ),
            )
            for key, job_id, queue_name, kind, worker_id, since_us in rows
        ]

    def waiting(self, limit: int) -> dict[str, int]:
        """Return how many jobs wait for each key, of ``limit`` jobs in all."""
        return dict(self._database.read_one("concurrency_waiters", limit=limit))


def release_waiters(transaction: Transaction, freed: Iterable[str]) -> None:
    """Make jobs due that waited for runs which ended in this transaction."""
    for key, count in sorted(Counter(freed).items()):
        for (queue_name,) in transaction.all(
            "release_waiters", concurrency_key=key, freed=count
        ):
            transaction.wake(queue_name)
