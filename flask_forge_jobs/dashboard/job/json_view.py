"""A JSON value as lines that fold: bounded in size, numbers as they are stored.

The lines are flat, so that a template shows them without recursion, however deep the
value is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.model.masking import REDACTED
from flask_forge_jobs.model.sentences import count

MAX_BYTES = 65_536
"""Of JSON text; of a longer one only the head is shown."""
# Lines beyond which a search helps.
_MANY = 40
HEAD = 2000
"""Characters of that head."""
MAX_VALUES = 700
"""Values that are shown, containers included."""
MAX_STRING = 4000
"""Characters of one string that are shown."""
# Members of a container on the first level that is unfolded; the value itself is.
_FEW = 8
# Characters that are invisible, reorder the text around them or fit no page.
_UNFIT = re.compile(
    "[\x7f-\x9f\u061c\u200b-\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)


class Form(StrEnum):
    """What a line shows, which is also its class in the page."""

    OPENS = "opens"
    CLOSES = "closes"
    TEXT = "q"
    NUMBER = "u"
    WORD = "w"
    EMPTY = "e"
    MASKED = "mask"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a value.

    Attributes:
        form: What it shows.
        depth: How far it is indented.
        key: The key before it as JSON text, or None.
        text: The value, a bracket, or what is left out.
        closed: Of a line that opens: its whole text while it is folded.
        is_open: Of a line that opens: whether it is unfolded at first.
        comma: A comma if another value follows, else nothing.
    """

    form: Form
    depth: int
    key: str | None
    text: str
    closed: str = ""
    is_open: bool = False
    comma: str = ""


@dataclass(frozen=True, slots=True)
class JsonView:
    """A value: its lines, or only the ``head`` of its text if it is too long.

    ``size`` is that of its text in bytes, ``masked`` the number of masked values.
    """

    lines: Sequence[Line]
    head: str | None
    size: int
    masked: int

    @property
    def is_long(self) -> bool:
        """Whether it is too long to be looked through."""
        return self.head is not None or len(self.lines) > _MANY


def json_view(value: object, size: int = 0) -> JsonView:
    """Return a JSON value as lines; ``size`` is that of the value that it begins."""
    text = json.dumps(value, ensure_ascii=False)
    size = max(len(text.encode("utf-8", "surrogatepass")), size)
    if size > MAX_BYTES:
        return JsonView((), fitted(text[:HEAD]), size, text.count(f'"{REDACTED}"'))
    lines = list(_Walk().lines(value))
    return JsonView(lines, None, size, text.count(f'"{REDACTED}"'))


def fitted(text: str) -> str:
    """Return a text with its invisible characters escaped as in JSON."""
    return _UNFIT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@dataclass(slots=True)
class _Level:
    """A container whose members are being walked through."""

    members: Iterator[tuple[str | None, object]]
    left: int
    close: str
    comma: str


class _Walk:
    """Walks through a value without recursion."""

    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._levels: list[_Level] = []

    def lines(self, value: object) -> Iterator[Line]:
        """Return the lines of a value."""
        yield from self._value(None, value, "")
        while self._levels:
            level = self._levels[-1]
            if level.left and self._left > 0:
                key, member = next(level.members)
                level.left -= 1
                yield from self._value(key, member, "," if level.left else "")
                continue
            depth = len(self._levels)
            if level.left:
                yield Line(Form.MORE, depth, None, f"{level.left:,} more")
            self._levels.pop()
            yield Line(Form.CLOSES, depth - 1, None, level.close, comma=level.comma)

    def _value(self, key: str | None, value: object, comma: str) -> Iterator[Line]:
        self._left -= 1
        depth = len(self._levels)
        name = None if key is None else _quoted(key)
        if not isinstance(value, dict | list) or not value:
            form, text = _scalar(value)
            yield Line(form, depth, name, text, comma=comma)
            return
        opening, closing, noun = ("{", "}", "key")
        if isinstance(value, list):
            opening, closing, noun = ("[", "]", "item")
        closed = f"{opening} {count(len(value), noun)} {closing}{comma}"
        is_open = depth == 0 or (depth == 1 and len(value) <= _FEW)
        yield Line(Form.OPENS, depth, name, opening, closed, is_open)
        members = _members(value)
        self._levels.append(_Level(members, len(value), closing, comma))


def _members(
    value: Mapping[str, object] | Sequence[object],
) -> Iterator[tuple[str | None, object]]:
    if isinstance(value, Mapping):
        return iter([*value.items()])
    return ((None, member) for member in value)


def _scalar(value: object) -> tuple[Form, str]:
    if value == REDACTED:
        return Form.MASKED, "masked"
    if isinstance(value, str):
        return Form.TEXT, _quoted(value)
    text = json.dumps(value)
    if isinstance(value, dict | list):
        return Form.EMPTY, text
    is_word = value is None or isinstance(value, bool)
    return (Form.WORD if is_word else Form.NUMBER), text


def _quoted(text: str) -> str:
    more = len(text) - MAX_STRING
    shown = fitted(json.dumps(text[:MAX_STRING], ensure_ascii=False))
    return f"{shown} … {more:,} more characters" if more > 0 else shown
