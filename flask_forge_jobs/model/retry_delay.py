"""A queue's back-off: waits of jobs after a failure, of the queue after a throttle.

The curve is ``min(base * 2 ** n, maximum)`` with ``n`` from 0 to 30, as in the
reference, once an operator has enabled it. ``docs/explanation/decisions.rst`` lists the
differences from the reference under *Retries and throttling*.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.model.queues import QueueSettings

# A job that lost its worker has already waited for a lease.
REVIVED_DELAY_S = 1.0
FLAT_THROTTLE_DELAY_S = 60.0
MAX_THROTTLE_DELAY_S = 86_400.0
MAX_EXPONENT = 30
JITTER = 0.1


def _curve(exponent: int, queue: QueueSettings) -> float:
    n = min(max(exponent, 0), MAX_EXPONENT)
    base = max(queue.backoff_base_seconds, 1)
    maximum = max(queue.backoff_max_seconds, 1)
    return float(min(base * 2**n, maximum))


def failure_delay_s(
    attempts: int,
    queue: QueueSettings,
    jitter: Callable[[], float] | None = None,
    *,
    otherwise_s: float = REVIVED_DELAY_S,
) -> float:
    """Return the seconds until the next attempt of a job that has made ``attempts``.

    ``jitter`` returns a number in [0, 1) and adds up to 10 % to the curve, so that jobs
    do not return together. Without a queue's back-off, it is ``otherwise_s``.
    """
    if not queue.backoff_enabled:
        return otherwise_s
    delay = _curve(attempts, queue)
    if jitter is not None:
        delay *= 1 + JITTER * jitter()
    return delay


def throttle_delay_s(queue: QueueSettings, retry_after_s: float) -> float:
    """Return the seconds that a queue cools down after a throttle, at most 24 hours.

    This is the curve, or the remote side's hint if that is longer.
    """
    flat = FLAT_THROTTLE_DELAY_S
    curve = _curve(queue.throttle_attempts, queue) if queue.backoff_enabled else flat
    return min(max(curve, retry_after_s), MAX_THROTTLE_DELAY_S)
