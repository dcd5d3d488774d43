"""Service: a loop that survives its errors, can be woken, and can be stopped."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

logger = logging.getLogger(__name__)


class Service(ABC):
    """A named thread that calls :meth:`tick` at a period.

    An error in a tick is logged with its traceback and the next tick comes as if
    nothing had happened; no loop dies of an exception (D51).

    Args:
        name: Ends up in the thread's name.
        period_s: Seconds between two ticks.
    """

    def __init__(self, name: str, period_s: float) -> None:
        self.name = name
        self._period_s = period_s
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
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.tick()
            except Exception:
                logger.exception("%s failed; trying again", self.name)
            self._wake.wait(self._period_s)
            self._wake.clear()
