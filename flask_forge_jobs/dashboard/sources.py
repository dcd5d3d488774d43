"""Style sheet and script: files by subject, joined and without their spare spaces.

The browser gets one file of each. A script has a comment on lines of its own only, and
no regular expression after anything but an opening bracket or an operator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources.abc import Traversable

from flask_forge_jobs.dashboard.short_names import LITERAL, shortened

_COMMENTS = {".css": re.compile(r"/\*.*?\*/", re.DOTALL), ".js": re.compile(r" *//.*")}
# Line ends where a statement or a list goes on, or after a block, since each statement
# has its semicolon; and the last semicolon of a block.
_SPARE = re.compile(r"(?<=[;{},(\[])\n|;\n?(?=})")
# Spaces stay where a sign follows itself: "a + +b" is not "a++b". One goes between a
# text and "in".
_SPACES = {
    ".css": re.compile(r"; *(?=})| *([{};,>~]) *|(?<=:) "),
    ".js": re.compile(
        r" *([{}()\[\];,:?=<>&|*%!]) *|^ (?=in )|(?<![+\-/]) ?([+\-/]) (?![+\-/])"
    ),
}


def joined(
    folder: Traversable, suffix: str, first: Sequence[str], last: Sequence[str]
) -> str:
    """Return all files of a folder as one text.

    Args:
        folder: Where they are.
        suffix: ``.css`` or ``.js``.
        first: The names, without suffix, of those at the beginning, in their order.
        last: Those at the end; all others stand between them by name.
    """
    texts = {
        each.name.removesuffix(suffix): each.read_text("utf-8")
        for each in folder.iterdir()
        if each.name.endswith(suffix)
    }
    others = sorted(texts.keys() - {*first, *last})
    names = (*first, *others, *last)
    text = "".join(squeezed(texts[name], suffix) for name in names)
    return _SPARE.sub("", shortened(text) if suffix == ".js" else text)


def squeezed(text: str, suffix: str) -> str:
    """Return a text without comments, indentation and spaces around signs."""
    comments, spaces = _COMMENTS[suffix], _SPACES[suffix]
    if suffix == ".css":
        text = comments.sub("", text)
    lines = []
    for line in text.splitlines():
        if not line.strip() or comments.fullmatch(line):
            continue
        # Texts, templates and regular expressions keep their spaces.
        pieces = LITERAL.split(line.strip())
        pieces[::2] = [spaces.sub(_sign, piece) for piece in pieces[::2]]
        lines.append("".join(pieces) + "\n")
    return "".join(lines)


def _sign(match: re.Match[str]) -> str:
    return next((sign for sign in match.groups() if sign), "")
