"""Leaves what an application has loaded out of garbage collections.

Objects that are left out are missing in ``gc.get_objects()`` as well, so those that the
SQLite storage looks for there are remembered.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

_remembered: list[Any] = []


def leave_out_of_collections() -> None:
    """Leave all present objects out of collections, which would walk them each time."""
    kinds = tuple(
        getattr(sys.modules[module], name)
        for module, name in (
            ("sqlalchemy", "Engine"),
            ("sqlalchemy.orm", "scoped_session"),
        )
        if module in sys.modules
    )
    # isinstance() would resolve proxies.
    _remembered.extend(
        each for each in gc.get_objects() if issubclass(type(each), kinds)
    )
    gc.freeze()


def all_objects() -> list[Any]:
    """Return ``gc.get_objects()`` with the engines and sessions that are left out."""
    walked = gc.get_objects()
    # After gc.unfreeze() they are among the others again.
    return [*walked, *_remembered] if gc.get_freeze_count() else walked
