"""Finds secrets by the names they go by, and by their form.

A name is a pattern, whatever its case. One without a wildcard hits a key that has its
words in a row, in the plural too: ``token`` hits ``tokens``, ``accessToken`` and
``x-api-token``; ``api_key`` hits ``apikey`` too. From five letters on it hits a word
that ends with it (``authtoken``, not ``tokenizer``), from six on whatever contains it
(``dbpassword``, ``passwordHash``). One with ``*`` or ``?`` is compared with the whole
key. Of values only those are recognised that look like the tokens of well-known
services, private keys, or our own, and credentials in URLs; any other secret under a
harmless key stays readable.
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
# So many letters that a word, or the whole key, may have others around them.
_ENDS_A_WORD = 5
_IS_CONTAINED = 6
# Places in a text where JSON may begin that are looked at.
_MOST_DOCUMENTS = 32
_LONGEST_KEY = 80
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")
_OPENING = re.compile(r"[\[{](?=\s{0,8}[\"\[{])")
_URL_CREDENTIALS = re.compile(
    r"(?P<user>://[^/\s:@]{0,256}:)[^/\s]{1,256}@|(?P<scheme>://)[^/\s:@]{16,256}@"
)
# A match starts where no longer word runs on, so that each character is looked at a
# few times only, however the text is made.
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
# What may follow a key in prose; the gaps and tails are bounded so that no text makes
# the search quadratic. What is cut off within quotes goes on to the end of its line.
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
    """Masks what some names stand for, and what looks like a token.

    Args:
        patterns: Names of keys, optionally with ``*`` and ``?``; default
            :data:`DEFAULT_REDACT_KEYS`. Empty masks nothing by name.
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
        # Without names a pattern that nothing matches.
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
        """Return a copy of a JSON value with masked members, at any depth.

        Args:
            value: The value.
            mask: Masks a text that is not hidden as a whole.
        """
        if isinstance(value, dict):
            return {
                key: REDACTED if self.hides(key) else self.masked(member, mask)
                for key, member in value.items()
            }
        if isinstance(value, list):
            return [self.masked(member, mask) for member in value]
        return mask(value) if isinstance(value, str) else value

    def datum(self, text: str) -> str:
        """Return a text that is data with tokens and URLs' credentials masked."""
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
    """Yield where JSON objects and arrays stand in a text, and what they are."""
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
    """Return a pattern of the keys in prose, with what stands before their value."""
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
