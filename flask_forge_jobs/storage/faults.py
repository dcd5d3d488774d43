"""Faults of a database: raising ours for a driver's, and repeating what may succeed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
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


class Faults(ABC):
    """Raises ours for what a driver raises in a ``with`` block.

    One object serves any number of blocks, also nested and in several threads: every
    transaction enters one, and a generator would cost more than the look at an error.

    Args:
        is_retried: Whether the caller tries again after a :class:`TransientError`.
    """

    def __init__(self, *, is_retried: bool) -> None:
        self._is_retried = is_retried

    def __enter__(self) -> None:  # noqa: B027  # for all of them
        """Begin to watch; there is nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise what the error means, if it is the driver's."""
        if error is None:
            return
        fault = self._meaning(error)
        if isinstance(fault, TransientError) and not self._is_retried:
            fault = fault.surfaced
        if fault is not None and fault is not error:
            # One of ours brings its cause along and will be raised again.
            cause = error.__cause__ if isinstance(error, StorageError) else error
            raise fault from cause

    @abstractmethod
    def _meaning(self, error: BaseException) -> Exception | None:
        """Return what to raise instead, or None for what is none of ours."""
