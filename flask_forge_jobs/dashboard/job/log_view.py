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
        total: All lines that were read.
        left_out: Earlier lines of the run.
        next: The place of the last line, after which new ones follow.
    """

    run: int | None
    attempt: int | None
    rows: Sequence[LogRow]
    total: int
    left_out: int
    next: str | None


def log_view(lines: Sequence[StoredLine], level: Level = Level.ALL) -> LogView:
    """Return lines of one run as rows."""
    if not lines:
        return LogView(None, None, (), 0, 0, None)
    first, last = lines[0], lines[-1]
    return LogView(
        first.run,
        first.attempt,
        [_row(line) for line in lines if level.covers(line.level)],
        len(lines),
        first.number,
        f"{last.run}-{last.number}",
    )


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
