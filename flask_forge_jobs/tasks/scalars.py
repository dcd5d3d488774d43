"""Scalars: converts values that are a text, number, boolean or null in JSON."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, NoReturn
from uuid import UUID

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown

Convert = Callable[[Any, str], Any]

FORMS = {
    str: "text", int: "number", float: "number", bool: "boolean", type(None): "null",
    list: "array", tuple: "array", dict: "object",
}  # fmt: skip
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "a boolean"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """Converts the values of one annotation to JSON and back."""

    wants: str
    forms: frozenset[str]
    plain: frozenset[type]
    encode: Convert
    decode: Convert

    @property
    def changes(self) -> bool:
        """Whether encoding and decoding differ."""
        return self.encode is not self.decode


class UnsupportedError(Exception):
    """An annotation is not supported."""


class FailedCheckError(InvalidInputError):
    """The checks of an application's class refuse an argument.

    Clients read the message, which names field and class only. The text of the error
    has the reason, too: it may quote files, statements or secrets.
    """

    def __init__(self, field: str, wants: str, reason: str) -> None:
        super().__init__(field, f"is not {wants}; the log has the reason")
        self._detail = f"is not {wants}: {reason}"
        self.args = (f"{field}: {self._detail}",)


def refuse(value: object, path: str, wants: str) -> NoReturn:
    """Raise the error for a value of the wrong type."""
    raise InvalidInputError(path, f"{shown(value)} is not {wants}")


def _scalar(kind: type, *more: type) -> Conversion:
    accepted = (kind, *more)

    def take(value: Any, path: str) -> Any:
        # A value of a subclass, such as an IntEnum, becomes one of the base class.
        for each, exact in _EXACT.items():
            if each in accepted and isinstance(value, each):
                return exact(value)
        refuse(value, path, _NAMES[kind])

    forms = frozenset(FORMS[each] for each in accepted)
    return Conversion(_NAMES[kind], forms, frozenset(accepted), take, take)


_EXACT: dict[type, Callable[[Any], Any]] = {
    bool: bool,
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
}


def _null(value: Any, path: str) -> None:
    if value is not None:
        refuse(value, path, "None")


def literal(values: Sequence[object]) -> Conversion:
    """Return the conversion of a literal type."""
    known = {(type(each), each): each for each in values}
    types_of_values = {type(each) for each in values}
    if not types_of_values <= FORMS.keys():
        raise UnsupportedError("a literal that is not JSON; pass text")
    wants = f"one of {', '.join(map(repr, values))}"

    def take(value: Any, path: str) -> Any:
        # The type first, because a list, for instance, cannot be looked up.
        if type(value) not in types_of_values or (type(value), value) not in known:
            refuse(value, path, wants)
        return value

    forms = frozenset(FORMS[each] for each in types_of_values)
    return Conversion(wants, forms, frozenset(), take, take)


def enumeration(kind: type[Enum]) -> Conversion:
    """Return the conversion of an enumeration with values of text or numbers."""
    types_of_values = {type(member.value) for member in kind}
    if not types_of_values <= {str, int, float}:
        raise UnsupportedError(
            f"{kind.__name__} has values that are neither text nor numbers; "
            "pass their names"
        )
    wants = f"one of {kind.__name__}"
    # JavaScript, for one, writes 1.0 as 1.
    readable = types_of_values | ({int} if float in types_of_values else set())

    def encode(value: Any, path: str) -> Any:
        if not isinstance(value, kind):
            refuse(value, path, wants)
        return value.value

    def decode(value: Any, path: str) -> Any:
        if type(value) in readable:
            # A custom _missing_() may raise anything.
            with contextlib.suppress(Exception):
                return kind(value)
        refuse(value, path, wants)

    forms = frozenset(FORMS[each] for each in types_of_values)
    return Conversion(wants, forms, frozenset(), encode, decode)


def _written(
    kind: type,
    wants: str,
    write: Callable[[Any], Any],
    read: Callable[[Any], Any],
    *,
    form: type = str,
    but: type | None = None,
) -> Conversion:
    def encode(value: Any, path: str) -> Any:
        if not isinstance(value, kind) or (but is not None and isinstance(value, but)):
            refuse(value, path, wants)
        return write(value)

    def decode(value: Any, path: str) -> Any:
        is_form = type(value) is form or (form is float and type(value) is int)
        if is_form:
            try:
                return read(value)
            except (ValueError, ArithmeticError):
                pass
        refuse(value, path, wants)

    return Conversion(wants, frozenset({FORMS[form]}), frozenset(), encode, decode)


# timedelta.max has more digits than a float, which would become a greater one.
_LONGEST_S = math.nextafter(timedelta.max.total_seconds(), 0)


def _seconds(span: timedelta) -> float:
    return min(span.total_seconds(), _LONGEST_S)


SCALARS: dict[Any, Conversion] = {
    type(None): Conversion(
        "None", frozenset({"null"}), frozenset({type(None)}), _null, _null
    ),
    bool: _scalar(bool),
    int: _scalar(int, bool),
    float: _scalar(float, int, bool),
    str: _scalar(str),
    datetime: _written(
        datetime, "a datetime, as 2026-06-01T12:00:00Z", datetime.isoformat,
        datetime.fromisoformat,
    ),
    date: _written(
        date, "a date, as 2026-06-01", date.isoformat, date.fromisoformat, but=datetime
    ),
    time: _written(time, "a time, as 12:00:00", time.isoformat, time.fromisoformat),
    timedelta: _written(
        timedelta, "a timedelta, as seconds", _seconds,
        lambda seconds: timedelta(seconds=seconds), form=float,
    ),
    Decimal: _written(Decimal, "a Decimal, as text", str, Decimal),
    UUID: _written(UUID, "a UUID, as text", str, UUID),
    Path: _written(Path, "a Path, as text", str, Path),
    PurePath: _written(PurePath, "a path, as text", str, PurePath),
}  # fmt: skip
