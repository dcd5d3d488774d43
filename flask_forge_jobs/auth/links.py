"""Status links: signed, expiring links that show the state of one job.

A link grants that one right to its bearer. It is signed and not stored, so it
cannot be revoked; a new secret invalidates all links signed with the old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from flask import Flask
from itsdangerous import BadData, URLSafeSerializer

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.checks import SECRETS, RefusedError
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.bounds import check_seconds
from flask_forge_jobs.model.instants import SECOND_US

_KEY = "FORGE_JOBS_LINK_SECRETS"
# Keeps other texts that the application signs from passing as a link.
_SALT = "flask_forge_jobs.status-link"
# Far longer than any of our tokens; longer texts are refused unread.
_LONGEST = 512
EXPIRES_RANGE_S = (1, 366 * 86_400)


class StatusLinks:
    """Signs and reads the token in a status link.

    ``secrets`` are the signing secrets, the newest first; an empty list means the
    application's ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.

    Raises:
        ConfigurationError: A secret is short.
    """

    def __init__(self, secrets: Sequence[str], clock: Clock) -> None:
        try:
            SECRETS.read(secrets)
        except RefusedError as error:
            raise ConfigurationError(_KEY, str(error)) from None
        self._secrets = tuple(secrets)
        self._clock = clock

    def token(self, app: Flask, job_id: str, expires_in_s: float) -> str:
        """Return a token for a job that expires in 1 second to 366 days.

        Raises:
            InvalidInputError: ``expires_in_s`` is out of bounds.
            ConfigurationError: There is no secret.
        """
        check_seconds("expires_in_s", expires_in_s, *EXPIRES_RANGE_S)
        serializer = self._serializer(app)
        if serializer is None:
            raise ConfigurationError("SECRET_KEY", "must be set to sign status links")
        expires_at = self._clock.now_us() // SECOND_US + int(expires_in_s)
        return str(serializer.dumps([job_id, expires_at]))

    def job_id(self, app: Flask, token: str) -> str | None:
        """Return the job of a token; None if the token is invalid or has expired."""
        serializer = self._serializer(app)
        if serializer is None or len(token) > _LONGEST or not token.isascii():
            return None
        try:
            job_id, expires_at = serializer.loads(token)
        except BadData:
            return None
        if self._clock.now_us() >= expires_at * SECOND_US:
            return None
        return str(job_id)

    def _serializer(self, app: Flask) -> URLSafeSerializer | None:
        # Read each time: applications often set both after init_app.
        secrets: Sequence[Any] = self._secrets
        if not secrets:
            if not app.secret_key:
                return None
            older = app.config.get("SECRET_KEY_FALLBACKS") or ()
            secrets = (app.secret_key, *older)
        return URLSafeSerializer(
            list(reversed(secrets)),
            salt=_SALT,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
