"""Watch: tells that a thread hangs, or does nothing but fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError


class Watch:
    """Watches a thread that does the same thing over and over.

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

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Do one turn in this context; who has nothing to do there need not succeed."""
        self._began_at = self._clock.monotonic()
        try:
            yield
        except StorageError:
            self.note_success()
            raise
        except BaseException:
            self._is_broken = True
            raise
        finally:
            self._began_at = None

    def note_success(self) -> None:
        """Take in that the thread has done what it is for."""
        self._succeeded_at = self._clock.monotonic()
        self._is_broken = False

    @property
    def is_stuck(self) -> bool:
        """Whether one turn, or the time since the last that succeeded, is too long."""
        now, began_at = self._clock.monotonic(), self._began_at
        if began_at is not None and now - began_at >= self._longest_s:
            return True
        return self._is_broken and now - self._succeeded_at >= self._longest_s
