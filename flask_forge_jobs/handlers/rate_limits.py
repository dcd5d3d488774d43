"""Token buckets: list, change, drain, remove."""

from __future__ import annotations

from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.model.rate_limits import RateLimit, check_scope
from flask_forge_jobs.storage.base import Storage


def list_all(storage: Storage) -> list[RateLimit]:
    """Return every bucket, by scope, with the tokens it has now."""
    return storage.rate_limits.all()


def get(storage: Storage, scope: str) -> RateLimit:
    """Return one bucket with the tokens it has now.

    Raises:
        RateLimitNotFoundError: No bucket has this scope.
    """
    _require_possible(scope)
    return storage.rate_limits.get(scope)


def put(
    storage: Storage, scope: str, *, capacity: int, refill_per_sec: float
) -> RateLimit:
    """Make a bucket, full, or change one; what it holds is cut to its capacity.

    Args:
        storage: Where it is.
        scope: 1 to 128 characters, none of ``, / ? # %`` or a control character.
        capacity: Most tokens it holds, 1 to 1,000,000,000.
        refill_per_sec: Tokens it gains each second, more than 0.

    Raises:
        InvalidInputError: A value is out of bounds.
    """
    return storage.rate_limits.put(scope, capacity, refill_per_sec)


def drain(storage: Storage, scope: str) -> RateLimit:
    """Empty a bucket; it refills from now on.

    Raises:
        RateLimitNotFoundError: No bucket has this scope.
    """
    _require_possible(scope)
    return storage.rate_limits.drain(scope)


def delete(storage: Storage, scope: str) -> None:
    """Remove a bucket.

    Raises:
        RateLimitNotFoundError: No bucket has this scope.
    """
    _require_possible(scope)
    storage.rate_limits.delete(scope)


def _require_possible(scope: str) -> None:
    # As for queues: no driver is asked for what it cannot hold.
    try:
        check_scope(scope)
    except InvalidInputError as error:
        raise RateLimitNotFoundError(scope) from error
