r"""Searches payloads for the text that a reader sees, ignoring case.

A payload is stored in ASCII; readers see it without ``\u`` escapes, except those that
JSON needs. LIKE finds every payload that may show the text, and is exact for payloads
without ``\u``. For the others a regular expression tells an escaped character from the
plain text ``\u00e9``. Both databases use the same one: PostgreSQL by its own operator,
SQLite by :func:`finds`.
"""

from __future__ import annotations

import json
import re

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
    found = {character}
    for _ in range(2):
        found |= {each.lower() for each in found} | {each.upper() for each in found}
    found |= {also for letter, also in _NO_CASE_LEADS_TO.items() if letter in found}
    single = {each for each in found if len(each) == 1 and not each.isascii()}
    return sorted(single | {character})


def _stored(character: str) -> str:
    return json.dumps(character)[1:-1]
