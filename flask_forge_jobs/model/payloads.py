"""Payloads: the strict JSON gate for HTTP and Python, and the search for a text.

Accepted values are stored as canonical text: ASCII, compact, keys in the caller's
order, never NaN. Values that the databases would treat differently (NUL, lone
surrogates, infinities, duplicate keys, extreme depth) are refused with their path.

Every enqueue runs through here, so a cheap check recognises good values; only bad ones
are walked a second time, to find the place.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from itertools import accumulate
from typing import Any, NoReturn

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import LONGEST_PATH, with_article
from flask_forge_jobs.model.encoding import pieces_of

MAX_DEPTH = 64
# Python refuses to parse longer integers; printing one takes quadratic time.
MAX_INTEGER_DIGITS = 4300
# A list that repeats another list is small in memory but huge as text, so walks stop
# here: a value takes at least two bytes with its comma, so 1 MiB holds no more.
MAX_VALUES = 524_288

_INTEGER_LIMIT = 10**MAX_INTEGER_DIGITS
_SCALARS = frozenset({str, int, float, bool, type(None)})
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[^\W\d]\w{0,63}", re.ASCII)
# A string left open at the end counts as one; otherwise the pattern would start again
# at every escaped quote, in quadratic time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# Removing 300,000 strings at once makes as many fragments; a piece has at most 4,096.
_PIECE = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+"?){1,4096}+', re.DOTALL)
_NOT_A_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


# -- from bytes ------------------------------------------------------------------------


class _RefusedError(ValueError):
    """Raised by hooks of the parser, which do not know the caller's field."""


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(f"{text[:32]} is too large")
    return number


