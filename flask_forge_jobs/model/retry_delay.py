"""The back-off of a queue: how long jobs wait after a failure, and it after a throttle.

The curve is ``min(base * 2 ** n, maximum)`` with ``n`` from 0 to 30. It is the
reference's, and counts once an operator has enabled it. What differs from the
reference, and why, stands in ``docs/explanation/decisions.rst`` under *Retries and
throttling*.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.model.queues import QueueSettings

# After the loss of its worker process a job has waited for a lease already.
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
    """Return the seconds until a failed job's next attempt.

    Args:
        attempts: Attempts made so far, at least 1 after the first failure.
        queue: Settings of the job's queue.
        jitter: Returns a number in [0, 1); adds up to 10 % to the curve so that jobs
            which failed together do not come back together. ``None`` adds nothing.
        otherwise_s: The delay while the back-off of the queue is not enabled.
    """
    if not queue.backoff_enabled:
        return otherwise_s
    delay = _curve(attempts, queue)
    if jitter is not None:
        delay *= 1 + JITTER * jitter()
    return delay


def throttle_delay_s(queue: QueueSettings, retry_after_s: float) -> float:
    """Return the seconds a queue cools down after a throttle.

    Args:
        queue: Settings of the queue; its ``throttle_attempts`` is the exponent.
        retry_after_s: What the remote side asked for, in seconds; 0 when unknown.

    Returns:
        The longer of the curve and the hint, at most 24 hours.
    """
    flat = FLAT_THROTTLE_DELAY_S
    curve = _curve(queue.throttle_attempts, queue) if queue.backoff_enabled else flat
    return min(max(curve, retry_after_s), MAX_THROTTLE_DELAY_S)
