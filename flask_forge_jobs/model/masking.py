"""Masks secrets, found by the names of their keys or by their form.

A pattern ignores case. Without a wildcard, it matches a key that contains its words in
a row, singular or plural: ``token`` matches ``tokens``, ``accessToken`` and
``x-api-token``; ``api_key`` also matches ``apikey``. From five letters on it matches a
word that ends with it (``authtoken``, not ``tokenizer``), from six on any key that
contains it (``dbpassword``, ``passwordHash``). With ``*`` or ``?``, it must match the
whole key. By form, it finds tokens of well-known services, private keys, our own tokens
and credentials in URLs. Any other secret under a harmless key stays readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

DEFAULT_REDACT_KEYS = (
    "password", "passwd", "passphrase", "pass", "pwd",
    "secret", "token", "credential", "authorization", "auth", "jwt",
    "api_key", "access_key", "private_key", "signing_key", "encryption_key",
    "cookie", "session", "signature", "dsn", "database_url", "connection_string",
    "card_number", "credit_card", "cvv", "cvc", "ssn",
)  # fmt: skip
REDACTED = "[redacted]"
# From this many letters on, a word may end with a pattern, and a key may contain one.
_ENDS_A_WORD = 5
_IS_CONTAINED = 6
# Most places in a text to try to read JSON from.
_MOST_DOCUMENTS = 32
_LONGEST_KEY = 80
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")
_OPENING = re.compile(r"[\[{](?=\s{0,8}[\"\[{])")
_URL_CREDENTIALS = re.compile(
    r"(?P<user>://[^/\s:@]{0,256}:)[^/\s]{1,256}@|(?P<scheme>://)[^/\s:@]{16,256}@"
)
# A match cannot start within a word, so that each character is visited only a few times
# in any text.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"fj_[A-Za-z0-9.-]{1,64}_[A-Za-z0-9_-]{43,86}"
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,255}|xox[abeprs]-[A-Za-z0-9-]{10,255}"
    r"|sk-[A-Za-z0-9_-]{20,255}|[prs]k_(?:live|test)_[A-Za-z0-9]{16,255}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,8192}"
    r")"
)
# A value after a key in prose. Gaps and tails are bounded so that no text makes the
# search quadratic; a value cut off within quotes reaches to the end of its line.
_VALUE = (
    r"(?!\\{0,4}[\"']?\[redacted)(?:"
    r'"(?:[^"\\]|\\.)*"'
    r"|'(?:[^'\\]|\\.)*'"
    r"|(?P<escaped>\\{1,4}[\"']).{0,1024}?(?P=escaped)"
    r"|\[[^\]]{0,1024}\]|\{[^}]{0,1024}\}"
    r"|\\{0,4}[\"'][^\r\n]{1,1024}"
    r"|(?:(?:bearer|basic)\s{1,8})?[^\s,;&\"'}\])]+)"
)


class Masking:
    """Masks the values of some keys, and what looks like a token.

    Patterns may contain ``*`` and ``?``; without any, no key is masked.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_REDACT_KEYS) -> None:
        lowered = [pattern.casefold() for pattern in patterns if pattern.strip()]
        self._wildcards = [text for text in lowered if "*" in text or "?" in text]
        plain = [text for text in lowered if text not in self._wildcards]
        self._words = [f"_{_words(text)}" for text in plain]
        squashed = {_squashed(text) for text in plain} - {""}
        self._squashed = squashed
        self._contained = [each for each in squashed if len(each) >= _IS_CONTAINED]
        self._endings = tuple(
            ending
            for each in squashed
            if len(each) >= _ENDS_A_WORD
            for ending in (each, f"{each}s")
        )
        # Without patterns, one that never matches.
        key = _key_pattern(plain) or r"(?!)"
        self._assignment = re.compile(f"(?P<key>{key}){_VALUE}", re.IGNORECASE)
        self._key_before = re.compile(rf"{key}\Z", re.IGNORECASE)
        self._query = re.compile(
            rf"(?P<key>[?&][\w.-]{{0,64}}?{key})[^&#\s\"']+", re.IGNORECASE
        )

    def hides(self, key: str) -> bool:
        """Tell whether the value under a key is masked."""
        words = _words(key)
        squashed = words.replace("_", "")
        if squashed in self._squashed:
            return True
        framed = f"_{words}_"
        if any(f"{each}_" in framed or f"{each}s_" in framed for each in self._words):
            return True
        if any(each in squashed for each in self._contained):
            return True
        if any(word.endswith(self._endings) for word in words.split("_")):
            return True
        folded = key.casefold()
        return any(fnmatchcase(folded, pattern) for pattern in self._wildcards)

    def masked(self, value: object, mask: Callable[[str], str]) -> object:
        """Return a JSON value with masked members; ``mask`` masks the other texts."""
        if isinstance(value, dict):
            return {
                key: REDACTED if self.hides(key) else self.masked(member, mask)
                for key, member in value.items()
            }
        if isinstance(value, list):
            return [self.masked(member, mask) for member in value]
        return mask(value) if isinstance(value, str) else value

    def datum(self, text: str) -> str:
        """Return a text value with tokens and credentials in URLs masked."""
        if "://" in text:
            text = _without_credentials(text)
            text = self._query.sub(rf"\g<key>{REDACTED}", text)
        return _TOKEN.sub(REDACTED, text)

    def text(self, text: str) -> str:
        """Return prose with ``key=value``, ``key: value``, JSON and URLs masked."""
        parts, end = [], 0
        for start, after, value in _documents(text):
            shown = text[start:after]
            if self._ends_with_key(text, start):
                shown = REDACTED
            else:
                masked = self.masked(value, self._prose)
                if masked != value:
                    shown = json.dumps(masked, ensure_ascii=False)
            parts += [text[end:start], shown]
            end = after
        return self._prose("".join([*parts, text[end:]]))

    def _prose(self, text: str) -> str:
        text = self._assignment.sub(rf"\g<key>{REDACTED}", text)
        return _TOKEN.sub(REDACTED, _without_credentials(text))

    def _ends_with_key(self, text: str, end: int) -> bool:
        before = text[max(0, end - _LONGEST_KEY) : end]
        return bool(self._key_before.search(before))


