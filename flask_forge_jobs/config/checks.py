"""Checks for settings, environment variables and parts of a URL.

Each function returns a check, with its accepted values in words, as reStructuredText,
for the reference page. No message repeats a value, which may be a secret.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from flask_forge_jobs.errors import InvalidInputError


class RefusedError(Exception):
    """A value is not accepted; the message does not contain it."""


class Check(NamedTuple):
    """A rule for a value."""

    read: Callable[[object], Any]
    words: str

    def of(self, field: str, value: object) -> Any:
        """Return the accepted value, or raise InvalidInputError for the field."""
        try:
            return self.read(value)
        except RefusedError as error:
            raise InvalidInputError(field, str(error)) from None


_NEAR_PREFIX = re.compile("FORGE_?JOBS?_?")
# A longer name is no slip of the pen, and comparing it takes long.
_LONGEST_TYPO = 64
_CLOSE, _CLOSER = 0.6, 0.7
# A prefix becomes part of URLs and routes; other characters would change their meaning.
_URL_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
# As browsers write it, because an origin is compared as text.
_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
# Kubernetes sets these in every pod for a Service such as forge-jobs-web.
_SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)=.*"
    r"|\w+_PORT=(tcp|udp|sctp)://.*"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_service_link(name: str, value: object) -> bool:
    """Return whether a variable is an address that Kubernetes gives to each pod."""
    return _SERVICE_LINK.fullmatch(f"{name}={value}") is not None


def _accept(
    is_accepted: Callable[[Any], bool],
    refusal: str,
    words: str,
    made: Callable[[Any], object] | None = None,
) -> Check:
    def read(value: object) -> object:
        if not is_accepted(value):
            raise RefusedError(refusal)
        return value if made is None else made(value)

    return Check(read, words)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _holds(value: object, is_member: Callable[[Any], bool]) -> bool:
    # No other sequences: text would become a list of its characters.
    return isinstance(value, list | tuple) and all(map(is_member, value))


def _is_link(value: object) -> bool:
    if not isinstance(value, str) or re.search(r"[\x00-\x20\"<>\\]", value):
        return False
    if re.match(r"https?://[^/]", value):
        return True
    # Relative: no other host, and no scheme such as javascript.
    first = value.partition("/")[0]
    return value != "" and not value.startswith("//") and ":" not in first


def integer(low: int, high: int) -> Check:
    """Accept whole numbers within the bounds, but no booleans."""
    return _accept(
        lambda value: _is_number(value, int) and low <= value <= high,
        f"must be a whole number from {low} to {high}",
        f"whole number, {low} to {high}",
    )


def seconds(low: float, high: float) -> Check:
    """Accept numbers of seconds within the bounds."""
    return _accept(
        lambda value: _is_number(value, int, float) and low <= value <= high,
        f"must be a number of seconds from {low:g} to {high:g}",
        f"number, {low:g} to {high:g}",
        float,
    )


def or_none(check: Check) -> Check:
    """Accept what a check does, and None."""

    def read(value: object) -> Any:
        try:
            return None if value is None else check.read(value)
        except RefusedError as error:
            raise RefusedError(f"{error}, or None") from None

    return Check(read, f"{check.words}, or None")


def near_match(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ``; did you mean …`` with the closest known name, or an empty text.

    A prefix of all would make each of them a near one; the words behind it, such as
    ``URL``, are often the same.
    """
    if len(name) > _LONGEST_TYPO:
        return ""
    words = [each.removeprefix(prefix) for each in known]
    cutoff = _CLOSER if prefix else _CLOSE
    close = difflib.get_close_matches(name.removeprefix(prefix), words, 1, cutoff)
    return f"; did you mean {prefix + close[0]!r}" if close else ""


def with_prefix(prefix: str, name: str, known: Container[str]) -> str | None:
    """Return the known name that a name with a misspelt prefix means, or None."""
    match = _NEAR_PREFIX.match(name)
    meant = prefix + name[match.end() :] if match else name
    return meant if meant != name and meant in known else None


def one_of(*known: str) -> Check:
    """Accept the given words."""

    def read(value: object) -> object:
        if value not in known:
            hint = near_match(value, known) if isinstance(value, str) else ""
            raise RefusedError(f"must be one of {', '.join(known)}{hint}")
        return value

    return Check(read, " or ".join(f"``{word!r}``" for word in known))


BOOLEAN = _accept(
    lambda value: isinstance(value, bool), "must be True or False", "True or False"
)
TEXT = _accept(
    lambda value: isinstance(value, str) and value != "" and not CONTROL.search(value),
    "must be non-empty text without control characters",
    "text",
)
FILE_OR_NONE = _accept(
    lambda value: (
        value is None
        or (isinstance(value, str | os.PathLike) and bool(os.fspath(value)))
    ),
    "must be a path or None",
    "a path, or None",
    lambda value: None if value is None else Path(os.fsdecode(value)),
)
URL_PREFIX = _accept(
    lambda value: (
        isinstance(value, str)
        and (value == "/" or _URL_PREFIX.fullmatch(value) is not None)
    ),
    "must be '' or segments that each start with a slash",
    "a path such as ``/forge-jobs``, or ``''`` for the root",
    lambda value: "" if value == "/" else value,
)
AUTHENTICATOR = _accept(
    lambda value: value is None or value == "bearer" or callable(value),
    "must be 'bearer', a callable that takes the request, or None",
    "``'bearer'``, a callable, or None",
)
CALLABLE_OR_NONE = _accept(
    lambda value: value is None or callable(value),
    "must be a callable or None",
    "a callable, or None",
)
ENTRIES = _accept(
    lambda value: _holds(value, lambda entry: isinstance(entry, dict)),
    "must be a list of mappings",
    "a list of mappings",
    tuple,
)
NAMES = _accept(
    lambda value: _holds(value, lambda name: isinstance(name, str) and bool(name)),
    "must be a list of non-empty texts",
    "a list of texts",
    tuple,
)
# As long as a random token; a short or even text can be guessed without a request.
MIN_SECRET_CHARACTERS = 32
_MIN_DIFFERENT = 8
SECRETS = _accept(
    lambda value: _holds(
        value,
        lambda each: (
            isinstance(each, str)
            and len(each) >= MIN_SECRET_CHARACTERS
            and len(set(each)) >= _MIN_DIFFERENT
        ),
    ),
    f"must be a list of random texts of at least {MIN_SECRET_CHARACTERS} characters; "
    "make one with `python -c 'import secrets; print(secrets.token_urlsafe())'`",
    f"a list of texts of at least {MIN_SECRET_CHARACTERS} characters",
    tuple,
)
# Web origins, but neither * nor null.
ORIGINS = _accept(
    lambda value: _holds(
        value,
        lambda each: isinstance(each, str) and _ORIGIN.fullmatch(each) is not None,
    ),
    "must be a list of origins such as 'https://ops.example.org', in lower case and "
    "without a path",
    "a list of origins",
    tuple,
)
LINK_OR_NONE = _accept(
    lambda value: value is None or _is_link(value),
    "must be an http or https address, a path on this host, or None",
    "an address, or None",
)
LINKS = _accept(
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(name, str) and name for name in value)
        and all(map(_is_link, value.values()))
    ),
    "must be a mapping of text to http or https addresses or paths on this host",
    "a mapping of text to addresses",
    dict,
)
TEXTS_BY_NAME = _accept(
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(part, str) for pair in value.items() for part in pair)
    ),
    "must be a mapping of text to text",
    "a mapping of text to text",
    dict,
)
