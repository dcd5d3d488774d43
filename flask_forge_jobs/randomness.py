"""The only place that takes randomness for spreading things out in time.

It is the operating system's, not that of :mod:`random`: that module's state belongs to
the application, which may have seeded it, and a draw by one of our threads would move
it under the application's hands. Two children of a fork draw differently, too.
"""

from __future__ import annotations

import secrets

_SYSTEM = secrets.SystemRandom()


def fraction() -> float:
    """Return a number in [0, 1), evenly spread."""
    return _SYSTEM.random()
