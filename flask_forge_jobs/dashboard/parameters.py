"""The parameters of a page: an invalid value counts as none, and leaves the links."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from flask import Request
from werkzeug.datastructures import MultiDict

T = TypeVar("T")
_LONGEST = 500
# Every link of a page repeats them.
MAX_CHOSEN, LONGEST_CHOSEN = 40, 200
# Parameters of one moment: a dialog, an open form.
_MOMENTARY = frozenset({"ask", "queue", "scope", "edit", "new"})


def chosen(args: MultiDict[str, str], name: str) -> list[str]:
    """Return the values of a parameter that is repeated: short ones, and not many.

    Those with a NUL are left out, because no name has one.
    """
    values = [each for each in args.getlist(name) if "\x00" not in each]
    short = (each for each in values if 0 < len(each) <= LONGEST_CHOSEN)
    return list(dict.fromkeys(short))[:MAX_CHOSEN]


@dataclass(frozen=True, slots=True)
class NumberedPage:
    """A page of a list whose pages have numbers, from 1.

    A number behind the last page means the last one.
    """

    number: int
    size: int
    total: int

    @property
    def first(self) -> int:
        """How many rows stand before it."""
        last = max(self.total - 1, 0) // self.size
        return min(self.number - 1, last) * self.size

    def of(self, rows: Sequence[T]) -> Sequence[T]:
        """Return its rows out of all."""
        return rows[self.first : self.first + self.size]

    @property
    def previous(self) -> int | None:
        """The number of the page before; None on the first one."""
        return self.first // self.size or None

    @property
    def following(self) -> int | None:
        """The number of the next page; None on the last one."""
        following = self.first + self.size
        return None if following >= self.total else following // self.size + 1


class Parameters:
    """The query of a request.

    ``kept`` are the valid parameters, for links back to the same page.
    """

    def __init__(self, request: Request) -> None:
        self._query = request.args
        self.kept: dict[str, object] = {}

    def text(self, name: str) -> str:
        """Return a text without outer spaces; empty if it is missing or too long."""
        text = self._query.get(name, "").strip()
        if not text or len(text) > _LONGEST or "\x00" in text:
            return ""
        return self._keep(name, text)

    def one_of(self, name: str, choices: Iterable[str]) -> str | None:
        """Return one of the choices; None for anything else."""
        text = self._query.get(name)
        if text is None or text not in choices:
            return None
        return self._keep(name, text)

    def instant(self, name: str) -> datetime | None:
        """Return an instant, as browsers write it; in UTC if it has no offset."""
        text = self._query.get(name, "")
        try:
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is None:
                instant = instant.replace(tzinfo=UTC)
            instant = instant.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        self._keep(name, text)
        return instant

    def number(self, name: str, choices: Container[int], default: int) -> int:
        """Return a whole number among the choices; the default for anything else."""
        text = self._query.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) < len("1000000")):
            return default
        number = int(text)
        if number not in choices:
            return default
        if number != default:
            self._keep(name, text)
        return number

    def _keep(self, name: str, text: str) -> str:
        if name not in _MOMENTARY:
            self.kept[name] = text
        return text
