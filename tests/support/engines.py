"""SQLAlchemy's engines, known without a look at all objects of the process.

The package looks for them once a process, with ``gc.get_referrers()``. In a process of
twenty thousand tests that takes a tenth of a second, for each application of a test.
"""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import sqlalchemy

from flask_forge_jobs import loaded
from flask_forge_jobs.storage.sqlite import shared_file


def remember_engines(patch: pytest.MonkeyPatch) -> None:
    """Let the package find the engines that are made while the patch holds."""
    engines: weakref.WeakSet[sqlalchemy.Engine] = weakref.WeakSet()

    # SQLAlchemy reads the signature of __init__().
    def begin(kind: type[sqlalchemy.Engine], *_: Any, **__: Any) -> sqlalchemy.Engine:
        engine: sqlalchemy.Engine = object.__new__(kind)
        engines.add(engine)
        return engine

    def objects_of(*kinds: type) -> list[Any]:
        if kinds == (sqlalchemy.Engine,):
            return list(engines)
        return loaded.objects_of(*kinds)

    patch.setattr(sqlalchemy.Engine, "__new__", begin)
    patch.setattr(shared_file, "objects_of", objects_of)
