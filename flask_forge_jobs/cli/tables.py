"""Tables for people: as wide as the terminal, and coloured only there."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from flask_forge_jobs.cli.streams import is_terminal
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.state import current

Row = Mapping[str, Any]
NO_VALUE = "-"
# Tables stay readable on a wide screen and fit a narrow one.
WIDTHS = (80, 100)
_GAP = 2
_CUT = "…"
# An elastic column is never cut below this.
_SHORTEST = 8
# Bright red is the one colour that the usual palettes show well on black and on white;
# bold has the colour of the text.
_BAD, _WAITING = {"fg": "bright_red"}, {"bold": True}
STYLES: Mapping[str, Mapping[str, Any]] = {
    "dead": _BAD,
    "lost": _BAD,
    "cancelled": _BAD,
    "failed": _WAITING,
    "paused": _WAITING,
    "cools down": _WAITING,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        head: Its heading.
        text: Takes a row of the API's JSON and returns the cell. A text is the key of
            the value.
        is_number: Whether it is aligned to the right.
        is_elastic: Whether it is cut when the table is too wide.
    """

    head: str
    text: Callable[[Row], object] | str
    is_number: bool = False
    is_elastic: bool = False

    def cell(self, row: Row) -> str:
        """Return the text of a row; foreign control characters are escaped."""
        source = self.text
        value = row.get(source) if isinstance(source, str) else source(row)
        if value is None or value == "":
            return NO_VALUE
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int):
            return f"{value:,}"
        return one_line(str(value))


def print_table(columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Print a table to the standard output."""
    for line in table_lines(columns, rows):
        click.echo(line)


def table_lines(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a table.

    On a terminal it is at most 100 columns wide; elsewhere nothing is cut.
    """
    cells = [[column.cell(row) for column in columns] for row in rows]
    heads = [column.head for column in columns]
    widths = [max(map(_width, each)) for each in zip(heads, *cells, strict=True)]
    limit = _limit()
    if limit is not None:
        widths = _shrunk(columns, widths, limit)
    yield _line(columns, heads, widths)
    for row in cells:
        yield _line(columns, row, widths)


def _limit() -> int | None:
    """Return the greatest width of a table; None means any."""
    if not (is_terminal(sys.stdout) or "COLUMNS" in os.environ):
        return None
    narrow, wide = WIDTHS
    return min(max(shutil.get_terminal_size((wide, 24)).columns, narrow), wide)


def _shrunk(columns: Sequence[Column], widths: Sequence[int], limit: int) -> list[int]:
    """Return the widths of a table that fits, the widest elastic columns cut first."""
    shrunk = list(widths)
    room = limit - _GAP * (len(columns) - 1)
    while sum(shrunk) > room:
        elastic = [i for i, column in enumerate(columns) if column.is_elastic]
        widest = max(elastic, key=lambda i: shrunk[i], default=None)
        if widest is None or shrunk[widest] <= _SHORTEST:
            break
        shrunk[widest] -= 1
    return shrunk


def _line(
    columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]
) -> str:
    shown = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        text = _cut(cell, width)
        blanks = " " * (width - _width(text))
        styled = click.style(text, **STYLES[text]) if text in STYLES else text
        shown.append(blanks + styled if column.is_number else styled + blanks)
    return (" " * _GAP).join(shown).rstrip()


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    kept = text[: width - 1]
    while _width(kept) > width - 1:
        kept = kept[:-1]
    return kept + _CUT


def _width(text: str) -> int:
    """Return the cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + _is_wide(each) for each in text
    )


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def ago(key: str) -> Callable[[Row], str]:
    """Return a cell with the time since an instant, or until it: ``4 min ago``."""

    def cell(row: Row) -> str:
        return NO_VALUE if row.get(key) is None else since(row[key])

    return cell


def since(instant: str) -> str:
    """Return the time since or until an instant of the API: ``in 20 s``."""
    at = datetime.fromisoformat(instant)
    now = from_micros(current().clock.now_us())
    seconds = (now - at).total_seconds()
    return f"in {brief(-seconds)}" if seconds < 0 else f"{brief(seconds)} ago"


def brief(seconds: float) -> str:
    """Return a duration for a cell: ``<0.1ms``."""
    return duration(seconds).replace("less than ", "<")


def span(key: str) -> Callable[[Row], str]:
    """Return a cell with a duration that is given in milliseconds."""

    def cell(row: Row) -> str:
        ms = row.get(key)
        return NO_VALUE if ms is None else brief(ms / 1000)

    return cell
