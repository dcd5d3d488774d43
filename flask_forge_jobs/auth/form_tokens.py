"""Form tokens: a form with one comes from a dashboard page that its sender saw.

A browser that opens a page with a form gets a random nonce in a cookie. The token in
the form is a keyed hash of that nonce and of the caller, so it is good for no other
browser and no other caller. Without a secret it is a plain hash: a page of another site
knows the nonce in neither case.

A token serves every form of its browser and caller, because pages have many forms and
stay open for long.
"""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256

from flask import Flask, Request
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.auth.signing import Signer

# In the path "/": the way to our mount point is unknown behind a proxy that strips a
# prefix without saying so. The nonce is no credential.
NONCE_COOKIE = "forge_jobs_nonce"
TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105  # a header's name
MESSAGE = "CSRF check: this form is not from a page of this session; open it again"
_SALT = b"flask_forge_jobs.form"
_NONCE_BYTES = 16
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")
# Of 43 characters in Base64; 128 bits are enough, and every form repeats them.
_TOKEN_DIGITS = 32


def new_nonce() -> str:
    """Return a random nonce."""
    return secrets.token_urlsafe(_NONCE_BYTES)


def nonce_of(request: Request) -> str | None:
    """Return the nonce of the sender's browser; None without a valid one."""
    nonce = request.cookies.get(NONCE_COOKIE, "")
    return nonce if _NONCE.fullmatch(nonce) else None


class FormTokens:
    """Makes and checks form tokens."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def token(self, app: Flask, caller: str, nonce: str, use: str = "") -> str:
        """Return the token of a caller, ``""`` for a stranger, and a nonce.

        ``use`` binds it to a text, for instance to a message that it signs.
        """
        known = self._signer.secrets(app)
        return _mac(known[0] if known else b"", caller, nonce, use)

    def matches(
        self, app: Flask, caller: str, nonce: str | None, token: str, use: str = ""
    ) -> bool:
        """Return whether a token is that of a caller and a nonce."""
        if nonce is None:
            return False
        given = token.encode("utf-8", "replace")
        known = self._signer.secrets(app) or (b"",)
        good = [_mac(secret, caller, nonce, use) for secret in known]
        return any([hmac.compare_digest(each.encode(), given) for each in good])  # noqa: C419  # each is compared

    def check(self, app: Flask, request: Request, caller: str, token: str) -> None:
        """Check the token of a form, or of the header of a script.

        Raises:
            Forbidden: It is missing, or that of another browser or caller.
        """
        given = request.headers.get(TOKEN_HEADER) or token
        if not self.matches(app, caller, nonce_of(request), given):
            raise Forbidden(MESSAGE)


def _mac(secret: bytes, caller: str, nonce: str, use: str) -> str:
    # No part may slide into the next: a nonce has 22 characters, a caller no NUL.
    text = b"\0".join([_SALT, nonce.encode(), caller.encode(), use.encode()])
    return hmac.new(secret, text, sha256).hexdigest()[:_TOKEN_DIGITS]
