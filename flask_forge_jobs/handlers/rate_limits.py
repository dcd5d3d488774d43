"""Token buckets: read, change, drain, delete."""

from __future__ import annotations

from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.model.limits import RateLimit, check_scope
from flask_forge_jobs.storage.base import Storage

MAX_LISTED = 1000


def list_all(storage: Storage) -> tuple[list[RateLimit], int]:
    """Return the first 1,000 buckets, by scope, and the number of all."""
    buckets = storage.rate_limits.all(MAX_LISTED)
    is_whole = len(buckets) < MAX_LISTED
    return buckets, len(buckets) if is_whole else storage.rate_limits.count()


def get(storage: Storage, scope: str) -> RateLimit:
    """Return one bucket with its current tokens."""
    _require_possible(scope)
    return storage.rate_limits.get(scope)


def put(
    storage: Storage, scope: str, *, capacity: int, refill_per_sec: float
) -> RateLimit:
    """Create a full bucket or change one; its tokens are cut to the new capacity.

    ``scope`` follows the rules of queue names. ``capacity`` is 1 to 1,000,000,000
    tokens; ``refill_per_sec`` is more than 0.
    """
    return storage.rate_limits.put(scope, capacity, refill_per_sec)


def drain(storage: Storage, scope: str) -> RateLimit:
    """Empty a bucket; it refills from now on, or after the pause that is running."""
    _require_possible(scope)
    return storage.rate_limits.drain(scope)


def delete(storage: Storage, scope: str) -> None:
    """Delete a bucket."""
    _require_possible(scope)
    storage.rate_limits.delete(scope)


def _require_possible(scope: str) -> None:
    # An invalid name is a bucket that does not exist.
    try:
        check_scope(scope)
    except InvalidInputError as error:
        raise RateLimitNotFoundError(scope) from error