def _short_integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise _RefusedError(f"an integer has more than {MAX_INTEGER_DIGITS} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RefusedError("an object repeats a key")
    return members


_HOOKS: Any = {
    "parse_constant": _refuse_constant,
    "parse_float": _finite,
    "object_pairs_hook": _unique,
}
_parse = json.JSONDecoder(**_HOOKS).decode
_parse_short = json.JSONDecoder(**_HOOKS, parse_int=_short_integer).decode
_parse_stored = json.JSONDecoder(parse_constant=_refuse_constant).decode


def load(
    data: bytes,
    field: str = "json",
    *,
    max_depth: int = MAX_DEPTH,
    max_containers: int | None = None,
) -> object:
    """Parse a JSON document strictly; objects keep the order of their keys.

    Refuses what is not UTF-8 without a byte order mark, not one document, too deep, or
    has a repeated key, a number that is not finite or longer than 4,300 digits, a NUL
    character, half of a surrogate pair, or too many objects and arrays.
    """
    _check_brackets(data, field, max_depth, max_containers)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(field, "is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise InvalidInputError(field, "starts with a byte order mark")
    is_ours = sys.get_int_max_str_digits() == MAX_INTEGER_DIGITS
    value = _parsed(_parse if is_ours else _parse_short, text, field)
    if "\\u" in text:
        # Only escapes can express characters that UTF-8 cannot.
        _explain(value, field, max_depth)
    return value


def load_text(text: str, field: str = "payload") -> object:
    """Parse a stored payload, written by :func:`dump`; it may be damaged."""
    return _parsed(_parse_stored, text, field)


def _parsed(parse: Any, text: str, field: str) -> object:
    try:
        value: object = parse(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            field, f"is not JSON: {error.msg} at character {error.pos}"
        ) from None
    except _RefusedError as error:
        raise InvalidInputError(field, str(error)) from None
    except ValueError:
        message = f"an integer has more than {sys.get_int_max_str_digits()} digits"
        raise InvalidInputError(field, message) from None
    except RecursionError:
        raise InvalidInputError(field, "is nested too deep") from None
    return value


def _check_brackets(
    data: bytes, field: str, max_depth: int, max_containers: int | None
) -> None:
    """Check depth and number of containers before the recursive parser makes them."""
    if data.count(b"[") + data.count(b"{") <= max_depth:
        return
    steps = b"".join(
        _STRING.sub(b"", piece[0]).translate(_STEPS, _NOT_A_BRACKET)
        for piece in _PIECE.finditer(data)
    )
    # An opening bracket is the byte 1; a closing one 255, which is -1 if signed.
    if max_containers is not None and steps.count(1) > max_containers:
        raise InvalidInputError(field, f"has over {max_containers} objects and arrays")
    if max(accumulate(memoryview(steps).cast("b")), default=0) > max_depth:
        raise InvalidInputError(field, f"is nested deeper than {max_depth}")


# -- from Python -----------------------------------------------------------------------

_encode_ordered = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def dump(value: object, field: str = "payload", max_bytes: int | None = None) -> str:
    """Return the canonical JSON text of a value.

    Accepts dicts with text keys, lists, tuples (as arrays), text, whole and finite
    numbers, booleans and None. It refuses subclasses, which would not come back as what
    they were, and what :func:`load` refuses; also values that refer to themselves and
    texts over ``max_bytes``. ``field`` starts the path in errors, such as
    ``payload.items[3].at``.
    """
    try:
        if not _has_plain_shape(value):
            _explain(value, field)
        text = "".join(pieces_of(value, 0))
    except InvalidInputError:
        raise
    except ValueError:
        # Not finite, or an integer that Python refuses to print.
        _explain(value, field)
        raise InvalidInputError(
            field, "contains a number that cannot be stored"
        ) from None
    except RecursionError:
        raise InvalidInputError(field, "the call stack is exhausted") from None
    except RuntimeError:
        raise InvalidInputError(field, "was changed by another thread") from None
    may_hold_a_long_integer = len(text) > MAX_INTEGER_DIGITS and _is_limit_lifted()
    if "\\u0000" in text or "\\ud" in text or may_hold_a_long_integer:
        _explain(value, field)
    if max_bytes is not None and len(text) > max_bytes:
        raise InvalidInputError(field, f"{len(text)} bytes of JSON exceed {max_bytes}")
    return text


def canonical(payload: object, field: str = "payload") -> str:
    """Return canonical JSON text of a value; a string counts as JSON text itself."""
    if not isinstance(payload, str):
        return dump(payload, field)
    try:
        data = payload.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(field, "contains half of a surrogate pair") from None
    return dump(load(data, field), field)


def fingerprint(payload: str) -> str:
    """Return a digest of canonical JSON text, the same for equal payloads.

    The order of keys does not count; ``1``, ``1.0`` and ``true`` differ.
    """
    ordered = _encode_ordered(load_text(payload))
    return hashlib.sha256(ordered.encode("ascii")).hexdigest()


def _is_limit_lifted() -> bool:
    """Whether the application lets Python print longer integers than usual."""
    return not 0 < sys.get_int_max_str_digits() <= MAX_INTEGER_DIGITS


def _has_plain_shape(value: object) -> bool:
    """Whether a value has accepted types only, and is neither too deep nor too large.

    Goes level by level: that needs no path and no stack, and counts the depth.
    """
    if type(value) in _SCALARS:
        return True
    level: list[Any] = [value]
    seen = 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            kind = type(container)
            if kind is dict:
                for key in container:
                    if type(key) is not str:
                        return False
                items = container.values()
            elif kind is list or kind is tuple:
                items = container
            else:
                return False
            seen += len(container)
            if seen > MAX_VALUES:
                return False
            # Fast path: no nested containers.
            if not _SCALARS.issuperset(map(type, items)):
                below += [item for item in items if type(item) not in _SCALARS]
        if not below:
            return True
        level = below
    return False


def _explain(value: object, field: str, max_depth: int = MAX_DEPTH) -> None:
    """Raise an error that names the first bad value; return if there is none."""
    _Walk(max_depth).visit(value, field, 0)


class _Walk:
    """A thorough check of a value that knows the path to each part."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._above: set[int] = set()
        self._seen = 0

    def visit(self, value: Any, path: str, depth: int) -> None:
        """Check a value and everything below it."""
        kind = type(value)
        if kind is str:
            _check_text(value, path)
        elif kind is int:
            if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
                raise InvalidInputError(
                    path, f"has more than {MAX_INTEGER_DIGITS} digits"
                )
        elif kind is float:
            if not math.isfinite(value):
                raise InvalidInputError(path, f"{value!r} is not a JSON number")
        elif kind is dict or kind is list or kind is tuple:
            self._enter(value, path[:LONGEST_PATH], depth + 1)
        elif kind not in _SCALARS:
            # Not its repr, which is foreign code and may hold a secret.
            raise InvalidInputError(
                path, f"{with_article(kind.__qualname__)} is not JSON"
            )

    def _enter(self, value: Any, path: str, depth: int) -> None:
        if id(value) in self._above:
            raise InvalidInputError(path, "refers to itself")
        if depth > self._max_depth:
            raise InvalidInputError(path, f"is nested deeper than {self._max_depth}")
        self._seen += len(value)
        if self._seen > MAX_VALUES:
            raise InvalidInputError(path, f"has more than {MAX_VALUES} values")
        self._above.add(id(value))
        if type(value) is dict:
            for key, item in value.items():
                if type(key) is not str:
                    raise InvalidInputError(
                        path,
                        f"a key is {with_article(type(key).__qualname__)}, not text",
                    )
                _check_text(key, path, "a key ")
                self.visit(item, f"{path}{_step(key)}", depth)
        else:
            for index, item in enumerate(value):
                self.visit(item, f"{path}[{index}]", depth)
        self._above.discard(id(value))


def _step(key: str) -> str:
    """Return the part of a path for a key."""
    if _PLAIN_KEY.fullmatch(key):
        return f".{key}"
    return f"[{json.dumps(key[:64])}]"


def _check_text(text: str, path: str, subject: str = "") -> None:
    if "\x00" in text:
        raise InvalidInputError(path, f"{subject}contains a NUL character")
    if not text.isascii() and _SURROGATE.search(text):
        raise InvalidInputError(path, f"{subject}contains half of a surrogate pair")


# -- what a reader sees ----------------------------------------------------------------

# A payload is stored in ASCII; readers see it without \u escapes, except those that
# JSON needs. LIKE finds every payload that may show a text, and is exact for payloads
# without \u. For the others a regular expression tells an escaped character from the
# plain text \u00e9. Both databases use the same one: PostgreSQL by its own operator,
# SQLite by finds().

# Replaces a visible backslash that could be mistaken for the start of an escape. Stored
# payloads hold no control characters; the text to search for may.
_BACKSLASH = "\x01"
_NOWHERE = "\x02"
_ANY_ESCAPE = r"\\u____"
_SPECIAL = frozenset(".^$*+?()[]{}|")
_HEX = frozenset("0123456789abcdef")
_NO_CASE_LEADS_TO = {"\u03c3": "\u03c2", "\xdf": "\u1e9e"}  # sigma at the end, sharp s
# Assert that the first character is not part of an escape.
_NOT_AFTER_BACKSLASH = r"(?<!\\u)"
_NOT_A_DIGIT_OF_IT = r"(?<!\\u.)(?<!\\u..)(?<!\\u...)(?<!\\u....)"


def escapes_open(pattern: str) -> str:
    """Return a LIKE pattern for stored text from one for visible text."""
    return "".join(
        _stored(character).count("\\") * _ANY_ESCAPE if character > "~" else character
        for character in pattern
    )


def payload_expression(text: str) -> str:
    """Return the regular expression for a text of at least one character.

    It applies to a payload in which visible backslashes are replaced.
    """
    first, *rest = map(_expression_of, text)
    letter = text[0].lower()
    if letter in _HEX:
        first += _NOT_A_DIGIT_OF_IT
    elif letter == "u":
        first += _NOT_AFTER_BACKSLASH
    return "".join([first, *rest])


def finds(payload: str, expression: str) -> bool:
    """Whether a stored payload matches a :func:`payload_expression`, for SQLite."""
    # PostgreSQL's fragment payload_shows does the same.
    marked = payload.replace(r"\\", 2 * _BACKSLASH)
    for escape in ("u000", "u001"):
        marked = marked.replace(f"\\{escape}", _BACKSLASH + escape)
    return re.search(expression, marked) is not None


def _expression_of(character: str) -> str:
    if character < " ":
        return _NOWHERE  # is always escaped
    if character == "\\":
        return rf"(?:{_BACKSLASH}|\\(?!u))"
    if character > "~":
        escapes = [_stored(each) for each in _cases(character)]
        return f"(?:{'|'.join(escapes)})".replace("\\", r"\\")
    if character in _SPECIAL:
        return f"\\{character}"
    if character.isalpha():
        return f"[{character.lower()}{character.upper()}]"
    return character


def _cases(character: str) -> list[str]:
    """Return the upper and lower cases of a non-ASCII character."""
    cases = {character}
    for _ in range(2):
        cases |= {each.lower() for each in cases} | {each.upper() for each in cases}
    cases |= {also for letter, also in _NO_CASE_LEADS_TO.items() if letter in cases}
    single = {each for each in cases if len(each) == 1 and not each.isascii()}
    return sorted(single | {character})


def _stored(character: str) -> str:
    return json.dumps(character)[1:-1]
