"""What the values of an application's keys must be.

Each function returns a check and the accepted values in words, so that the reference
page says what the check does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from flask_forge_jobs.config.urls import parse_url
from flask_forge_jobs.errors import InvalidInputError

Check = Callable[[object], object]
"""Returns the accepted value, or raises :class:`RefusedError`."""


class RefusedError(Exception):
    """A value does not pass; the message holds no part of the value."""


# A prefix is put into URLs and routes as it is; these would change their meaning.
_URL_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
# As a browser writes it; anything else would never match.
_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)


def integer(low: int, high: int) -> tuple[Check, str]:
    """Accept whole numbers within the bounds; ``True`` is none."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise RefusedError("must be a whole number")
        if not low <= value <= high:
            raise RefusedError(f"must be from {low} to {high}")
        return value

    return check, f"whole number, {low} to {high}"


def seconds(low: float, high: float) -> tuple[Check, str]:
    """Accept numbers within the bounds, in seconds."""

    def check(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise RefusedError("must be a number of seconds")
        # Written so that a NaN is refused as well.
        if not low <= value <= high:
            raise RefusedError(f"must be from {low:g} to {high:g} seconds")
        return float(value)

    return check, f"number, {low:g} to {high:g}"


def boolean() -> tuple[Check, str]:
    """Accept nothing but True and False."""

    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise RefusedError("must be True or False")
        return value

    return check, "True or False"


def one_of(*words: str) -> tuple[Check, str]:
    """Accept the given words, as they are written."""

    def check(value: object) -> object:
        if value not in words:
            raise RefusedError(f"must be one of {', '.join(map(repr, words))}")
        return value

    return check, " or ".join(map(repr, words))


def url_or_none(*, backend: str | None = None) -> tuple[Check, str]:
    """Accept a database URL, of one backend if given, or None."""

    def check(value: object) -> object:
        if value is None:
            return None
        try:
            location = parse_url(value, Path())
        except InvalidInputError as error:
            raise RefusedError(error.message) from None
        if backend is not None and location["backend"] != backend:
            raise RefusedError("must start with postgresql://")
        return value

    kinds = "a postgresql:// URL" if backend else "a sqlite:/// or postgresql:// URL"
    return check, f"{kinds}, or None"


def file_or_none() -> tuple[Check, str]:
    """Accept a path or None."""

    def check(value: object) -> Path | None:
        if value is None:
            return None
        if not isinstance(value, str | os.PathLike) or not os.fspath(value):
            raise RefusedError("must be a path or None")
        return Path(os.fsdecode(value))

    return check, "a path, or None"


def url_prefix() -> tuple[Check, str]:
    """Accept ``/`` or a path without a slash at its end."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise RefusedError("must be text")
        prefix = "" if value == "/" else value
        if not _URL_PREFIX.fullmatch(prefix):
            raise RefusedError("must be '' or segments that each start with a slash")
        return prefix

    return check, "a path such as /forge-jobs, or '' for the root"


def authenticator() -> tuple[Check, str]:
    """Accept ``"bearer"``, a callable or None."""

    def check(value: object) -> object:
        if value is not None and value != "bearer" and not callable(value):
            raise RefusedError(
                "must be 'bearer', a callable that takes the request, or None"
            )
        return value

    return check, "``'bearer'``, a callable, or None"


def entries() -> tuple[Check, str]:
    """Accept a list of mappings."""

    def check(value: object) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise RefusedError("must be a list of mappings")
        if not all(isinstance(entry, dict) for entry in value):
            raise RefusedError("must hold only mappings")
        return tuple(value)

    return check, "a list of mappings"


def callable_or_none() -> tuple[Check, str]:
    """Accept a callable or None."""

    def check(value: object) -> object:
        if value is not None and not callable(value):
            raise RefusedError("must be a callable that takes the request, or None")
        return value

    return check, "a callable, or None"


def names() -> tuple[Check, str]:
    """Accept a list of texts."""

    def check(value: object) -> tuple[str, ...]:
        # Text is a sequence of texts too; "token" must not become five keys.
        if not isinstance(value, list | tuple):
            raise RefusedError("must be a list of texts")
        if not all(isinstance(name, str) and name for name in value):
            raise RefusedError("must hold only texts that are not empty")
        return tuple(value)

    return check, "a list of texts"


def origins() -> tuple[Check, str]:
    """Accept a list of web origins, never ``*`` and never ``null``."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise RefusedError("must be a list of origins")
        for origin in value:
            if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
                raise RefusedError(
                    "must hold only origins such as 'https://ops.example.org', in "
                    "lower case and without a path"
                )
        return tuple(value)

    return check, "a list of origins"


def texts_by_name() -> tuple[Check, str]:
    """Accept a mapping of text to text."""

    def check(value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise RefusedError("must be a mapping")
        if not all(isinstance(part, str) for pair in value.items() for part in pair):
            raise RefusedError("must hold only texts")
        return dict(value)

    return check, "a mapping of text to text"
