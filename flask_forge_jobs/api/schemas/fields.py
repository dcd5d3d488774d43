"""Strict fields: a value of another JSON type is refused, never converted.

marshmallow's own take ``"true"``, ``1`` and ``"yes"`` for a boolean, ``True`` and
``"5"`` for an integer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError
from marshmallow.fields import Field

from flask_forge_jobs.config.hints import near_match
from flask_forge_jobs.model.instants import MAX_INSTANT_US, format_instant, to_micros

T = TypeVar("T")
_I32 = (-(2**31), 2**31 - 1)
_U32 = (0, 2**32 - 1)
_LONGEST_INSTANT = 128
# Marks a field that is another name of one: the document names that one only, because
# it cannot say of a query that the two must agree.
IS_ALIAS = "is_alias"
UNKNOWN_MESSAGE = "is not a known key"
# What the JSON gate refuses in any string; ``\\0`` is no escape of ECMA's patterns.
WITHOUT_NUL = r"^[^\u0000]*$"
# A day of 1970 or later in each offset; earlier than that is refused.
FROM_1970 = r"^(19[7-9][0-9]|[2-9][0-9]{3})-"
# Where the OpenAPI document defines any JSON value.
ANY_JSON_REF = "#/components/schemas/AnyJson"
_DIGITS = re.compile(r"[0-9]{1,19}")
_INSTANT = re.compile(
    r" *(?P<year>[+-]?[0-9]{4,8}) *- *(?P<month>[0-9]{1,2}) *- *(?P<day>[0-9]{1,2})"
    r"(?: *[Tt] *| +)"
    r"(?P<hour>[0-9]{1,2}) *: *(?P<minute>[0-9]{1,2}) *: *(?P<second>[0-9]{1,2})"
    r"(?:\.(?P<fraction>[0-9]+))?"
    r" *(?:(?P<zulu>[Zz]|UTC)|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))"
    r" *"
)


class WireSchema(Schema):
    """A shape that answers, or asks unversioned reads: unknown keys are ignored."""

    class Meta:
        """What marshmallow reads."""

        unknown = EXCLUDE

    error_messages = {"type": "must be an object"}  # noqa: RUF012  # marshmallow's way


class V1Schema(Schema):
    """A shape of the ``/v1`` routes and of every change: an unknown key is refused.

    It may be a misspelt condition, and without it the change would be wider.
    """

    class Meta:
        """What marshmallow reads."""

        unknown = RAISE

    error_messages = {  # noqa: RUF012  # marshmallow's way
        "type": "must be an object",
        "unknown": UNKNOWN_MESSAGE,
    }

    def handle_error(
        self, error: ValidationError, data: object, *, many: bool, **kwargs: Any
    ) -> None:
        """Say which key a misspelt one may stand for."""
        del data, many, kwargs
        if not isinstance(error.messages, dict):
            return
        known = [field.data_key or name for name, field in self.fields.items()]
        for key, messages in error.messages.items():
            if messages == [UNKNOWN_MESSAGE]:
                messages[0] += near_match(str(key), known)


class StrictField(Field[T]):
    """What our fields have in common: one function in, one out."""

    default_error_messages = {  # noqa: RUF012  # marshmallow's way
        "required": "is required",
        "null": "must not be null",
        "invalid": "has the wrong type",
    }

    def read(self, value: object) -> T:
        """Return a value from the wire as the model's type.

        Raises:
            ValidationError: It has another type or lies out of range.
        """
        raise NotImplementedError

    def write(self, value: T) -> object:
        """Return the model's value as it goes on the wire."""
        return value

    def shape(self) -> dict[str, Any]:
        """Return the JSON Schema of what :meth:`read` takes.

        A bound that a handler checks stands in the field's ``metadata`` instead.
        """
        raise NotImplementedError

    def _deserialize(
        self,
        value: object,
        attr: str | None,  # noqa: ARG002  # marshmallow's signature
        data: Mapping[str, Any] | None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> T:
        return self.read(value)

    def _serialize(
        self,
        value: T | None,
        attr: str | None,  # noqa: ARG002  # marshmallow's signature
        obj: object,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> object:
        return None if value is None else self.write(value)


class Text(StrictField[str]):
    """A JSON string."""

    default_error_messages = {"invalid": "must be text"}  # noqa: RUF012

    def read(self, value: object) -> str:
        """Return a string as it is."""
        if not isinstance(value, str):
            raise self.make_error("invalid")
        return value

    def shape(self) -> dict[str, Any]:
        """Return that of text; the gate refuses NUL in all of a request."""
        return {"type": "string", "pattern": WITHOUT_NUL}


class WholeNumber(StrictField[int]):
    """A JSON integer of 32 bits: not ``true``, not ``1.0``, not ``"1"``.

    Args:
        is_signed: False takes 0 to 2**32 - 1.
        kwargs: What every marshmallow field takes.
    """

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a whole number",
        "width": "is not within {low} to {high}",
    }

    def __init__(self, *, is_signed: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._low, self._high = _I32 if is_signed else _U32

    def read(self, value: object) -> int:
        """Return an integer that fits."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid")
        if not self._low <= value <= self._high:
            raise self.make_error("width", low=self._low, high=self._high)
        return value

    def shape(self) -> dict[str, Any]:
        """Return that of an integer of this width."""
        return {"type": "integer", "minimum": self._low, "maximum": self._high}


class Digits(StrictField[int]):
    """A number in a query: ASCII digits only, no sign, no blank.

    Args:
        most: Largest number; nine digits by default.
        kwargs: What every marshmallow field takes.
    """

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a whole number from 0 to {most}"
    }

    def __init__(self, *, most: int = 10**9 - 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._most = most

    def read(self, value: object) -> int:
        """Return the number."""
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            number = int(value)
            if number <= self._most:
                return number
        raise self.make_error("invalid", most=self._most)

    def shape(self) -> dict[str, Any]:
        """Return that of a number in its range."""
        return {"type": "integer", "minimum": 0, "maximum": self._most}


class LargeNumber(StrictField[int]):
    """A whole number of up to 63 bits, not negative, on its way out only."""

    def shape(self) -> dict[str, Any]:
        """Return that of an integer of this width."""
        return {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}


class Fraction(StrictField[float]):
    """A JSON number; it leaves with a fraction, and comes in with or without one."""

    default_error_messages = {"invalid": "must be a number"}  # noqa: RUF012

    def read(self, value: object) -> float:
        """Return a number as a float."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        try:
            return float(value)
        except OverflowError:
            raise self.make_error("invalid") from None

    def shape(self) -> dict[str, Any]:
        """Return that of any number."""
        return {"type": "number"}


class Flag(StrictField[bool]):
    """A JSON boolean and nothing that resembles one."""

    default_error_messages = {"invalid": "must be true or false"}  # noqa: RUF012

    def read(self, value: object) -> bool:
        """Return a boolean as it is."""
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value

    def shape(self) -> dict[str, Any]:
        """Return that of a boolean."""
        return {"type": "boolean"}


class Switch(StrictField[bool]):
    """A boolean in a query: ``1`` or ``true``, ``0`` or ``false``."""

    default_error_messages = {"invalid": "must be 1 or 0"}  # noqa: RUF012

    def read(self, value: object) -> bool:
        """Return what the text means."""
        if value not in ("1", "true", "0", "false"):
            raise self.make_error("invalid")
        return value in ("1", "true")

    def write(self, value: bool) -> object:  # noqa: FBT001  # the base's signature
        """Return the word for a default."""
        return "true" if value else "false"

    def shape(self) -> dict[str, Any]:
        """Return that of the four words."""
        return {"type": "string", "enum": ["1", "true", "0", "false"]}


class Instant(StrictField[datetime]):
    """An instant: relaxed RFC 3339 with an offset in, the shortest exact form out."""

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be an RFC 3339 date and time with an offset",
        "years": "is not within the years 1970 to 9999 (UTC)",
    }

    def read(self, value: object) -> datetime:
        """Return the instant in UTC, cut to microseconds."""
        if not isinstance(value, str):
            raise self.make_error("invalid")
        try:
            instant = parse_instant(value)
        except OverflowError:
            raise self.make_error("years") from None
        except ValueError:
            raise self.make_error("invalid") from None
        if not 0 <= to_micros(instant) <= MAX_INSTANT_US:
            raise self.make_error("years")
        return instant

    def write(self, value: datetime) -> str:
        """Return RFC 3339 text with 0, 3 or 6 digits of fraction."""
        return format_instant(value)

    def shape(self) -> dict[str, Any]:
        """Return that of RFC 3339 from 1970 on; a year has four digits there."""
        return {"type": "string", "format": "date-time", "pattern": FROM_1970}


class AnyJson(StrictField[object]):
    """Any JSON value; the keys of its objects leave in alphabetical order.

    The reference parses free JSON into a sorted map, so its clients see sorted keys.
    """

    def read(self, value: object) -> object:
        """Return the value as it is."""
        return value

    def write(self, value: object) -> object:
        """Return the value with sorted keys."""
        return with_sorted_keys(value)

    def shape(self) -> dict[str, Any]:
        """Return that of whatever the gate lets in."""
        return {"$ref": ANY_JSON_REF}


def with_sorted_keys(value: object) -> object:
    """Return a copy of a JSON value whose objects have their keys sorted."""
    if isinstance(value, dict):
        return {key: with_sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [with_sorted_keys(member) for member in value]
    return value


def parse_instant(text: str) -> datetime:
    """Return relaxed RFC 3339 text as an instant in UTC, cut to microseconds.

    Taken are ``T``, ``t`` or blanks between date and time, blanks between components,
    ``Z``, ``UTC``, ``+hh:mm`` or ``+hhmm``, and any number of digits of a fraction.

    Raises:
        ValueError: Another form, no offset, or no such date.
        OverflowError: A year that no instant of ours can have.
    """
    match = _INSTANT.fullmatch(text) if len(text) <= _LONGEST_INSTANT else None
    if match is None:
        raise ValueError("not an instant")
    year = int(match["year"])
    if not 1 <= year <= MAXYEAR:
        raise OverflowError("year out of range")
    micros = int((match["fraction"] or "").ljust(6, "0")[:6])
    local = datetime(
        year,
        month=int(match["month"]),
        day=int(match["day"]),
        hour=int(match["hour"]),
        minute=int(match["minute"]),
        second=int(match["second"]),
        microsecond=micros,
        tzinfo=_offset(match),
    )
    return local.astimezone(UTC)


def _offset(match: re.Match[str]) -> timezone:
    if match["zulu"]:
        return UTC
    hours, minutes = int(match["hours"]), int(match["minutes"])
    if minutes > 59:  # noqa: PLR2004  # an hour's last minute
        raise ValueError("not an offset")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if match["sign"] == "-" else offset)
