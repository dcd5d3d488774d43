"""Strict fields: a value of another JSON type is an error and is never converted.

marshmallow's own fields accept ``"true"``, ``1`` and ``"yes"`` as a boolean, and
``True`` and ``"5"`` as an integer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Any, TypeVar

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, pre_load
from marshmallow.fields import Field, List

from flask_forge_jobs.config.checks import near_match
from flask_forge_jobs.model.instants import MAX_INSTANT_US, format_instant, to_micros

T = TypeVar("T")
_I32 = (-(2**31), 2**31 - 1)
_U32 = (0, 2**32 - 1)
_LONGEST_INSTANT = 128
# Marks a second name of another field. The OpenAPI document leaves it out, because it
# cannot express that both names in a query must agree.
IS_ALIAS = "is_alias"
UNKNOWN_MESSAGE = "is not a known key"
# No string may hold NUL; ECMA patterns have no escape ``\\0``.
WITHOUT_NUL = r"^[^\u0000]*$"
# In every offset a day in 1970 or later.
FROM_1970 = r"^(19[7-9][0-9]|[2-9][0-9]{3})-"
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
    """Base of answers and of unversioned reads: unknown keys are ignored."""

    class Meta:
        """The value that marshmallow reads."""

        unknown = EXCLUDE

    error_messages = {"type": "must be an object"}  # noqa: RUF012  # marshmallow's way


class V1Schema(WireSchema):
    """Base of ``/v1`` requests and of all changes: unknown keys are errors.

    A misspelt condition would widen the change.
    """

    class Meta(WireSchema.Meta):
        """The value that marshmallow reads."""

        unknown = RAISE

    error_messages = {"unknown": UNKNOWN_MESSAGE}  # noqa: RUF012  # marshmallow's way

    @cached_property
    def known_keys(self) -> frozenset[str]:
        """The keys on the wire."""
        return frozenset(field.data_key or name for name, field in self.fields.items())

    @pre_load
    def keep_one_unknown_key(self, data: object, **_: Any) -> object:
        """Drop all unknown keys but the first.

        The answer names one fault, and a body may have a hundred thousand such keys.
        """
        if not isinstance(data, Mapping):
            return data
        unknown = [key for key in data if key not in self.known_keys]
        if len(unknown) < 2:  # noqa: PLR2004  # nothing to drop
            return data
        kept = self.known_keys | {unknown[0]}
        return {key: value for key, value in data.items() if key in kept}

    def handle_error(self, error: ValidationError, data: object, **_: Any) -> None:
        """Add the known key that an unknown one may stand for."""
        del data
        faults = error.messages
        if not isinstance(faults, dict):
            return
        for key, messages in faults.items():
            if messages == [UNKNOWN_MESSAGE]:
                messages[0] += near_match(str(key), sorted(self.known_keys))


class StrictField(Field[T]):
    """Base of our fields: :meth:`read` converts from the wire, :meth:`write` to it."""

    # The JSON Schema of the values that read() accepts. Bounds that a handler checks
    # are in the field's metadata.
    shape: Mapping[str, Any]
    default_error_messages = {  # noqa: RUF012  # marshmallow's way
        "required": "is required",
        "null": "must not be null",
        "invalid": "has the wrong type",
    }

    def read(self, value: object) -> T:
        """Convert a value from the wire to the model's type.

        Raises:
            ValidationError: It has another type or is out of range.
        """
        raise NotImplementedError

    def write(self, value: T) -> object:
        """Convert the model's value for the wire."""
        return value

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

    shape: Mapping[str, Any] = {"type": "string", "pattern": WITHOUT_NUL}
    default_error_messages = {"invalid": "must be text"}  # noqa: RUF012

    def read(self, value: object) -> str:
        """Return a string unchanged."""
        if not isinstance(value, str):
            raise self.make_error("invalid")
        return value


