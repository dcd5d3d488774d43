"""Masks secrets before a payload or an error text leaves the process.

A pattern names keys, whatever their case. One without a wildcard hits a key that has
its words in a row: ``token`` hits ``token``, ``accessToken`` and ``x-api-token`` but
not ``tokenizer``; ``api_key`` hits ``apikey`` too. One with ``*`` or ``?`` is compared
with the whole key. Nothing is recognised by its value: a secret under a harmless key
stays readable, so name the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from flask_forge_jobs.config.settings import DEFAULT_REDACT_KEYS

REDACTED = "[redacted]"
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]{0,256}:)[^/\s@]{1,256}@")


class Redactor:
    """Masks by key name.

    Args:
        patterns: Key names, optionally with ``*`` and ``?``; default
            :data:`DEFAULT_REDACT_KEYS`. Empty masks nothing by name.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_REDACT_KEYS) -> None:
        lowered = [pattern.casefold() for pattern in patterns if pattern.strip()]
        self._wildcards = [text for text in lowered if "*" in text or "?" in text]
        plain = [text for text in lowered if text not in self._wildcards]
        self._words = [f"_{_words(text)}_" for text in plain]
        self._squashed = {_words(text).replace("_", "") for text in plain}
        self._assignment = _assignment_pattern(plain)

    def hides(self, key: str) -> bool:
        """Tell whether the value under a key is masked."""
        words = _words(key)
        if words.replace("_", "") in self._squashed:
            return True
        framed = f"_{words}_"
        if any(pattern in framed for pattern in self._words):
            return True
        folded = key.casefold()
        return any(fnmatchcase(folded, pattern) for pattern in self._wildcards)

    def payload(self, value: object) -> object:
        """Return a copy of a JSON value with masked members, at any depth."""
        if isinstance(value, dict):
            return {
                key: REDACTED if self.hides(key) else self.payload(member)
                for key, member in value.items()
            }
        if isinstance(value, list):
            return [self.payload(member) for member in value]
        return value

    def text(self, text: str) -> str:
        """Return prose with ``key=value``, ``key: value`` and URL passwords masked."""
        if self._assignment is not None:
            text = self._assignment.sub(rf"\g<key>{REDACTED}", text)
        return _URL_PASSWORD.sub(rf"\g<1>{REDACTED}@", text)


class Unmasked(Redactor):
    """Masks nothing at all."""

    def payload(self, value: object) -> object:
        """Return a JSON value as it is."""
        return value

    def text(self, text: str) -> str:
        """Return prose as it is."""
        return text


def _words(key: str) -> str:
    humps = _CAMEL_HUMP.sub("_", key).casefold()
    return _SEPARATORS.sub("_", humps).strip("_")


def _assignment_pattern(names: list[str]) -> re.Pattern[str] | None:
    spellings = [
        "[_-]?".join(re.escape(word) for word in _words(name).split("_"))
        for name in names
        if _words(name)
    ]
    if not spellings:
        return None
    # The gaps are bounded so that a long run of blanks cannot make the match quadratic.
    return re.compile(
        rf"""(?P<key>(?:{"|".join(spellings)})["']?\s{{0,8}}[=:]\s{{0,8}})"""
        r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:(?:bearer|basic)\s{1,8})?[^\s,;&"'}\])]+)""",
        re.IGNORECASE,
    )
