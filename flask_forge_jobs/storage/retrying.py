"""Repeating a unit of work after a transient fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.logs import get_logger

T = TypeVar("T")
logger = get_logger(__name__)

# The reference's schedule; 4 tries in all.
RETRY_DELAYS_S: Sequence[float] = (0.1, 0.3, 1.0)


class TransientError(Exception):
    """A fault after which the same unit of work may succeed.

    Args:
        surfaced: What the caller gets when every retry failed.
        is_away: The server did not answer, or is none that can do it.
    """

    def __init__(self, surfaced: StorageError, *, is_away: bool = False) -> None:
        super().__init__(str(surfaced))
        self.surfaced = surfaced
        self.is_away = is_away


def run_with_retries(
    work: Callable[[int], T],
    wait: Callable[[float], object],
    delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> T:
    """Run ``work`` until it succeeds or the delays are used up.

    Args:
        work: Called with the number of the try, from 0.
        wait: Waits for the given seconds.
        delays_s: Seconds before each further try.

    Raises:
        StorageError: The error that the last :class:`TransientError` carried; that of
            an earlier one whose outcome is unknown, since no later try has told it.
    """
    unknown: StorageOutcomeUnknownError | None = None
    for attempt, delay_s in enumerate((*delays_s, None)):
        try:
            return work(attempt)
        except TransientError as fault:
            if isinstance(fault.surfaced, StorageOutcomeUnknownError):
                unknown = fault.surfaced
            if delay_s is None:
                raise (unknown or fault.surfaced) from fault.__cause__
            # Every call of every thread comes by here while a server is away; what
            # comes of it in the end is told by whoever asked.
            logger.debug("storage fault, retrying in %s s: %s", delay_s, fault)
            wait(delay_s)
        except (StorageUnavailableError, StorageBusyError) as error:
            if unknown is None:
                raise
            raise unknown from error
    raise AssertionError("the last try returns or raises")
