"""Leaves what an application has loaded out of garbage collections.

The collector does not find objects that are left out, so those that the SQLite storage
looks for are remembered.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
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
    """Return the objects of classes and their subclasses, also those left out."""
    walked = _walked(kinds)
    # After gc.unfreeze() they are among the others again. To ask for the count of those
    # that are left out takes as long as a walk through them.
    seen = {id(each) for each in walked}
    rest = (each for each in _remembered if issubclass(type(each), kinds))
    return [*walked, *(each for each in rest if id(each) not in seen)]


def _walked(kinds: tuple[type, ...]) -> list[Any]:
    # Each object refers to its class. A list of all objects would hold the tuples that
    # other threads are just making, which fail with a SystemError then.
    referrers = gc.get_referrers(*_with_subclasses(kinds))
    # isinstance() would resolve proxies.
    return [each for each in referrers if issubclass(type(each), kinds)]


def _with_subclasses(kinds: Iterable[type]) -> list[type]:
    classes = list(kinds)
    for kind in classes:  # it grows
        classes += type.__subclasses__(kind)
    return classes
