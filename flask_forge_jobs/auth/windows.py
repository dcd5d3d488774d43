"""Fixed-window rate limits, one window per key.

This is not the package ``limits``, because that counts by the wall clock, keeps every
key until its own thread removes it, and cannot be carried across a fork.
"""

from __future__ import annotations

import math
from threading import Lock

MAX_KEYS = 10_000


class FixedWindows:
    """Allows ``most`` events per key within ``length_s`` seconds of its first event.

    It keeps the 10,000 most recently counted keys.
    """

    def __init__(self, most: int, length_s: float) -> None:
        self._most = most
        self._length_s = length_s
        self._lock = Lock()
        # Key to (start, events) of its window, the least recently counted key first.
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, key: str, now: float) -> int:
        """Count one event at ``now``, in seconds of a monotonic clock.

        Returns:
            0 if the event is allowed, else the whole seconds until the window ends, at
            least 1.
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
