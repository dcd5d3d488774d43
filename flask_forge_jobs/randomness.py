"""Random numbers from the operating system, for jitter.

Not from :mod:`random`: the application may have seeded it and expects its own sequence.
Forked children draw different numbers, too.
"""

from __future__ import annotations

import secrets

_SYSTEM = secrets.SystemRandom()


def fraction() -> float:
    """Return a uniformly distributed number in [0, 1)."""
    return _SYSTEM.random()
