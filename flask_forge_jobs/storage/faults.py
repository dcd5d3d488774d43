"""Raising our errors for a driver's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.retrying import TransientError


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
