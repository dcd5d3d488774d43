"""Watch: tells that a thread hangs, or does nothing but fail."""

from __future__ import annotations

from types import TracebackType

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError


class Watch:
    """Watches a thread that does the same thing over and over, each time within it.

    A storage that fails does not count: it may come back, and a fresh process would be
    no better off.

    Args:
        clock: Tells how long a turn takes.
        longest_s: Seconds that one turn may take, or that all turns may fail.
    """

    def __init__(self, clock: Clock, longest_s: float) -> None:
        self._clock = clock
        self._longest_s = longest_s
        self._began_at: float | None = None
        self._succeeded_at = clock.monotonic()
        self._is_broken = False

    def __enter__(self) -> None:
        """Begin a turn; one that has nothing to do need not succeed."""
        self._began_at = self._clock.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End a turn."""
        self._began_at = None
        if isinstance(error, StorageError):
            self.note_success()
        elif error is not None:
            self._is_broken = True

    def note_success(self) -> None:
        """Note that the thread has done what it is for."""
        self._succeeded_at = self._clock.monotonic()
        self._is_broken = False

    @property
    def is_stuck(self) -> bool:
        """Whether one turn, or the time since the last that succeeded, is too long."""
        now, began_at = self._clock.monotonic(), self._began_at
        if began_at is not None and now - began_at >= self._longest_s:
            return True
        return self._is_broken and now - self._succeeded_at >= self._longest_s
