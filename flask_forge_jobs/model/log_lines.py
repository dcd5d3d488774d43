"""Lines of a log: foreign text that fits into one, repeated ones left out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

PERIOD_S = 60.0
MAX_LENGTH = 500
# Characters that could start a new line, steer a terminal or reorder text: control
# characters, line and paragraph separators, direction marks, halves of surrogate pairs.
UNSEEN = (
    "\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufeff"
)
_UNFIT = re.compile(f"[\x00-\x1f{UNSEEN}]")
# The same of text that may have several lines.
_STEERS = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{UNSEEN}]")


class LogThrottle:
    """Tells whether it is time for another message of a kind; counts the others."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, *, max_lines: int = 1
    ) -> None:
        self._monotonic = monotonic
        self._max_lines = max_lines
        self._changing = threading.RLock()
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
            elif said >= self._max_lines:
                self._held[kind] = self._held.get(kind, 0) + 1
                return False
            self._minutes[kind] = ends_at, said + 1
            return True

    def more(self, kind: str) -> str:
        """Return how many messages were left out, as text to append; counts anew."""
        with self._changing:
            held = self._held.pop(kind, 0)
        return f" ({held} more since the last line)" if held else ""


def one_line(text: str, limit: int = MAX_LENGTH) -> str:
    """Return foreign text that is safe for a log, cut to ``limit`` characters."""
    shown = _UNFIT.sub(escaped, text[:limit])
    rest = len(text) - limit
    return shown if rest <= 0 else f"{shown}... ({rest} more)"


def visible(text: str) -> str:
    """Return foreign text with escapes for the invisible characters that steer it.

    Line breaks and tabs stay.
    """
    return _STEERS.sub(escaped, text)


def escaped(match: re.Match[str]) -> str:
    """Return the characters of a match as Python writes them in ASCII."""
    return match[0].encode("unicode_escape").decode("ascii")
