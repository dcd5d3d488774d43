"""Rows in the format of ``COPY``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import islice

from flask_forge_jobs.storage.database import Parameter

_COPY_ROWS = 500
# A payload may be a megabyte, and several copies of a chunk exist at a time.
_COPY_CHARACTERS = 1024 * 1024
_COPY_FIRST_ROWS = 4
_COPY_NULL = "\\N"
_COPY_ESCAPES = (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"))


class CopySource(io.RawIOBase):
    """A file of rows for a driver to read, in chunks of up to a million characters."""

    def __init__(self, rows: Iterable[Sequence[Parameter]]) -> None:
        super().__init__()
        self._rows = iter(rows)
        self._count = _COPY_FIRST_ROWS

    def read(self, _size: int = -1) -> bytes:
        """Return the next rows, or nothing at the end."""
        rows = list(islice(self._rows, self._count))
        if not rows:
            return b""
        text = _copy_text(rows)
        fitting = _COPY_CHARACTERS * len(rows) // len(text)
        self._count = min(max(fitting, 1), _COPY_ROWS)
        return text.encode("utf-8")


def _copy_text(rows: Sequence[Sequence[Parameter]]) -> str:
    """Return rows in COPY's text format."""
    lines = [
        "\t".join([_COPY_NULL if cell is None else str(cell) for cell in row])
        for row in rows
    ]
    text = "\n".join(lines) + "\n"
    # Few values hold a character that COPY treats specially, so check all at once.
    nulls = sum(row.count(None) for row in rows)
    tabs = sum(map(len, rows)) - len(rows)
    if (
        text.count("\\") == nulls
        and text.count("\t") == tabs
        and text.count("\n") == len(rows)
        and "\r" not in text
    ):
        return text
    return "".join(["\t".join(map(_escaped_cell, row)) + "\n" for row in rows])


def _escaped_cell(cell: Parameter) -> str:
    if cell is None:
        return _COPY_NULL
    text = str(cell)
    for special, escape in _COPY_ESCAPES:
        # On a large text translate() takes a hundred times as long.
        text = text.replace(special, escape)
    return text
