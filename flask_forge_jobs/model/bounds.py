"""Checks of values from HTTP and Python, those of a new job's fields among them.

A check returns the value or raises :class:`InvalidInputError`, which names the field
and the bound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Self

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import MAX_INSTANT_US, NOT_IN_YEARS, to_micros

NAME_LENGTH = 128
# Size of the caches: a producer of many jobs checks each name only once.
_KNOWN_NAMES = 1024
# A comma would split the joined list of a worker's queues; the others do not survive in
# a path segment.
_FORBIDDEN_IN_QUEUE_NAME = re.compile(r"[,/?#%\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Invisible characters, and those that change the direction of text: Unicode's default
# ignorable ones, and the marks of direction and annotation.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
JOB_ID_PATTERN = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_JOB_ID = re.compile(JOB_ID_PATTERN)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHOWN_LENGTH = 80
# Of the path to a value in an error. Each item of a container copies that of the
# container, whose keys a client chooses.
LONGEST_PATH = 1000
_VOWELS = frozenset("aeio")
# Python refuses to print integers of thousands of digits.
_SHOWN_BITS = 256
DEFAULT_QUEUE = "default"
DEFAULT_MAX_ATTEMPTS = 5
MAX_ATTEMPTS_RANGE = (1, 1000)
PRIORITY_RANGE = (-(2**31), 2**31 - 1)
DEDUPE_KEY_LENGTH = 255
_DEDUPE_FOR_RANGE = (timedelta(milliseconds=1), timedelta(days=365))
REPLACEABLE = ("payload", "run_at")
_NEEDS_A_KEY = "needs a dedupe_key or dedupe_by_args"
MAX_PAYLOAD_BYTES = 1_048_576
DELAY_RANGE_S = (0, 86_400 * 36_500)
TIMEOUT_RANGE_S = (0.001, 86_400.0 * 365)


class Choice(StrEnum):
    """Texts of which a value is one."""

    @classmethod
    def parse(cls, value: object, field_name: str) -> Self:
        """Return the member of a text, or raise :class:`InvalidInputError`."""
        try:
            return cls(value)  # type: ignore[arg-type]  # the constructor decides
        except ValueError:
            raise InvalidInputError(
                field_name, f"{shown(value)} is not one of {', '.join(cls)}"
            ) from None


def shown(value: object) -> str:
    """Return a refused value for an error message, without running its own code.

    Text and numbers are shown, up to 80 characters. Anything else is shown by its type:
    its ``repr`` may be endless, fail, or hold a secret.
    """
    if type(value) is str:
        return repr(value[:_SHOWN_LENGTH])
    if type(value) is int and value.bit_length() > _SHOWN_BITS:
        return "a number of over 77 digits"
    if type(value) in (int, float, bool, type(None)):
        return repr(value)
    return with_article(type(value).__qualname__)


def with_article(noun: str) -> str:
    """Return a noun, such as the name of a type, with "a" or "an"."""
    return f"{'an' if noun[:1].lower() in _VOWELS else 'a'} {noun}"


def check_integer(field: str, value: object, low: int, high: int) -> int:
    """Return a whole number within the bounds; ``True`` is no number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInputError(field, f"{shown(value)} is not a whole number")
    if not low <= value <= high:
        raise InvalidInputError(field, f"{shown(value)} is not within {low} to {high}")
    return value


