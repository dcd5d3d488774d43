"""Service: a loop that survives its errors, can be woken, and can be stopped."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from flask_forge_jobs.errors import StorageError

logger = logging.getLogger(__name__)


class Service(ABC):
    """A named thread that calls :meth:`tick` at a period.

    An error in a tick is logged with its traceback and the next tick comes as if
    nothing had happened; no loop dies of an exception (D51). A storage that fails is
    told once, and once more when it works again.

    Args:
        name: Ends up in the thread's name.
        period_s: Seconds between two ticks.
    """

    def __init__(self, name: str, period_s: float) -> None:
        self.name = name
        self._period_s = period_s
        self._is_failing = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"forge-jobs-{name}", daemon=True
        )

    @abstractmethod
    def tick(self) -> None:
        """Do the work of one period."""

    def start(self) -> None:
        """Start the thread; the first tick comes at once."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Let the next tick come now."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end after the tick it is in."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self.is_alive

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.tick()
            except StorageError as error:
                if not self._is_failing:
                    logger.warning("%s: storage failed, going on: %s", self.name, error)
                self._is_failing = True
            except Exception:
                logger.exception("%s failed; trying again", self.name)
            else:
                if self._is_failing:
                    logger.info("%s: storage works again", self.name)
                self._is_failing = False
            self._wake.wait(self._period_s)
            self._wake.clear()
