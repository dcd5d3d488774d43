"""Whether commits come back at present, asked by a small one on a thread of its own.

A server that hangs, or whose commits wait for a lost standby, says nothing at all. So
callers wait for a moment only, and one trial at a time waits for the server.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.postgres.faults import NotTriedError

logger = get_logger(__name__)

# A result of this age still counts as the present one.
FRESH_S = 0.5
# Most trials take milliseconds, so close() need not leave a thread behind.
_CLOSE_LIMIT_S = 0.5


class Trial:
    """Tries a commit when asked to; one at a time, for all threads of a process.

    ``attempt`` returns whether the server takes writes, or raises a StorageError. It
    calls :meth:`note_session` once it has a session, and if it needs another one.
    """

    def __init__(self, attempt: Callable[[], bool]) -> None:
        self._attempt = attempt
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_running = False
        self._began_at = self._ended_at = -math.inf
        # When it had a session, on which it asks.
        self._asked_at: float | None = None
        self._result = True
        self._error: StorageError | None = None

    def takes_writes(
        self, since: float, wait_s: float, connect_s: float | None = None
    ) -> bool:
        """Return the result of a trial that began at ``since`` or later.

        Starts one unless there is one; waits for it until it is ``wait_s`` seconds old.
        With ``connect_s`` it may be as old before it has a session, and these seconds
        count from then.

        Raises:
            NotTriedError: It has had no answer for as long.
            StorageError: It failed.
        """
        with self._changed:
            while self._is_running or self._began_at < since:
                if not self._is_running and not self._start():
                    return True  # out of threads: each call finds out for itself
                left_s = self._ends_at(wait_s, connect_s) - time.monotonic()
                if left_s <= 0:
                    raise self._silence()
                self._changed.wait(left_s)
            if self._error is not None:
                raise self._error.with_traceback(None)
            return self._result

    def check(self, wait_s: float, connect_s: float | None = None) -> None:
        """Raise if a trial is older than these limits, or has just failed."""
        with self._changed:
            now = time.monotonic()
            if self._is_running:
                if now >= self._ends_at(wait_s, connect_s):
                    raise self._silence()
            elif self._error is not None and now - self._ended_at < FRESH_S:
                raise NotTriedError(str(self._error))

    def _ends_at(self, wait_s: float, connect_s: float | None) -> float:
        if connect_s is None:
            return self._began_at + wait_s
        if self._asked_at is None:
            return self._began_at + connect_s
        return self._asked_at + wait_s

    def note_session(self, *, has_one: bool) -> None:
        """Note whether the present trial has a session, on which it asks."""
        with self._changed:
            self._asked_at = time.monotonic() if has_one else None
            self._changed.notify_all()

    def _silence(self) -> NotTriedError:
        age_s = time.monotonic() - self._began_at
        return NotTriedError(f"the database has not answered for {age_s:.1f} s")

    def _start(self) -> bool:
        """Start a trial, with the lock held; return False if no thread can start."""
        thread = threading.Thread(
            target=self._run, name="forge-jobs-trial", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        self._is_running = True
        self._began_at, self._asked_at = time.monotonic(), None
        return True

    def _run(self) -> None:
        result, error = True, None
        try:
            result = self._attempt()
        except StorageError as raised:
            error = raised
        except Exception as raised:
            logger.exception("cannot try a commit")
            error = StorageError(f"no commit could be tried: {type(raised).__name__}")
        with self._changed:
            self._result, self._error = result, error
            self._is_running = False
            self._ended_at = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for the end of a trial that is about to answer."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # not started yet
                thread.join(_CLOSE_LIMIT_S)
