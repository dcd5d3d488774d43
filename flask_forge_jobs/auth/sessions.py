"""Sessions: what a browser has instead of a token, after its user has signed in.

A session is a signed cookie with the id and a digest of a token, never the token: who
removes or replaces a token in the settings ends its sessions. It opens reads, and forms
with their own tokens, but no other change: see :mod:`flask_forge_jobs.api.guard`.
"""

from __future__ import annotations

from flask import Flask, Request, Response
from flask.sessions import SessionInterface

from flask_forge_jobs.auth.csrf import keep_cookie
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.instants import SECOND_US

COOKIE = "forge_jobs_session"
LENGTH_S = 12 * 3600
_SALT = "flask_forge_jobs.session"


class NoFlaskSessions(SessionInterface):
    """Opens none of Flask's sessions, which make a signer for each request."""

    def open_session(self, app: Flask, request: Request) -> None:
        """Return None: Flask puts an empty session in its place."""
        del app, request


class Sessions:
    """Begins, recognises and ends sessions."""

    def __init__(self, tokens: TokenSet | None, signer: Signer, clock: Clock) -> None:
        self._tokens = tokens
        self._signer = signer
        self._clock = clock

    def begin(self, app: Flask, token: str) -> str | None:
        """Return the value of the cookie for the owner of a token.

        None means that the token is unknown or has expired.

        Raises:
            LookupError: There is no secret to sign it with.
        """
        serializer = self._signer.serializer(app, _SALT)
        if serializer is None:
            raise LookupError("no secret")
        principal = self._tokens.principal(token) if self._tokens else None
        if self._tokens is None or principal is None:
            return None
        digest = self._tokens.short_digest(principal.id)
        return str(serializer.dumps([principal.id, digest, self._now_s()]))

    def may_begin(self, app: Flask) -> bool:
        """Return whether there is a secret to sign sessions with."""
        return self._signer.serializer(app, _SALT) is not None

    def principal(self, app: Flask, request: Request) -> Principal | None:
        """Return the owner of a request's session; None without a valid one."""
        value = request.cookies.get(COOKIE, "")
        if self._tokens is None or not value:
            return None
        values = self._signer.read(app, _SALT, value)
        if values is None:
            return None
        token_id, digest, began_s = values
        if self._now_s() - began_s >= LENGTH_S:
            return None
        return self._tokens.owner(token_id, digest)

    def _now_s(self) -> int:
        return self._clock.now_us() // SECOND_US


def set_cookie(request: Request, response: Response, value: str) -> None:
    """Let a browser keep a session until it is closed.

    Without a path: the browser keeps it for the folder of the page, which is the mount
    point as the browser sees it, also behind a proxy that strips a prefix.
    """
    keep_cookie(request, response, COOKIE, value, path=None)


def delete_cookie(response: Response) -> None:
    """Let a browser forget its session."""
    response.delete_cookie(COOKIE, path=None, httponly=True, samesite="Lax")