def check_seconds(field: str, value: object, low: float, high: float) -> float:
    """Return a number of seconds within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(field, f"{shown(value)} is not a number")
    if not low <= value <= high:
        raise InvalidInputError(field, f"{shown(value)} is not within {low} to {high}")
    return value


def check_text(field: str, value: object, longest: int) -> str:
    """Return text of 1 to ``longest`` characters that both databases can store.

    They cannot store NUL characters or halves of surrogate pairs.
    """
    if not isinstance(value, str):
        raise InvalidInputError(field, f"{shown(value)} is not text")
    if not 1 <= len(value) <= longest:
        raise InvalidInputError(
            field, f"must have 1 to {longest} characters, not {len(value)}"
        )
    if "\x00" in value or _SURROGATE.search(value):
        raise InvalidInputError(
            field, "contains a NUL character or half of a surrogate pair"
        )
    return value


def check_job_id(value: object, field: str = "job_id") -> str:
    """Return the id of a job or a batch, a ULID."""
    if not isinstance(value, str) or not _JOB_ID.fullmatch(value):
        noun = "job" if field in ("job_id", "after") else "batch"
        raise InvalidInputError(field, f"{shown(value)} is not the id of a {noun}")
    return value


def check_queue_name(value: object, field: str = "queue_name") -> str:
    """Return the name of a queue, 1 to 128 characters.

    It has no space at either end, none of ``, / ? # %``, no ``..``, no control
    character, none that is invisible or changes the direction of text, is not ``.``,
    and is in Unicode's form NFC.
    """
    # The cache needs a hashable value; check_text refuses other types than text.
    name = value if isinstance(value, str) else check_text(field, value, NAME_LENGTH)
    return _queue_name(name, field)


@lru_cache(_KNOWN_NAMES)
def _queue_name(value: str, field: str) -> str:
    name = check_text(field, value, NAME_LENGTH)
    if name != name.strip():
        raise InvalidInputError(field, f"{name!r} has a space at its start or end")
    forbidden = _FORBIDDEN_IN_QUEUE_NAME.search(name)
    if forbidden:
        raise InvalidInputError(field, f"{name!r} contains {forbidden[0]!r}")
    if name == "." or ".." in name:
        # Clients and proxies resolve them before they send a path.
        raise InvalidInputError(field, f"{name!r} is '.' or contains '..'")
    return _distinct(name, field)


def _distinct(name: str, field: str) -> str:
    """Refuse a name that looks like another one."""
    unseen = _UNSEEN.search(name)
    if unseen:
        raise InvalidInputError(field, f"{name!a} contains the invisible {unseen[0]!a}")
    if not unicodedata.is_normalized("NFC", name):
        raise InvalidInputError(field, f"{name!a} is not in Unicode's form NFC")
    return name


def check_kind(value: object, field: str = "kind") -> str:
    """Return the name of a kind of job: 1 to 128 characters in Unicode's form NFC.

    It is not blank, and without control, invisible or direction-changing characters.
    """
    kind = value if isinstance(value, str) else check_text(field, value, NAME_LENGTH)
    return _kind(kind, field)


@lru_cache(_KNOWN_NAMES)
def _kind(value: str, field: str) -> str:
    kind = check_text(field, value, NAME_LENGTH)
    if not kind.strip():
        raise InvalidInputError(field, "must not be blank")
    if _CONTROL.search(kind):
        raise InvalidInputError(field, f"{kind!r} contains a control character")
    return _distinct(kind, field)


def check_payload_size(payload: str) -> None:
    """Check that canonical JSON text is at most 1 MiB long."""
    size = len(payload)  # ASCII, so characters are bytes
    if size > MAX_PAYLOAD_BYTES:
        raise InvalidInputError(
            "payload", f"{size} bytes of JSON exceed {MAX_PAYLOAD_BYTES}"
        )


def check_dedupe_for(dedupe_for: object, dedupe_key: str | None) -> None:
    """Check the window of a dedupe key: a timedelta of 1 ms to 365 days."""
    if not isinstance(dedupe_for, timedelta):
        raise InvalidInputError("dedupe_for", f"{shown(dedupe_for)} is not a timedelta")
    low, high = _DEDUPE_FOR_RANGE
    if not low <= dedupe_for <= high:
        raise InvalidInputError("dedupe_for", f"is not within {low} to {high}")
    if dedupe_key is None:
        raise InvalidInputError("dedupe_for", _NEEDS_A_KEY)


def checked_replace(replace: object, dedupe_key: str | None) -> tuple[str, ...]:
    """Return which of :data:`REPLACEABLE` to replace, each once."""
    names = (replace,) if isinstance(replace, str) else replace
    if not isinstance(names, Collection):
        raise InvalidInputError("replace", f"{shown(replace)} is not a list of names")
    for name in names:
        if name not in REPLACEABLE:
            raise InvalidInputError(
                "replace", f"{shown(name)} is not one of {', '.join(REPLACEABLE)}"
            )
    if names and dedupe_key is None:
        raise InvalidInputError("replace", _NEEDS_A_KEY)
    return tuple(name for name in REPLACEABLE if name in names)


def check_run_at(run_at: object) -> None:
    """Check a start time: with a time zone, in the years 1970 to 9999."""
    if not isinstance(run_at, datetime):
        raise InvalidInputError("run_at", f"{shown(run_at)} is not a datetime")
    if run_at.utcoffset() is None:
        raise InvalidInputError("run_at", "has no time zone; pass an aware datetime")
    if not 0 <= to_micros(run_at) <= MAX_INSTANT_US:
        raise InvalidInputError("run_at", NOT_IN_YEARS)


def checked_delay(delay: object, run_at: object) -> timedelta:
    """Return a delay, given in seconds or as a timedelta: 0 to 36,500 days."""
    if run_at is not None:
        raise InvalidInputError("delay", "cannot be combined with run_at")
    if isinstance(delay, bool) or not isinstance(delay, int | float | timedelta):
        raise InvalidInputError(
            "delay", f"{shown(delay)} is neither seconds nor a timedelta"
        )
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    low, high = DELAY_RANGE_S
    if not low <= delay <= high:
        raise InvalidInputError(
            "delay", f"{shown(delay)} is not within {low} to {high} seconds"
        )
    return timedelta(seconds=delay)


def check_timeout(timeout_s: object) -> None:
    """Check a time limit: 1 ms to 365 days."""
    check_seconds("timeout_s", timeout_s, *TIMEOUT_RANGE_S)
