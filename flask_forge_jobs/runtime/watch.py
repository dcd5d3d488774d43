"""Watch: detects that a thread hangs or only fails."""

from __future__ import annotations

from types import TracebackType

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError


class Watch:
    """Watches the turns of a thread, each of which runs inside this context.

    A thread is stuck when one turn takes, or all turns fail for, ``longest_s`` seconds.
    Failures of the storage do not count: a new process could not reach it either.
    """

    def __init__(self, clock: Clock, longest_s: float) -> None:
        self._clock = clock
        self._longest_s = longest_s
        self._began_at: float | None = None
        self._succeeded_at = clock.monotonic()
        self._is_broken = False

    def __enter__(self) -> None:
        self._began_at = self._clock.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._began_at = None
        if isinstance(error, StorageError):
            self.note_success()
        elif error is not None:
            self._is_broken = True

    def note_success(self) -> None:
        """Record that the thread has done its work."""
        self._succeeded_at = self._clock.monotonic()
        self._is_broken = False

    @property
    def is_stuck(self) -> bool:
        """Whether the thread hangs or only fails."""
        now, began_at = self._clock.monotonic(), self._began_at
        if began_at is not None and now - began_at >= self._longest_s:
            return True
        return self._is_broken and now - self._succeeded_at >= self._longest_s
