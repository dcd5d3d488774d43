"""The secrets that sign what a client keeps for us: links, sessions, form tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

from flask import Flask
from itsdangerous import BadData, URLSafeSerializer

from flask_forge_jobs.config.checks import SECRETS, RefusedError
from flask_forge_jobs.errors import ConfigurationError

# Signed texts are far shorter; the signature of a longer one is not checked.
_LONGEST = 512
_KEY = "FORGE_JOBS_LINK_SECRETS"


class Signer:
    """Signs with the configured secrets.

    ``secrets`` has the newest first; an empty list means the application's
    ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.

    Raises:
        ConfigurationError: A secret is short.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        try:
            SECRETS.read(secrets)
        except RefusedError as error:
            raise ConfigurationError(_KEY, str(error)) from None
        self._secrets = tuple(secrets)

    def secrets(self, app: Flask) -> Sequence[bytes]:
        """Return the secrets, the newest first; empty if none is configured."""
        # Read each time: applications often set both after init_app.
        secrets: Sequence[str | bytes] = self._secrets
        if not secrets and app.secret_key:
            older = app.config.get("SECRET_KEY_FALLBACKS") or ()
            secrets = (app.secret_key, *older)
        return [each.encode() if isinstance(each, str) else each for each in secrets]

    def serializer(self, app: Flask, salt: str) -> URLSafeSerializer | None:
        """Return a serializer for one use; None without a secret.

        ``salt`` keeps a text that is signed for another use from passing for one.
        """
        secrets = self.secrets(app)
        if not secrets:
            return None
        return URLSafeSerializer(
            list(reversed(secrets)),
            salt=salt,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def read(self, app: Flask, salt: str, text: str) -> list[Any] | None:
        """Return the values in a signed text; None if it is not of this use."""
        serializer = self.serializer(app, salt)
        if serializer is None or len(text) > _LONGEST or not text.isascii():
            return None
        try:
            return cast("list[Any]", serializer.loads(text))
        except BadData:
            return None
