"""LogThrottle limits repeated log messages to one or a few a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PERIOD_S = 60.0


class LogThrottle:
    """Tells whether it is time for another message of a kind; counts the others."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, *, most: int = 1
    ) -> None:
        self._monotonic = monotonic
        self._most = most
        self._changing = threading.Lock()
        # By kind: when its minute ends, and how often it was logged in it.
        self._minutes: dict[str, tuple[float, int]] = {}
        self._held: dict[str, int] = {}

    def is_time_for(self, kind: str) -> bool:
        """Return whether to log a message now; otherwise count it."""
        now = self._monotonic()
        with self._changing:
            ends_at, said = self._minutes.get(kind, (now, 0))
            if now >= ends_at:
                ends_at, said = now + PERIOD_S, 0
            elif said >= self._most:
                self._held[kind] = self._held.get(kind, 0) + 1
                return False
            self._minutes[kind] = ends_at, said + 1
            return True

    def more(self, kind: str) -> str:
        """Return how many messages were left out, as text to append; counts anew."""
        with self._changing:
            held = self._held.pop(kind, 0)
        return f" ({held} more since the last line)" if held else ""
