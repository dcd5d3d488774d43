"""Masks secrets in payloads, results and requests; errors are masked when stored.

:mod:`flask_forge_jobs.model.masking` lists the forms of secrets. Configure other keys,
or a hook that knows your payloads.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable

from flask_forge_jobs.model.jobs import Job
from flask_forge_jobs.model.masking import (
    DEFAULT_REDACT_KEYS,
    REDACTED,
    Masked,
    Masking,
)

logger = logging.getLogger(__name__)

# Keys of requests: of a job, and of a batch.
_PAYLOADS = ("payload", "data")
# Takes a job (None for a schedule's payload) and its payload, masked by key; returns
# the payload to show.
RedactionHook = Callable[[Job | None, object], object]


class Redactor(Masking):
    """Masks values of secret keys, and texts that look like tokens.

    Args:
        patterns: Key names, optionally with ``*`` and ``?``; default
            :data:`DEFAULT_REDACT_KEYS`. Empty masks nothing by name.
        hook: Has the last word on payloads of jobs. If it fails or returns a value that
            is not JSON, the whole payload is masked.
    """

    def __init__(
        self,
        patterns: Iterable[str] = DEFAULT_REDACT_KEYS,
        hook: RedactionHook | None = None,
    ) -> None:
        super().__init__(patterns)
        self._hook = hook

    def payload(self, value: object) -> object:
        """Return a copy of a JSON value with secrets masked at any depth.

        Its texts are data, so only tokens and credentials in URLs are masked in them,
        not texts that look like secrets in prose.
        """
        return self.masked(value, self.datum)

    def beginning(self, value: object, max_values: int) -> object:
        """Return the first ``max_values`` values as :meth:`payload` does."""
        return self.masked_beginning(value, self.datum, max_values)

    def job_payload(
        self, job: Job | None, value: object, max_values: int | None = None
    ) -> object:
        """Return a job's payload to show.

        Args:
            job: None for a schedule's payload.
            value: The payload as a JSON value.
            max_values: Only so many values are needed; a hook takes and returns all.
        """
        if max_values is not None and self._hook is None:
            return self.beginning(value, max_values)
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
        """Return a request to store; its texts may be prose.

        With a hook, whole payloads are masked, because there is no job to pass to the
        hook yet.
        """
        masked = self.masked(document, self.text)
        match document, masked:
            case {"body": {"filter": {"signature": str(cause)}}}, {"body": body}:
                # That of an error is no secret, unlike that of a signed message.
                body["filter"]["signature"] = self.text(cause)
        return masked if self._hook is None else _without_payloads(masked)


def _without_payloads(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: REDACTED if key in _PAYLOADS else _without_payloads(member)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [_without_payloads(member) for member in value]
    return value


class Unmasked(Redactor):
    """Masks nothing."""

    def payload(self, value: object) -> object:
        """Return a JSON value unchanged."""
        return value

    def beginning(self, value: object, max_values: int) -> object:  # noqa: ARG002
        """Return a JSON value unchanged."""
        return value

    def text(self, text: str) -> Masked:
        """Return text unchanged."""
        return Masked(text)


UNMASKED = Unmasked()
"""The one that all share: to make one takes longer than to show a job."""
