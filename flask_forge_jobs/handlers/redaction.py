"""Masks secrets before a payload or an error text leaves the process.

See :mod:`flask_forge_jobs.model.masking` for what is recognised. Name the other keys,
or pass a hook that knows your payloads.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable

from flask_forge_jobs.model.jobs import Job
from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS, REDACTED, Masking

logger = logging.getLogger(__name__)

# Takes a job (None for the payload of a schedule) and its payload, masked by key, and
# returns the payload to show.
RedactionHook = Callable[[Job | None, object], object]


class Redactor(Masking):
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
        super().__init__(patterns)
        self._hook = hook

    def payload(self, value: object) -> object:
        """Return a copy of a JSON value with masked members, at any depth.

        Texts in it are data, so only tokens and credentials in URLs are masked there,
        and not what prose would call a secret.
        """
        return self.masked(value, self.datum)

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
        masked = self.masked(document, self.text)
        return masked if self._hook is None else _without_payloads(masked)


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
