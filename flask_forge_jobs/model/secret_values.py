"""Finds the end of the value after a key, by the form of that value.

A value without a visible end (a quote that is not closed, brackets that do not match)
reaches to the end of its line or of the text. That shows no secret, and no part of a
text is read for two values, so the cost grows with its length, whatever it is.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache

_QUOTED = {
    quote: re.compile(rf"{quote}(?:[^{quote}\\]++|\\.)*+{quote}", re.DOTALL)
    for quote in "\"'"
}
_OPENING = "([{"
_MARK = re.compile(r"[()\[\]{}\"']")
_PREFIX = r"[bBuUrRfF]{0,2}"

# A letter of a plain word, or a mark within it, as in pa,ss"w}rd&x. After a comma, an
# ampersand or a semicolon, another key may begin.
_LETTER = (
    r"(?:[^\s,;&\"'}\])]"
    r"|[,;&](?![\w .-]{1,64}[=:]|[\s\"'\[({]|\Z)"
    r"|[\"'}\])](?=\w))"
)
_SPACES = r"\s{0,8}"
# A masked value is not masked again.
_OPEN = rf"{_SPACES}(?!{_PREFIX}\\{{0,40}}[\"'(\[]?\[redacted)"
_CLOSED_QUOTES = (
    rf"{_PREFIX}\"((?:[^\"\\]++|\\.)*+)\"(?!\")"
    rf"|{_PREFIX}'((?:[^'\\]++|\\.)*+)'(?!')"
    r"|(?P<escape>\\{1,40}[\"'])([^\r\n]*?)(?P=escape)"
)
_QUOTES = rf"{_CLOSED_QUOTES}|{_PREFIX}\\{{0,40}}[\"']([^\r\n]+)"
# A secret that begins with this group ends with its brackets.
_BRACKETS = r"(?P<name>(?:[A-Za-z_][\w.]{0,64})?(?=[(\[{]))"
_SCHEME = r"(?:(?:bearer|basic|digest|token|apikey)[ \t]{1,8}(?=\S))?"
_PARAMETER = r"(?:\"[^\"\n]*+\"|[^\s,\"'}\])]|['}\])](?=\w))++"


# Remarks of messages about a value: "invalid dsn: missing =", "password: NO".
_UNLESS_A_REMARK = (
    r"(?!(?:yes|no|none|null|true|false|not|is|was|has|must|cannot|invalid|missing"
    r"|required|expired|unknown|failed)(?:[\s,.;)\]}'\"]|\Z))"
)


class Form(Enum):
    """The forms of values; each has a pattern whose last group is the secret."""

    ANY = rf"{_OPEN}(?:{_QUOTES}|{_BRACKETS}|{_UNLESS_A_REMARK}({_SCHEME}{_LETTER}++))"
    # Scheme, then a word or parameters.
    AUTHORIZATION = (
        rf"{_OPEN}(?:{_QUOTES}|{_BRACKETS}|((?:[A-Za-z][\w-]*+[ \t]{{1,8}}(?=\S))?"
        rf"{_PARAMETER}(?:,[ \t]{{0,8}}[\w-]{{1,64}}={_PARAMETER})*+))"
    )
    COOKIE = (
        rf"{_OPEN}(?:{_QUOTES}|{_BRACKETS}|([^\s;,\"']++"
        r"(?:;[ \t]{0,8}[^\s;,\"'=]++(?:=(?:\"[^\"\n]*+\"|[^\s;,\"']*+))?)*+))"
    )
    TEXT = rf"{_OPEN}(?:{_QUOTES})"
    # The second of two.
    PAIR = (
        rf"{_OPEN}(?:{_CLOSED_QUOTES}|([^\s,()\[\]{{}}\"']++)){_SPACES},?{_SPACES}[)\]]"
    )
    # PostgreSQL: Key (a, b)=(1, 2) already exists.
    DETAIL = (
        r"(?!\[redacted)(?:"
        r"([^\n]*?)(?=\)(?:\ (?:already|is|conflicts|was)\ |\.?(?:\n|\Z)))|([^\n]+))"
    )
    # <password>x</password>
    ELEMENT = rf"{_OPEN}(?:<!\[CDATA\[)?([^<>\s][^<>]{{0,2048}}?)(?=(?:\]\]>)?</)"
    # Of a URL.
    PARAMETER = rf"{_OPEN}([^&#\s\"']++)"
    ROW = rf"{_OPEN}{_BRACKETS}"

    def secret(self, text: str, start: int) -> tuple[int, int] | None:
        """Return start and end of the secret that begins at ``start``, if one does."""
        match = _compiled(self.value).match(text, start)
        if match is None:
            return None
        if match.lastgroup == "name":
            return match.start("name"), _end_of_brackets(text, match.end("name"))
        return match.span(match.lastindex or 0)


def _end_of_brackets(text: str, start: int) -> int:
    """Return where the brackets that open at ``start`` are closed, or the text's end.

    Brackets within quotes do not count. After a quote that is not closed, no other of
    its kind is, so the rest of the text is searched for one only once.
    """
    depth, position = 0, start
    unclosed = set()
    while (mark := _MARK.search(text, position)) is not None:
        position = mark.end()
        sign = mark[0]
        if sign in unclosed:
            continue
        if sign in _QUOTED:
            quoted = _QUOTED[sign].match(text, mark.start())
            if quoted is None:
                unclosed.add(sign)
            else:
                position = quoted.end()
        else:
            depth += 1 if sign in _OPENING else -1
            if not depth:
                return position
    return len(text)


# At the first use, because most processes see no secret.
@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)
