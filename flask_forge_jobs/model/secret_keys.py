"""Names of secret values, and the pattern that finds them in prose.

A value follows its key, but a pattern that looks for one of many keys tries each of
them at every letter. Separators are rarer. So the pattern reads the text backwards:
from a separator to the word before it, which it tests once. Nothing in it is tried
twice at one place, so the cost grows with the length of the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from unicodedata import normalize

# From this many letters on, a word may end with a pattern, and a key may contain one.
ENDS_A_WORD = 5
IS_CONTAINED = 6
EXACT_MARK = "="
_REMEMBERED_KEYS = 4096
# Longer ones, which may have a mebibyte each, are looked up each time.
_LONGEST_REMEMBERED = 256
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")
_NEVER = "(?!)"
# Where a word ends and begins, read backwards: at its edge, or at a hump (tokenHash).
_WORD_END = r"(?:(?<![^\W_])|(?<=[A-Z])(?=[a-z]))"
_WORD_START = r"(?:(?![^\W_])|(?<=[A-Z])(?=[a-z0-9]))"
_BETWEEN_WORDS = r"[\s_.\[-]?"
# The text between a value and its key, backwards; each form begins with one of five
# marks, which a search finds fast. No mark is part of a gap, so no two of them read the
# same part of a text.
_BEFORE_VALUE = r"""
    [=:>,(]
    (?:
        # The words are of "API key provided: x" and "parameter Password, value: x".
        (?:(?<![=:>].)(?<=[=:])[=:]{0,3}+|(?<=>)[=-]|(?<=:)(?:dedivorp\ |eulav\ ,))
        \s{0,8}+["'\\\])]{0,40}+(?=\w[\w\s.\[-])
        (?!rorr[eE]|noitpecxE|gninraW)  # TokenError: x
    |
        (?<==)eulav_tupni[^\n]{0,256}\n\s{0,8}  # pydantic: a line with the field before
    |
        (?P<detail>(?<=\()=\))[^\n=]{0,200}?(?<=[\s,:()])  # PostgreSQL: Key (a, b)=(
    |
        (?P<pair>(?<=,))\s{0,8}+["'](?=[\w.-]{1,64}+["'][bBuU]?(?:\(|\[[\[\s,]))
    |
        (?P<tag>(?<=>))(?=[\w:.-]{1,64}+<)
    )
"""


class SecretKeys:
    """Says which keys name secrets; :mod:`.masking` explains the patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        folded = [pattern.strip().casefold() for pattern in patterns]
        self._wildcards = [each for each in folded if "*" in each or "?" in each]
        plain = [
            each for each in folded if _words(each) and each not in self._wildcards
        ]
        exact = [_words(each) for each in plain if each.startswith(EXACT_MARK)]
        names = [_words(each) for each in plain if not each.startswith(EXACT_MARK)]
        sizes = {name: len(_squashed(name)) for name in names}
        self._exact = frozenset(exact)
        self._squashed = frozenset(map(_squashed, names))
        self._inside = _any_of(
            _squashed(name) for name in names if sizes[name] >= IS_CONTAINED
        )
        endings = [_squashed(name) for name in names if sizes[name] >= ENDS_A_WORD]
        self._framed = re.compile(
            rf"(?:_{_any_of(names).pattern}|{_any_of(endings).pattern})s?_"
        )
        self._hides = lru_cache(_REMEMBERED_KEYS)(self._look_up)
        self._sizes = sizes

    @cached_property
    def before_value(self) -> re.Pattern[str]:
        """Finds keys with the separators after them in a reversed text."""
        return _backwards(self._sizes, self._exact)

    def hides(self, key: str) -> bool:
        """Return whether any value under a key is a secret."""
        return self.hidden(key)[0]

    def hidden(self, key: str) -> tuple[bool, bool]:
        """Return whether a key hides any value, and whether it hides texts."""
        is_short = len(key) <= _LONGEST_REMEMBERED
        return self._hides(key) if is_short else self._look_up(key)

    def _look_up(self, key: str) -> tuple[bool, bool]:
        words = _words(key)
        squashed = _squashed(words)
        folded = key.casefold()
        is_hidden = (
            squashed in self._squashed
            or self._framed.search(f"_{words}_") is not None
            or self._inside.search(squashed) is not None
            or any(fnmatchcase(folded, pattern) for pattern in self._wildcards)
        )
        return is_hidden, words in self._exact


def _words(key: str) -> str:
    if not key.isascii():  # full-width letters, accents, letters without a width
        key = "".join(filter(_is_shown, normalize("NFKD", key)))
    humps = _CAMEL_HUMP.sub("_", key).casefold()
    return _SEPARATORS.sub("_", humps).strip("_")


def _is_shown(letter: str) -> bool:
    return letter.isprintable() and (letter.isascii() or letter.isalnum())


def _squashed(words: str) -> str:
    return words.replace("_", "")


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    alternatives = "|".join(map(re.escape, names))
    return re.compile(f"(?:{alternatives})" if alternatives else _NEVER)


def _backwards(sizes: Mapping[str, int], exact: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern that finds keys with their separators in a reversed text."""
    long = [name for name, size in sizes.items() if size >= IS_CONTAINED]
    middle = [name for name, size in sizes.items() if size == ENDS_A_WORD]
    short = [name for name, size in sizes.items() if size < ENDS_A_WORD]
    return re.compile(
        rf"""{_BEFORE_VALUE}
        (?:
            # A mapping's key, or a keyword with a text.
            (?P<exact>(?(pair)(?!)|(?<=["'=])){_tree(exact)}(?![\w.-]))
        |
            [\w-]{{0,64}}?(?={_last_letters([*sizes, "s"])})
            (?:
                {_tree(long)}
            |
                (?={_last_letters([*middle, *short, "s"])}){_WORD_END}[sS]?
                (?:{_tree(middle)}|{_tree(short)}{_WORD_START})
            )
        )
        """,
        re.VERBOSE,
    )


def _last_letters(names: Iterable[str]) -> str:
    """Return a set of letters, because most places end none of the names."""
    last = {name[-1] for name in names}
    return f"[{''.join(sorted(map(re.escape, last | set(map(str.upper, last)))))}]"


def _tree(names: Iterable[str]) -> str:
    """Return a pattern for any of some names, backwards; common endings are shared.

    Sets of letters in place of a flag, because the matcher skips an alternative that
    begins with a set as soon as the next letter is not in it.
    """
    root: dict[str, dict[str, object]] = {}
    for name in names:
        node: dict[str, object] = root  # type: ignore[assignment]  # a nested dict
        for letter in reversed(name):
            node = node.setdefault(_atom(letter), {})  # type: ignore[assignment]
        node[""] = {}
    return _alternatives(root) if root else _NEVER


def _atom(letter: str) -> str:
    if letter == "_":
        return _BETWEEN_WORDS
    both = {re.escape(letter), re.escape(letter.upper())}
    return f"[{''.join(sorted(both))}]"


def _alternatives(node: Mapping[str, object]) -> str:
    parts = [
        atom + _alternatives(following)  # type: ignore[arg-type]
        for atom, following in node.items()
        if atom
    ]
    if "" in node:
        return f"(?:{'|'.join(parts)})?" if parts else ""
    return f"(?:{'|'.join(parts)})"
