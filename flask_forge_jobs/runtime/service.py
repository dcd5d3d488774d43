"""Service: a thread that runs its duties, how it backs off, and whether it hangs."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.workers import ServiceAge

logger = get_logger(__name__)

# The pauses of a back-off.
FIRST_S = 1.0
LONGEST_S = 30.0


class Backoff:
    """A pause that doubles with each failure, up to ``longest_s``, until a success."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = max(longest_s, first_s)
        self.pause_s = 0.0
        """The current pause in seconds; 0 after a success."""

    def fail(self) -> float:
        """Record a failure; return the pause in seconds."""
        self.pause_s = min(max(self.pause_s * 2, self._first_s), self._longest_s)
        return self.pause_s

    def reset(self) -> None:
        """Record a success."""
        self.pause_s = 0.0


class Duty(ABC):
    """Periodic work.

    While the storage fails, the ticks go on at their period; the log says so once, and
    once more when it works again. After any other error, the ticks back off for up to
    ``longest_backoff_s``. ``name`` appears in health and metrics. With ``begins_late``,
    the first tick comes after one period.
    """

    def __init__(
        self,
        name: str,
        period_s: float,
        *,
        begins_late: bool = False,
        longest_backoff_s: float = LONGEST_S,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.period_s = period_s
        self.is_stopping = False
        """Whether its service has been asked to stop."""
        self._begins_late = begins_late
        self._clock = clock or SystemClock()
        self._backoff = Backoff(period_s, longest_backoff_s)
        self._is_failing = False
        self._succeeded_at = self._clock.monotonic()
        self._due_at = 0.0

    @abstractmethod
    def tick(self) -> bool | None:
        """Do the work of one period; return False if the storage was not needed."""

    def pause_s(self) -> float:
        """Return the seconds to wait after a successful tick."""
        return self.period_s

    def finish(self) -> None:  # noqa: B027  # most have nothing to clean up
        """Clean up after the last tick; nothing by default."""

    @property
    def age(self) -> ServiceAge:
        """The time since a tick last succeeded, or since the start."""
        age_s = max(self._clock.monotonic() - self._succeeded_at, 0.0)
        return ServiceAge(self.name, age_s, self.period_s)

    def begin(self, delay_s: float = 0.0) -> None:
        """Schedule the first tick, ``delay_s`` seconds from now unless it is late."""
        self._succeeded_at = self._clock.monotonic()
        pause_s = self.period_s if self._begins_late else delay_s
        self._due_at = time.monotonic() + pause_s

    def wake(self) -> None:
        """Make the next tick due now; for other duties of the same service."""
        self._due_at = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds until the next tick; 0 when it is due."""
        return max(self._due_at - time.monotonic(), 0.0)

    def attempt(self) -> float:
        """Tick without raising; return the seconds until the next tick."""
        pause_s = self._tick_and_pause_s()
        self._due_at = time.monotonic() + pause_s
        return pause_s

    def _tick_and_pause_s(self) -> float:
        try:
            has_reached = self.tick() is not False
            pause_s = self.pause_s()
        except StorageError as error:
            if not self._is_failing:
                logger.warning("%s: storage failed, retrying: %s", self.name, error)
            self._is_failing = True
            return self.period_s
        except BaseException:  # even SystemExit must not end the thread
            pause_s = self._backoff.fail()
            logger.exception("%s failed; retrying in %g s", self.name, pause_s)
            return pause_s
        if self._is_failing and has_reached:
            logger.info("%s: storage works again", self.name)
            self._is_failing = False
        self._backoff.reset()
        self._succeeded_at = self._clock.monotonic()
        return pause_s


class Service:
    """A thread that runs each of its duties when it is due.

    The first ticks come ``delay_s`` seconds after the start.
    """

    def __init__(self, *duties: Duty, delay_s: float = 0.0) -> None:
        self.name = duties[0].name
        self.duties = duties
        self._delay_s = delay_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"forge-jobs-{self.name}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        for duty in self.duties:
            duty.begin(self._delay_s)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask the thread to end after the current tick."""
        for duty in self.duties:
            duty.is_stopping = True
        self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self.is_alive

    def _run(self) -> None:
        while not self._stopping.wait(min(duty.wait_s for duty in self.duties)):
            for duty in self.duties:
                if not (duty.wait_s or duty.is_stopping):
                    duty.attempt()
        for duty in self.duties:
            with contextlib.suppress(StorageError):
                duty.finish()


class Watch:
    """Watches the turns of a thread, from the begin of each to its end.

    A thread is stuck when one turn takes, or all turns fail for, ``longest_s`` seconds.
    """

    def __init__(self, clock: Clock, longest_s: float) -> None:
        self._clock = clock
        self._longest_s = longest_s
        self.began_at: float | None = None
        """When the turn under way began; the thread sets it."""
        self.broken_since: float | None = None
        """When the first turn began to fail; the thread resets it after a success."""

    def fail(self) -> None:
        """Record that a turn ended in an error that a new process might not meet."""
        if self.broken_since is None:
            self.broken_since = self.began_at or self._clock.monotonic()
        self.began_at = None

    @property
    def is_stuck(self) -> bool:
        """Whether the thread hangs or only fails."""
        longest_ago = self._clock.monotonic() - self._longest_s
        # Each is read once, because another thread sets it.
        moments = (self.began_at, self.broken_since)
        return any(each is not None and each <= longest_ago for each in moments)
