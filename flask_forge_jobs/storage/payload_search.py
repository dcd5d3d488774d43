r"""Searching in payloads: in the text that is shown, in either case of any letter.

A payload is stored in ASCII and shown without escapes, except those that JSON cannot do
without. LIKE finds all payloads that may show a text, and when they hold no ``\u`` no
others. In the rest an expression is searched that tells an escaped character from the
plain text ``\u00e9``, the same one by both databases: by :func:`finds` on SQLite, which
has no expressions of its own.
"""

from __future__ import annotations

import json
import re

# Stands for a backslash that is shown, where it could begin an escape. Nothing stored
# holds a control character, which the text to search for may do.
_BACKSLASH = "\x01"
_NOWHERE = "\x02"
_ANY_ESCAPE = r"\\u____"
_SPECIAL = frozenset(".^$*+?()[]{}|")
_HEX = frozenset("0123456789abcdef")
_NO_CASE_LEADS_TO = {"\u03c3": "\u03c2", "\xdf": "\u1e9e"}  # sigma at the end, sharp s
# The last character does not lie within an escape.
_NOT_AFTER_BACKSLASH = r"(?<!\\u)"
_NOT_A_DIGIT_OF_IT = r"(?<!\\u.)(?<!\\u..)(?<!\\u...)(?<!\\u....)"


def escapes_open(pattern: str) -> str:
    """Return a LIKE pattern that leaves open which characters are escaped in it.

    Args:
        pattern: For the text that is shown.
    """
    return "".join(
        _stored(character).count("\\") * _ANY_ESCAPE if character > "~" else character
        for character in pattern
    )


def payload_expression(text: str) -> str:
    """Return the expression that finds a text in a payload with its backslashes marked.

    Args:
        text: At least one character.
    """
    first, *rest = map(_expression_of, text)
    letter = text[0].lower()
    if letter in _HEX:
        first += _NOT_A_DIGIT_OF_IT
    elif letter == "u":
        first += _NOT_AFTER_BACKSLASH
    return "".join([first, *rest])


def finds(payload: str, expression: str) -> bool:
    """Whether a stored payload shows a text; the SQL function ``forge_finds``.

    Args:
        payload: As it is stored.
        expression: Made by :func:`payload_expression`.
    """
    # PostgreSQL's fragment payload_shows says the same.
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
    """Return the ways to write a character that is escaped when it is stored."""
    found = {character}
    for _ in range(2):
        found |= {each.lower() for each in found} | {each.upper() for each in found}
    found |= {also for letter, also in _NO_CASE_LEADS_TO.items() if letter in found}
    single = {each for each in found if len(each) == 1 and not each.isascii()}
    return sorted(single | {character})


def _stored(character: str) -> str:
    return json.dumps(character)[1:-1]
