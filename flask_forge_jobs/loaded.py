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
    _remembered.extend(_walked(kinds))
    gc.freeze()


def objects_of(*kinds: type) -> list[Any]:
    """Return the objects of classes and their subclasses, also those left out.

    No list of all objects is left, which would keep closed connections open.
    """
    walked = _walked(kinds)
    # After gc.unfreeze() they are among the others again. To ask for the count of those
    # that are left out takes as long as a walk through them.
    seen = {id(each) for each in walked}
    rest = (each for each in _remembered if issubclass(type(each), kinds))
    return [*walked, *(each for each in rest if id(each) not in seen)]


def _walked(kinds: tuple[type, ...]) -> list[Any]:
    # isinstance() would resolve proxies.
    return [each for each in gc.get_objects() if issubclass(type(each), kinds)]
