"""Translates driver errors to ours and retries after transient faults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
        surfaced: What the caller gets if every retry fails.
        is_away: Whether the server does not answer or takes no writes.
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
    """Call ``work`` with the number of the try, from 0, until it succeeds.

    Raises:
        StorageError: The error of the last :class:`TransientError`, or of an earlier
            one whose outcome is still unknown.
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
            # Debug only: while a server is away every call of every thread logs this.
            logger.debug("storage fault, retrying in %s s: %s", delay_s, fault)
            wait(delay_s)
        except (StorageUnavailableError, StorageBusyError) as error:
            if unknown is None:
                raise
            raise unknown from error
    raise AssertionError("the last try returns or raises")


@dataclass(eq=False)
class Faults(ABC):
    """Translates driver errors in ``with`` blocks, also nested or in several threads.

    Args:
        is_retried: Whether the caller retries after a :class:`TransientError`.
    """

    is_retried: bool = field(kw_only=True)

    def __enter__(self) -> None:  # noqa: B027  # not meant to be overridden
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        fault = self._meaning(error)
        if isinstance(fault, TransientError) and not self.is_retried:
            fault = fault.surfaced
        if fault is not None and fault is not error:
            # One of our errors already has its cause.
            cause = error.__cause__ if isinstance(error, StorageError) else error
            raise fault from cause

    @abstractmethod
    def _meaning(self, error: BaseException) -> Exception | None:
        """Return the error to raise instead, or None to leave it alone."""
