"""Status links: signed, expiring links that show the state of one job.

A link grants that one right to its bearer. It is signed and not stored, so it
cannot be revoked; a new secret invalidates all links signed with the old one.
"""

from __future__ import annotations

from flask import Flask

from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.bounds import check_seconds
from flask_forge_jobs.model.instants import SECOND_US

# Keeps other texts that the application signs from passing as a link.
_SALT = "flask_forge_jobs.status-link"
EXPIRES_RANGE_S = (1, 366 * 86_400)


class StatusLinks:
    """Signs and reads the token in a status link."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock

    def token(self, app: Flask, job_id: str, expires_in_s: float) -> str:
        """Return a token for a job that expires in 1 second to 366 days.

        Raises:
            InvalidInputError: ``expires_in_s`` is out of bounds.
            ConfigurationError: There is no secret.
        """
        check_seconds("expires_in_s", expires_in_s, *EXPIRES_RANGE_S)
        serializer = self._signer.serializer(app, _SALT)
        if serializer is None:
            raise ConfigurationError("SECRET_KEY", "must be set to sign status links")
        expires_at = self._clock.now_us() // SECOND_US + int(expires_in_s)
        return str(serializer.dumps([job_id, expires_at]))

    def job_id(self, app: Flask, token: str) -> str | None:
        """Return the job of a token; None if the token is invalid or has expired."""
        values = self._signer.read(app, _SALT, token)
        if values is None:
            return None
        job_id, expires_at = values
        if self._clock.now_us() >= expires_at * SECOND_US:
            return None
        return str(job_id)
