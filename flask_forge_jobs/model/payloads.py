"""The one strict JSON gate, for HTTP and Python, the same on both backends.

What passes is stored as the canonical text we produce: ASCII, compact, keys in the
caller's order, never NaN. What the two databases would treat differently (NUL, lone
surrogates, infinities, duplicate keys, endless depth) is refused at the border with the
path of the value; see ``spec/reliability.md`` 3.0.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from flask_forge_jobs.errors import InvalidInputError

MAX_DEPTH = 64
# Python itself refuses to parse longer integers; printing one takes quadratic time.
MAX_INTEGER_DIGITS = 4300
_INTEGER_LIMIT = 10**MAX_INTEGER_DIGITS

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_PLAIN = frozenset({str, int, float, bool, type(None)})


# -- from bytes ------------------------------------------------------------------------


def load(data: bytes, field: str = "json") -> object:
    """Parse a JSON document strictly.

    Args:
        data: UTF-8 without a byte order mark.
        field: Name used in the error.

    Returns:
        The value; objects keep the order of their keys.

    Raises:
        InvalidInputError: Not UTF-8, not one JSON document, nested deeper than 64, with
            a repeated key, a number that is not finite or has more than 4,300 digits, a
            NUL character, or half of a surrogate pair.
    """
    _check_depth(data, field)

    def refuse_constant(name: str) -> NoReturn:
        raise InvalidInputError(field, f"{name} is not a JSON number")

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise InvalidInputError(field, f"{text[:32]} is too large a number")
        return number

    def integer(text: str) -> int:
        if len(text) > MAX_INTEGER_DIGITS:
            raise InvalidInputError(
                field, f"an integer has more than {MAX_INTEGER_DIGITS} digits"
            )
        return int(text)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise InvalidInputError(field, "an object repeats a key")
        return found

    try:
        text = data.decode("utf-8")
        if text.startswith("\ufeff"):
            raise InvalidInputError(field, "starts with a byte order mark")
        value: object = json.loads(
            text,
            parse_constant=refuse_constant,
            parse_float=finite,
            parse_int=integer,
            object_pairs_hook=unique,
        )
    except UnicodeDecodeError:
        raise InvalidInputError(field, "is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            field, f"is not JSON: {error.msg} at character {error.pos}"
        ) from None
    if "\\u" in text or "\x00" in text:
        # Only an escape can smuggle in what UTF-8 itself cannot hold.
        _check(value, field, 0, ())
    return value


def _check_depth(data: bytes, field: str) -> None:
    """Refuse deep nesting before a recursive parser sees it."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidInputError(field, f"is nested deeper than {MAX_DEPTH}")
        elif token in (b"]", b"}"):
            depth -= 1


# -- from Python -----------------------------------------------------------------------


def dump(value: object, field: str = "payload", max_bytes: int | None = None) -> str:
    """Return the canonical JSON text of a value.

    Dicts with text keys, lists, tuples (as arrays), text, whole and finite numbers,
    booleans and None are accepted; their subclasses are not, because what comes back
    would be something else.

    Args:
        value: Anything.
        field: Start of the path in an error, such as ``payload.items[3].at``.
        max_bytes: Longest text; None does not limit it.

    Raises:
        InvalidInputError: A value is none of the above, refers to itself, is nested
            deeper than 64, is not finite, or holds a NUL character or half of a
            surrogate pair; or the text is too long.
    """
    if not _is_flat(value):
        _check(value, field, 0, ())
    text = _encode(value)
    if max_bytes is not None and len(text) > max_bytes:
        raise InvalidInputError(field, f"{len(text)} bytes of JSON exceed {max_bytes}")
    return text


def _is_flat(value: object) -> bool:
    """Whether a value is an object of plain values, by far the most common case."""
    if type(value) is not dict:
        return False
    for key, item in value.items():
        if type(key) is not str or "\x00" in key or not key.isascii():
            return False
        kind = type(item)
        if kind is str:
            if not item.isascii() or "\x00" in item:
                return False
        elif kind is int:
            if not -(2**63) <= item < 2**63:
                return False
        elif kind is float:
            if not math.isfinite(item):
                return False
        elif kind not in _PLAIN:
            return False
    return True


def _check(value: object, path: str, depth: int, parents: tuple[int, ...]) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value, path)  # type: ignore[arg-type]  # its type was just tested
    elif kind is int:
        if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:  # type: ignore[operator]  # an int
            raise InvalidInputError(path, f"has more than {MAX_INTEGER_DIGITS} digits")
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # a float
            raise InvalidInputError(path, f"{value!r} is not a JSON number")
    elif kind in (dict, list, tuple):
        _check_container(value, path, depth + 1, parents)
    elif kind not in _PLAIN:
        raise InvalidInputError(path, f"a {kind.__qualname__} is not JSON")


def _check_container(
    value: Any, path: str, depth: int, parents: tuple[int, ...]
) -> None:
    if id(value) in parents:
        raise InvalidInputError(path, "refers to itself")
    if depth > MAX_DEPTH:
        raise InvalidInputError(path, f"is nested deeper than {MAX_DEPTH}")
    parents = (*parents, id(value))
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidInputError(path, f"the key {key!r} is not text")
            _check_text(key, path)
            _check(item, f"{path}.{key}", depth, parents)
    else:
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth, parents)


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise InvalidInputError(path, "holds a NUL character")
    if not text.isascii() and _SURROGATE.search(text):
        raise InvalidInputError(path, "holds half of a surrogate pair")
