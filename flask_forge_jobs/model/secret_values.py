"""Where the value after a key ends, by the form of what is there.

A value without a visible end (a quote that is not closed, brackets that do not match)
reaches to the end of its line or of the text. That shows no secret, and no part of a
text is read for two values, so the cost grows with its length, whatever it is.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache

# Of brackets within each other; a value with more of them reaches to the text's end.
_DEEPEST = 5
_QUOTED = r'"(?:[^"\\]++|\\.)*+"|\'(?:[^\'\\]++|\\.)*+\''
_PREFIX = r"[bBuUrRfF]{0,2}"


def _nested(depth: int) -> str:
    inside = rf"[^()\[\]{{}}\"']++|{_QUOTED}|[\"']"
    if depth:
        inside += f"|{_nested(depth - 1)}"
    return rf"[(\[{{](?:{inside})*+[)\]}}]"


# A letter of a plain word, or a mark within it, as in pa,ss"w}rd&x. After a comma, an
# ampersand or a semicolon, another key may begin.
_LETTER = (
    r"(?:[^\s,;&\"'}\])]"
    r"|[,;&](?![\w .-]{1,64}[=:]|[\s\"'\[({]|\Z)"
    r"|[\"'}\])](?=\w))"
)
_SPACES = r"\s{0,8}"
# What is masked already is not masked again.
_OPEN = rf"{_SPACES}(?!{_PREFIX}\\{{0,40}}[\"'(\[]?\[redacted)"
_CLOSED_QUOTES = (
    rf"{_PREFIX}\"((?:[^\"\\]++|\\.)*+)\"(?!\")"
    rf"|{_PREFIX}'((?:[^'\\]++|\\.)*+)'(?!')"
    r"|(?P<escape>\\{1,40}[\"'])([^\r\n]*?)(?P=escape)"
)
_QUOTES = rf"{_CLOSED_QUOTES}|{_PREFIX}\\{{0,40}}[\"']([^\r\n]+)"
_BRACKETS = rf"((?:[A-Za-z_][\w.]{{0,64}})?(?=[(\[{{])(?:{_nested(_DEEPEST)}|.*))"
_SCHEME = r"(?:(?:bearer|basic|digest|token|apikey)[ \t]{1,8}(?=\S))?"
_PARAMETER = r"(?:\"[^\"\n]*+\"|[^\s,\"'}\])]|['}\])](?=\w))++"


# What messages say about a value: "invalid dsn: missing =", "password: NO".
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
        found = _compiled(self.value).match(text, start)
        return None if found is None else found.span(found.lastindex or 0)


# At the first use, because most processes see no secret.
@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)
