"""Suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_match(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …`` with the closest known name, or an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}" if close else ""
