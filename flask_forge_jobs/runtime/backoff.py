"""Backoff: how long to wait before the next try of something that fails."""

from __future__ import annotations

FIRST_S = 1.0
LONGEST_S = 30.0


class Backoff:
    """A pause that doubles with each failure, until a success.

    Args:
        first_s: Seconds to wait after the first failure, default 1.
        longest_s: Most seconds to wait, default 30; never less than the first pause.
    """

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = max(longest_s, first_s)
        self.pause_s = 0.0
        """Seconds to wait since the last failure; 0 after a success."""

    def fail(self) -> float:
        """Note a failure; return the seconds until the next try."""
        self.pause_s = min(max(self.pause_s * 2, self._first_s), self._longest_s)
        return self.pause_s

    def reset(self) -> None:
        """Note a success."""
        self.pause_s = 0.0
