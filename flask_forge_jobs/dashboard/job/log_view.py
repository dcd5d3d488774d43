"""The log of a run as rows: instant, level as colour and word, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.model.run_logs import StoredLine

MAX_LINES = 200
_LONGEST_LEVEL = 8
_SHORT = {"WARNING": "WARN", "CRITICAL": "CRIT"}
_BAD = ("ERROR", "CRITICAL", "FATAL")
_BAD_OR_DOUBTFUL = (*_BAD, "WARNING", "WARN")


class Level(StrEnum):
    """Which lines are shown; also the value in the address."""

    ALL = ""
    WARNINGS = "warning"
    ERRORS = "error"

    def covers(self, name: str) -> bool:
        """Return whether lines of a level are shown."""
        if self is Level.ALL:
            return True
        names = _BAD if self is Level.ERRORS else _BAD_OR_DOUBTFUL
        return name.upper() in names


@dataclass(frozen=True, slots=True)
class LogRow:
    """A line: its time of day, its fraction, its level's class and word, its text."""

    id: str
    time: str
    ms: str
    style: str
    level: str
    logger: str
    text: str


@dataclass(frozen=True, slots=True)
class LogView:
    """The last lines of a run.

    Attributes:
        run: The run that logged them; None if no run has logged anything.
        attempt: The number of its attempt.
        rows: Those of the level.
        total: All lines of the run so far.
        place: That of the last line, after which new ones follow.
        is_more: Whether the rows follow those that an open page has.
    """

    run: int | None
    attempt: int | None
    rows: Sequence[LogRow]
    total: int
    place: str | None
    is_more: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the run has more lines than a page shows."""
        return self.total > MAX_LINES


def log_view(
    lines: Sequence[StoredLine], level: Level = Level.ALL, after: str | None = None
) -> LogView:
    """Return lines of one run as rows.

    ``after`` is the place of the last line that an open page has: only later ones
    follow, unless others are missing between.
    """
    if not lines:
        return LogView(None, None, (), 0, None)
    first, last = lines[0], lines[-1]
    places = [_place(line) for line in lines]
    is_more = after in places
    fresh = lines[places.index(str(after)) + 1 :] if is_more else lines
    return LogView(
        first.run,
        first.attempt,
        [_row(line) for line in fresh if level.covers(line.level)],
        last.number + 1,
        places[-1],
        is_more,
    )


def _place(line: StoredLine) -> str:
    return f"{line.run}-{line.number}"


def _row(line: StoredLine) -> LogRow:
    time = line.at.strftime("%H:%M:%S.%f")
    name = line.level.upper()
    style = "dim"
    if Level.ERRORS.covers(name):
        style = "e"
    elif Level.WARNINGS.covers(name):
        style = "w"
    return LogRow(
        f"l{line.run}-{line.number}",
        time[:8],
        time[8:12],
        style,
        _SHORT.get(name, name)[:_LONGEST_LEVEL],
        line.logger,
        line.text,
    )
