"""Fixed windows: how often something may happen within a time, for each of many keys.

Our own because the package ``limits`` counts by the wall clock, keeps every key until a
thread of its own removes it, and so can neither be filled up safely nor be carried
across a fork.
"""

from __future__ import annotations

import math
from threading import Lock

MAX_KEYS = 10_000


class FixedWindows:
    """Counts events in windows that begin with the first event of a key.

    The keys counted most recently are kept, 10,000 of them.

    Args:
        most: Events that a window has room for.
        length_s: How long a window lasts, in seconds.
    """

    def __init__(self, most: int, length_s: float) -> None:
        self._most = most
        self._length_s = length_s
        self._lock = Lock()
        # Key to start and events of its window; the least recently counted key first.
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, key: str, now: float) -> int:
        """Count one event.

        Args:
            key: Whose window it falls into.
            now: Seconds of a clock that never goes back.

        Returns:
            0 when there was room; else how many whole seconds the window still lasts,
            at least 1.
        """
        with self._lock:
            start, events = self._windows.pop(key, (now, 0))
            if now >= start + self._length_s:
                start, events = now, 0
            self._windows[key] = (start, events + 1)
            if len(self._windows) > MAX_KEYS:
                del self._windows[next(iter(self._windows))]
        if events < self._most:
            return 0
        return max(1, math.ceil(start + self._length_s - now))
