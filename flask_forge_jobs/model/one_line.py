"""Text from outside, made fit for one line of a log.

What could start a new line, steer a terminal or reorder what is read is written as an
escape: control characters, line and paragraph separators, marks that change the
direction of writing, halves of surrogate pairs.
"""

from __future__ import annotations

import re

MAX_LENGTH = 500
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufeff]"
)


def one_line(text: str, limit: int = MAX_LENGTH) -> str:
    """Return text with unfit characters escaped, cut to a length.

    Args:
        text: Any text.
        limit: Most characters of it; what is cut is counted at the end.
    """
    shown = _UNFIT.sub(_escape, text[:limit])
    rest = len(text) - limit
    return shown if rest <= 0 else f"{shown}... ({rest} more)"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
