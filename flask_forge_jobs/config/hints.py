"""Near matches for names that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_match(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …`` for the known name closest to ``name``.

    The text is empty when nothing is close. Only names go in and come out, never the
    value that was set: it may be a secret.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}" if close else ""
