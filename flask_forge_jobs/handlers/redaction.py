"""Masks secrets before a payload or an error text leaves the process.

A pattern names keys, whatever their case. One without a wildcard hits a key that has
its words in a row: ``token`` hits ``token``, ``accessToken`` and ``x-api-token`` but
not ``tokenizer``; ``api_key`` hits ``apikey`` too. One with ``*`` or ``?`` is compared
with the whole key. Of values only those are recognised that look like the tokens of
well-known services, private keys, or our own; any other secret under a harmless key
stays readable, so name the key, or pass a hook that knows your payloads.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from flask_forge_jobs.config.settings import DEFAULT_REDACT_KEYS
from flask_forge_jobs.model.jobs import Job

logger = logging.getLogger(__name__)

# Takes a job (None for the payload of a schedule) and its payload, masked by key, and
# returns the payload to show.
RedactionHook = Callable[[Job | None, object], object]
REDACTED = "[redacted]"
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]{0,256}:)[^/\s@]{1,256}@")
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


class Redactor:
    """Masks by key name, and what looks like a token.

    Args:
        patterns: Key names, optionally with ``*`` and ``?``; default
            :data:`DEFAULT_REDACT_KEYS`. Empty masks nothing by name.
        hook: Has the last word on payloads of jobs. When it fails or returns what is
            not JSON, the whole payload is masked.
    """

    def __init__(
        self,
        patterns: Iterable[str] = DEFAULT_REDACT_KEYS,
        hook: RedactionHook | None = None,
    ) -> None:
        self._hook = hook
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
        """Return a copy of a JSON value with masked members, at any depth.

        Texts in it are data, so only tokens are masked there, and not what prose would
        call a secret.
        """
        return self._masked(value, lambda text: _TOKEN.sub(REDACTED, text))

    def _masked(self, value: object, mask: Callable[[str], str]) -> object:
        if isinstance(value, dict):
            return {
                key: REDACTED if self.hides(key) else self._masked(member, mask)
                for key, member in value.items()
            }
        if isinstance(value, list):
            return [self._masked(member, mask) for member in value]
        return mask(value) if isinstance(value, str) else value

    def job_payload(self, job: Job | None, value: object) -> object:
        """Return a job's payload as it may be shown.

        Args:
            job: Whose payload it is; None for a schedule's.
            value: The payload as a JSON value.
        """
        masked = self.payload(value)
        if self._hook is None:
            return masked
        try:
            shown = self._hook(job, masked)
            json.dumps(shown, allow_nan=False)
        except Exception:
            logger.exception("FORGE_JOBS_REDACT failed, so the payload is masked")
            return REDACTED
        return shown

    def request(self, document: object) -> object:
        """Return what a caller sent as it may be kept; its texts may be prose.

        With a hook the payloads in it are masked whole: there is no job yet that the
        hook could be asked about.
        """
        masked = self._masked(document, self.text)
        return masked if self._hook is None else _without_payloads(masked)

    def text(self, text: str) -> str:
        """Return prose with ``key=value``, ``key: value`` and URL passwords masked."""
        if self._assignment is not None:
            text = self._assignment.sub(rf"\g<key>{REDACTED}", text)
        return _TOKEN.sub(REDACTED, _URL_PASSWORD.sub(rf"\g<1>{REDACTED}@", text))


def _without_payloads(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: REDACTED if key == "payload" else _without_payloads(member)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [_without_payloads(member) for member in value]
    return value


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
