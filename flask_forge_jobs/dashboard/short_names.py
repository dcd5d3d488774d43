"""Short names for the variables of a script, so that its source may use whole words.

A variable has one name in all of the script and gets one short name, so no scope
matters: the variable that is used most gets the letter that the script has most. Only
names are shortened that the script declares, and that are neither a property nor a key
of an object anywhere in it. So a variable must not have the name of a global that the
script uses.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, product

# A text, a template or a regular expression, which follows a bracket or an operator.
LITERAL = re.compile(
    r'("(?:[^"\\]|\\.)*"|`[^`]*`'
    r"|(?<=[(=:,!&|?])\s*/(?![/*])(?:[^/\\\[]|\\.|\[[^\]]*\])+/[a-z]*)"
)
_INSERTED = re.compile(r"(?<=\$\{)[^}]*(?=\})")
_NAME = re.compile(r"(?:(?<=\.\.\.)|(?<![\w$.]))[A-Za-z_]\w*")
_PROPERTY = re.compile(r"(?<!\.\.)\.([A-Za-z_]\w*)")
# The innermost braces: an object or a pattern has no ";".
_BRACES = re.compile(r"\{([^{}]*)\}")
_KEY = re.compile(r"(?:^|,)(?:\.\.\.)?(\w+)(?=[,=:(]|$)")
_DECLARED = (
    re.compile(r"\b(?:const|let) ((?:\w+,)*\w+)"),
    re.compile(r"\b(?:const|let)\[([^\]=]*)\]"),
    re.compile(r",(\w+)=(?![=>])"),
    re.compile(r"(\w+)=>"),
    re.compile(r"\(([^()]*)\)=>"),
)
# Words of the language that are no longer than the new names.
_WORDS = frozenset(("as", "do", "if", "in", "of"))


def shortened(script: str) -> str:
    """Return a script, without comments and spare spaces, with short names."""
    code = "".join(_code(script))
    counts = Counter(_NAME.findall(code))
    kept = _kept(code) | _WORDS
    names = [name for name in _declared(code) if name not in kept and len(name) > 1]
    names.sort(key=lambda name: (-counts[name], name))
    taken = counts.keys() - set(names) | _WORDS
    # Letters that the script has anyway compress best.
    letters = sorted(string.ascii_letters, key=lambda letter: -script.count(letter))
    pool = (
        short
        for length in (1, 2)
        for short in map("".join, product(letters, repeat=length))
        if short not in taken
    )
    short = dict(zip(names, pool, strict=False))

    def rename(code: str) -> str:
        return _NAME.sub(lambda match: short.get(match[0], match[0]), code)

    return _changed(script, rename)


def _changed(script: str, change: Callable[[str], str]) -> str:
    """Return a script whose code is changed, also within templates."""
    pieces = LITERAL.split(script)
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            pieces[place] = change(piece)
        elif piece.startswith("`"):
            pieces[place] = _INSERTED.sub(
                lambda match: _changed(match[0], change), piece
            )
    return "".join(pieces)


def _code(script: str) -> Iterator[str]:
    for place, piece in enumerate(LITERAL.split(script)):
        if place % 2 == 0:
            yield piece
        elif piece.startswith("`"):
            for inserted in _INSERTED.findall(piece):
                yield ";"
                yield from _code(inserted)
            yield ";"


def _kept(code: str) -> set[str]:
    """Return the names of properties and keys."""
    kept = set(_PROPERTY.findall(code))
    while match := _BRACES.search(code):
        if ";" not in match[1]:
            kept.update(_KEY.findall(match[1]))
        code = f"{code[: match.start()]}0{code[match.end() :]}"
    return kept


def _declared(code: str) -> set[str]:
    lists = chain.from_iterable(pattern.findall(code) for pattern in _DECLARED)
    return set(_NAME.findall(",".join(lists)))
