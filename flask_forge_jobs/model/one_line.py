"""Makes foreign text safe for one line of a log.

It escapes what could start a new line, steer a terminal or reorder text: control
characters, line and paragraph separators, direction marks, halves of surrogate pairs.
"""

from __future__ import annotations

import re

MAX_LENGTH = 500
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufeff]"
)


def one_line(text: str, limit: int = MAX_LENGTH) -> str:
    """Return text with unsafe characters escaped, cut to ``limit`` characters."""
    shown = _UNFIT.sub(_escape, text[:limit])
    rest = len(text) - limit
    return shown if rest <= 0 else f"{shown}... ({rest} more)"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
