"""What a row of the fault table is, and what it gets to work with."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.backends import BACKENDS
from tests.support.sql import Sql

BOTH = BACKENDS
SQLITE = ("sqlite",)
POSTGRES = ("postgres",)


class Scale(Enum):
    """How often a fault is injected.

    ``SHORT`` is for pytest, ``CHANGE`` is tier T1 of the matrix, which every change
    must pass, and ``FULL`` is what the matrix itself says.
    """

    SHORT = "short"
    CHANGE = "change"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Bench:
    """A place to run one fault on one backend.

    Args:
        backend: ``sqlite`` or ``postgres``.
        url: Of an empty database of its own.
        random: Seeded for this fault and this backend.
        scale: How much to do.
        folder: An empty folder, for ledgers and logs.
    """

    backend: str
    url: str
    random: random.Random
    scale: Scale
    folder: Path

    @property
    def settings(self) -> DatabaseSettings:
        """The database."""
        return DatabaseSettings.from_url(self.url)

    @property
    def sql(self) -> Sql:
        """Plain SQL into the database."""
        return Sql(self.settings)

    def pick(self, short: int, change: int, full: int) -> int:
        """Return the number of this bench's scale."""
        return {Scale.SHORT: short, Scale.CHANGE: change, Scale.FULL: full}[self.scale]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix.

    Args:
        name: Its number, such as ``B1``.
        title: What goes wrong, in a few words.
        backends: Those that it is shown on.
        figure: How much is done at the scale of a change.
        run: Does it and returns in one line what was seen. It raises an
            AssertionError, or whatever a driver raises, when something does not hold
            that must.
        full: How much is done at full scale; empty when that is the same.
    """

    name: str
    title: str
    backends: tuple[str, ...]
    figure: str
    run: Callable[[Bench], str]
    full: str = ""

    def figure_at(self, scale: Scale) -> str:
        """Return how much is done at a scale."""
        return self.full if self.full and scale is Scale.FULL else self.figure