class WholeNumber(StrictField[int]):
    """A 32-bit JSON integer: not ``true``, not ``1.0``, not ``"1"``.

    ``is_signed=False`` means 0 to 2**32 - 1.
    """

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a whole number",
        "width": "is not within {low} to {high}",
    }

    def __init__(self, *, is_signed: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._low, self._high = low, high = _I32 if is_signed else _U32
        self.shape = {"type": "integer", "minimum": low, "maximum": high}

    def read(self, value: object) -> int:
        """Return an integer in range."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid")
        if not self._low <= value <= self._high:
            # The model's bounds may be narrower, as in the document.
            shape = {**self.shape, **self.metadata}
            raise self.make_error("width", low=shape["minimum"], high=shape["maximum"])
        return value


class Digits(StrictField[int]):
    """A number in a query: ASCII digits only, nine by default."""

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a whole number from 0 to {maximum}"
    }

    def __init__(self, *, maximum: int = 10**9 - 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._maximum = maximum
        self.shape = {"type": "integer", "minimum": 0, "maximum": maximum}

    def read(self, value: object) -> int:
        """Return the number."""
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            number = int(value)
            if number <= self._maximum:
                return number
        raise self.make_error("invalid", maximum=self._maximum)


class LargeNumber(StrictField[int]):
    """A whole number from 0 to 2**63 - 1, in answers only."""

    shape: Mapping[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}


class Fraction(StrictField[float]):
    """A JSON number; the wire form always has a fraction, input need not."""

    shape: Mapping[str, Any] = {"type": "number"}
    default_error_messages = {"invalid": "must be a number"}  # noqa: RUF012

    def read(self, value: object) -> float:
        """Return a number as a float."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        try:
            return float(value)
        except OverflowError:
            raise self.make_error("invalid") from None


class Flag(StrictField[bool]):
    """A JSON boolean."""

    shape: Mapping[str, Any] = {"type": "boolean"}
    default_error_messages = {"invalid": "must be true or false"}  # noqa: RUF012

    def read(self, value: object) -> bool:
        """Return a boolean unchanged."""
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Switch(StrictField[bool]):
    """A boolean in a query: ``1`` or ``true``, ``0`` or ``false``."""

    shape: Mapping[str, Any] = {"type": "string", "enum": ["1", "true", "0", "false"]}
    default_error_messages = {"invalid": "must be 1 or 0"}  # noqa: RUF012

    def read(self, value: object) -> bool:
        """Return the boolean that the word means."""
        if value not in ("1", "true", "0", "false"):
            raise self.make_error("invalid")
        return value in ("1", "true")

    def write(self, value: bool) -> object:  # noqa: FBT001  # the base's signature
        """Return the word of a boolean, for the default in the document."""
        return "true" if value else "false"


class Instant(StrictField[datetime]):
    """A time: relaxed RFC 3339 with an offset in, the shortest exact form out."""

    shape: Mapping[str, Any] = {
        "type": "string",
        "format": "date-time",
        "pattern": FROM_1970,
    }
    default_error_messages = {  # noqa: RUF012
        "invalid": "must be an RFC 3339 date and time with an offset",
        "years": "is not within the years 1970 to 9999 (UTC)",
    }

    def read(self, value: object) -> datetime:
        """Return the time in UTC, truncated to microseconds."""
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


class AnyJson(StrictField[object]):
    """Any JSON value; it is written with sorted keys.

    The reference parses free JSON into a sorted map, so its clients see sorted keys.
    """

    shape: Mapping[str, Any] = {"$ref": ANY_JSON_REF}

    def read(self, value: object) -> object:
        """Return the value unchanged."""
        return value

    def write(self, value: object) -> object:
        """Return the value with sorted keys."""
        return with_sorted_keys(value)


class Array(List[T]):
    """A JSON array in a request.

    Its length is checked before its items, and the first wrong item ends the check:
    a body has room for a million items, and the answer names one fault.

    Args:
        item: The field of each item.
        metadata: The bounds of the length, as :func:`.bounds.items` makes them.
    """

    default_error_messages = {  # noqa: RUF012
        "required": "is required",
        "null": "must not be null",
        "invalid": "must be an array",
        "length": "has {count} entries, not {low} to {high}",
    }

    def __init__(
        self, item: Field[T], *, metadata: Mapping[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(item, metadata=metadata, **kwargs)
        self._low, self._high = metadata["minItems"], metadata["maxItems"]

    def checked(self, value: object) -> list[object]:
        """Return an array of the right length; others raise ValidationError."""
        if not isinstance(value, list):
            raise self.make_error("invalid")
        if not self._low <= len(value) <= self._high:
            raise self.make_error(
                "length", count=len(value), low=self._low, high=self._high
            )
        return value

    def _deserialize(
        self,
        value: object,
        attr: str | None,  # noqa: ARG002  # marshmallow's signature
        data: Mapping[str, Any] | None,  # noqa: ARG002
        **kwargs: Any,
    ) -> list[T | None]:
        items: list[T | None] = []
        for index, each in enumerate(self.checked(value)):
            try:
                items.append(self.inner.deserialize(each, **kwargs))
            except ValidationError as error:
                raise ValidationError({index: error.messages}) from error
        return items


def with_sorted_keys(value: object) -> object:
    """Return a copy of a JSON value whose objects have their keys sorted."""
    if isinstance(value, dict):
        return {key: with_sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [with_sorted_keys(member) for member in value]
    return value


def parse_instant(text: str) -> datetime:
    """Return relaxed RFC 3339 text as a time in UTC, truncated to microseconds.

    It accepts ``T``, ``t`` or blanks between date and time, blanks between components,
    ``Z``, ``UTC``, ``+hh:mm`` or ``+hhmm``, and any number of fractional digits.

    Raises:
        ValueError: Another form, no offset, or no such date.
        OverflowError: The year is out of range.
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
