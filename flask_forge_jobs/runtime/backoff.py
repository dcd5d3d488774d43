"""Backoff: a pause between retries that grows."""

from __future__ import annotations

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
