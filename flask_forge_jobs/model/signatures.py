"""Signatures of errors: type and text without the parts that differ between jobs.

Equal errors have equal signatures, so failures can be counted together. A signature is
made of the masked text, and of no more than its beginning is read than it needs: each
token of the text adds at least one character, and no token is read twice.
"""

from __future__ import annotations

import re

MAX_SIGNATURE_LENGTH = 200
NO_TEXT = "(no text)"
OTHER_ERRORS = "(other errors)"
"""Counts the errors of a queue and kind that has too many signatures already."""

# No quantifier gives back characters (``++``), and each token starts where none of
# its kind can start within it, so a text is read in linear time. The first alternative
# that matches wins: whole quotations and addresses before the numbers in them.
_TOKEN = re.compile(
    r"""
      (?P<blank>\s++)
    # Quick, as nothing begins with them but the part of a path.
    | (?P<mark>(?<!/)[^\w\s'"`+./:-]++)
    # Also the repr of bytes. A quotation begins and ends where a word does, so that an
    # apostrophe is none.
    | (?P<value>
          (?<![\w\\])[bu]?
          (?: '(?:[^'\\]++|\\.){0,500}+'(?!\w)
            | "(?:[^"\\]++|\\.){0,500}+"(?!\w)
            | `[^`]*+`(?!\w) ) )
    | (?P<email>(?<![\w.+-])[\w.+-]{1,64}+@[\w.-]{1,255}+)
    | (?P<time>
          (?<![\w-])[0-9]{4}-[0-9]{2}-[0-9]{2}
          (?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]++)?)?
             (?:Z|[ ]?[+-][0-9]{2}:?[0-9]{2})?)?(?![\w-])
        | (?<![\w:])[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]++)?)?(?![\w:]) )
    | (?P<ip>
          (?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])
        | (?<![\w:])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:]) )
    | (?P<id>
          (?<![0-9a-fA-F])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
          (?![0-9a-fA-F])
        | \b0[xX][0-9a-fA-F]++\b
        # A part of a path, a host or a query with a digit, to the next slash.
        | (?<=/)[^\s/0-9"'`<>(),;:\[\]{}]*+[0-9][^\s/"'`<>(),;:\[\]{}]*+
        # What tempfile makes.
        | (?<=/)tmp[a-z0-9_]{8}(?!\w)
        # A ULID, hexadecimal digits, or a long word with three digits; each with a
        # letter, or it is a number.
        | \b(?=[0-9]{0,26}+[A-Z])[0-7][0-9A-HJKMNP-TV-Z]{25}\b
        | \b(?=[a-fA-F]{0,64}+[0-9])(?=[0-9]{0,64}+[a-fA-F])[0-9a-fA-F]{8,}+\b
        | \b(?=[0-9_]{0,64}+[a-zA-Z])(?=(?:[a-zA-Z_]{0,64}+[0-9]){3})\w{16,}+ )
    | (?P<n>(?:(?<!\w)[+-])?[0-9]++(?:[.,][0-9]++)*+(?:[eE][+-]?[0-9]++\b)?)
    | (?P<text>[^\W\d_]{1,64}+|.)
    """,
    re.VERBOSE | re.DOTALL,
)

_KEPT = ("mark", "text")


def signature(text: str) -> str:
    """Return the signature of an error's masked text, at most 200 characters.

    Quoted values become ``<value>``, addresses of e-mail ``<email>``, instants
    ``<time>``, addresses of hosts ``<ip>``, numbers ``<n>``; ``<id>`` stands for UUIDs,
    ULIDs, hexadecimal and other long ids and for the parts of a path that have digits.
    Whitespace becomes one blank. An empty text is ``(no text)``.
    """
    parts: list[str] = []
    length = 0
    for match in _TOKEN.finditer(text):
        sort = match.lastgroup
        if sort in _KEPT:
            part = match[0]
        elif sort == "blank":
            part = " " if parts else ""
        else:
            part = f"<{sort}>"
        parts.append(part)
        length += len(part)
        if length > MAX_SIGNATURE_LENGTH:
            break
    return "".join(parts)[:MAX_SIGNATURE_LENGTH].rstrip() or NO_TEXT