def _documents(text: str) -> Iterator[tuple[int, int, object]]:
    """Yield the start, end and value of each JSON object or array in a text."""
    decoder, position = json.JSONDecoder(), 0
    for _ in range(_MOST_DOCUMENTS):
        found = _OPENING.search(text, position)
        if found is None:
            return
        try:
            value, position = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            position = found.end()
        else:
            yield found.start(), position, value


def _without_credentials(text: str) -> str:
    return _URL_CREDENTIALS.sub(
        lambda found: f"{found['user'] or found['scheme']}{REDACTED}@", text
    )


def _words(key: str) -> str:
    humps = _CAMEL_HUMP.sub("_", key).casefold()
    return _SEPARATORS.sub("_", humps).strip("_")


def _squashed(key: str) -> str:
    return _words(key).replace("_", "")


def _key_pattern(names: Iterable[str]) -> str | None:
    """Return a pattern for keys in prose and what precedes their values."""
    longer: list[str] = []
    shorter: list[str] = []
    shortest: list[str] = []
    for name in filter(_squashed, names):
        size = len(_squashed(name))
        spelling = r"[_\s-]?".join(map(re.escape, _words(name).split("_")))
        if size >= _IS_CONTAINED:
            longer.append(spelling)
        else:
            (shorter if size >= _ENDS_A_WORD else shortest).append(spelling)
    tail = r"s?(?:[_-][\w-]{0,32})?"
    kinds = [
        rf"(?:{'|'.join(longer)})[\w-]{{0,32}}" if longer else "",
        rf"(?:{'|'.join(shorter)}){tail}" if shorter else "",
        rf"(?<![^\W_])(?:{'|'.join(shortest)}){tail}" if shortest else "",
    ]
    found = "|".join(filter(None, kinds))
    return rf"(?:{found})\\{{0,4}}[\"']?\s{{0,8}}[=:]>?\s{{0,8}}" if found else None
