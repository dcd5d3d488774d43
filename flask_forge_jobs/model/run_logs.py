"""Lines that a task logs while it runs: what is kept of them, and in which form."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from flask_forge_jobs.model.instants import MAX_INSTANT_US, SECOND_US, from_micros
from flask_forge_jobs.model.log_lines import UNSEEN, escaped

if TYPE_CHECKING:
    from flask_forge_jobs.model.claims import RunId
    from flask_forge_jobs.model.masking import Mask

MAX_LINE_BYTES = 8192
MAX_RUN_BYTES = 65_536
CUT = " … cut"
LINE_BYTES = 32
"""What a line counts for besides its text and logger: instant and level."""
# More than is kept, because a secret that is cut would not be recognised.
LOOKED_AT = 2 * MAX_LINE_BYTES
_CUT_BYTES = len(CUT.encode())
# Of UTF-8, for a character.
_WIDEST = 4
# What a text of several lines may not hold: what steers a terminal, reorders text or
# fits into no database.
_UNFIT = re.compile(f"[\x00-\x08\x0b-\x1f{UNSEEN}]")


class LogLine(NamedTuple):
    """A line; ``text`` may have several lines, such as those of a traceback.

    ``at_us`` is the worker's time, in microseconds since the epoch.
    """

    at_us: int
    level: str
    logger: str
    text: str


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Lines of a run in a row; ``first_line`` counts from 0 within the run."""

    run: RunId
    attempt: int
    first_line: int
    lines: Sequence[LogLine]

    def text(self) -> str:
        """Return what is stored."""
        return json.dumps((self.attempt, *self.lines), separators=(",", ":"))


class StoredLine(NamedTuple):
    """A line as it is read: its run and its number there, from 0, identify it."""

    run: int
    attempt: int
    number: int
    at_us: int
    level: str
    logger: str
    text: str

    @property
    def at(self) -> datetime:
        """When it was logged, by the worker's clock."""
        return from_micros(self.at_us)

    @property
    def place(self) -> tuple[int, int]:
        """Identifies it among the lines of its job, in their order."""
        return self.run, self.number


def read_chunk(run: int, first_line: int, text: str) -> list[StoredLine]:
    """Return the lines of a stored chunk; raise ValueError if it is damaged."""
    attempt, *lines = json.loads(text)
    return [
        StoredLine(run, attempt, number, *line)
        for number, line in enumerate(lines, first_line)
    ]


def fit_text(text: str, mask: Mask) -> str:
    """Return the text of a line as it is kept: masked, and at most 8 KiB of UTF-8.

    Line breaks and tabs stay; other control characters are escaped. The end of a longer
    one is cut, and says so.
    """
    is_cut = len(text) > LOOKED_AT
    shown = mask(text[:LOOKED_AT] if is_cut else text)
    if not shown.isprintable():
        shown = _UNFIT.sub(escaped, shown.replace("\r\n", "\n"))
    if not is_cut and len(shown) * _WIDEST <= MAX_LINE_BYTES:
        return str(shown)
    raw = shown.encode()
    if not is_cut and len(raw) <= MAX_LINE_BYTES:
        return str(shown)
    return raw[: MAX_LINE_BYTES - _CUT_BYTES].decode("utf-8", "ignore") + CUT


def fit_trace(text: str, trace: str) -> str:
    """Return a fitted text and a fitted traceback below it, of which the end counts.

    Of a traceback that is too long, the beginning is cut.
    """
    whole = f"{text}\n{trace}"
    if len(whole.encode()) <= MAX_LINE_BYTES:
        return whole
    head = text.encode()
    if len(head) > MAX_LINE_BYTES // 2:
        head = head[: MAX_LINE_BYTES // 2 - _CUT_BYTES]
        text = head.decode("utf-8", "ignore") + CUT
    room = MAX_LINE_BYTES - len(text.encode()) - _CUT_BYTES - 2
    end = trace.encode()[-room:].decode("utf-8", "ignore")
    return f"{text}\n{CUT.strip()}\n{end}"


def size_of(line: LogLine) -> int:
    """Return how many of the 64 KiB of its run a line takes."""
    text = line.text
    size = len(text) if text.isascii() else len(text.encode())
    return size + len(line.logger) + LINE_BYTES


def instant_of(seconds: float) -> int:
    """Return a time of the clock as an instant in microseconds that can be stored."""
    try:
        return min(max(int(seconds * SECOND_US), 0), MAX_INSTANT_US)
    except (OverflowError, TypeError, ValueError):
        return 0
