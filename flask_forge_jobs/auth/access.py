"""Who is let in: a token, whom the host vouches for, or this machine's developer.

Closed by default. Without an authenticator only a program on this machine that talks to
us directly is answered, and only where that was asked for: in debug, in tests, or by
``forge-jobs-server --open``. The peer's address alone proves nothing: behind a proxy on
the same host everyone is 127.0.0.1, and a web page whose name was rebound to 127.0.0.1
is a local peer too. Hence all three conditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from flask import Flask
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
from werkzeug.wrappers import Request

from flask_forge_jobs.auth.failures import FailureLimit
from flask_forge_jobs.auth.hosts import HostList
from flask_forge_jobs.auth.loopback import is_plainly_local
from flask_forge_jobs.auth.principal import HOST, LOCAL, Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.errors import RateLimitedError

# Returns a Principal, True for somebody who may do everything, or None to refuse.
# Whatever else it returns or raises refuses too.
Authenticator = Callable[[Request], object]

_BEARER = re.compile(r"bearer (?P<token>.+)", re.IGNORECASE | re.DOTALL)
# Statuses with which a host's authenticator refuses somebody.
_REFUSALS = (401, 403)
# Before the id of whom a callable recognises. No id of a token has a colon, so nobody
# is taken for a token.
USER_PREFIX = "user:"
CLOSED_MESSAGE = (
    "no authenticator is configured, so only a direct request from this machine to a "
    "debug server is answered; set FORGE_JOBS_AUTH"
)


class AuthenticatorError(Forbidden):
    """The host's authenticator failed, so nobody is let in.

    Args:
        reason: What it did; for the log only.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("the authenticator failed; the log has the details")
        self.reason = reason


class Access:
    """Finds out who sent a request.

    Args:
        tokens: The configured tokens; None when there are none.
        authenticator: Asked for a request without a token; None when there is none.
        failures: Counts wrong credentials.
        hosts: The names that a request without a valid token may be sent to.
        is_open_to_loopback: This machine is answered outside debug mode too.
    """

    def __init__(
        self,
        *,
        tokens: TokenSet | None,
        authenticator: Authenticator | None,
        failures: FailureLimit,
        hosts: HostList,
        is_open_to_loopback: bool,
    ) -> None:
        self._tokens = tokens
        self._authenticator = authenticator
        self._failures = failures
        self._hosts = hosts
        self._is_open_to_loopback = is_open_to_loopback

    def by_token(self, request: Request) -> Principal | None:
        """Return whom the request's token stands for; None without a valid one."""
        token = _bearer_token(request)
        if self._tokens is None or token is None:
            return None
        return self._tokens.principal(token)

    def without_token(self, request: Request, app: Flask) -> Principal:
        """Return who sent a request that has no valid token.

        Args:
            request: What came in.
            app: The application; its debug and testing flags open it to loopback.

        Raises:
            Unauthorized: No principal is known for this request.
            RateLimitedError: Likewise, and there were too many of these.
            Forbidden: There is no authenticator and the request is not plainly local;
                or it was sent to a host that is not allowed.
            AuthenticatorError: The host's authenticator failed.
        """
        # A page whose name was rebound to ours can send any header, but no valid token.
        self._hosts.check(request)
        if self._authenticator is not None:
            return self._vouched_for(self._authenticator, request)
        if self._tokens is not None:
            self.refuse(request)
        return self._local(request, app)

    def _vouched_for(self, authenticator: Authenticator, request: Request) -> Principal:
        try:
            found = _ask(authenticator, request)
        except HTTPException as error:
            # A way to sign in, such as a redirect, is no failure.
            if error.get_response().status_code in _REFUSALS:
                self._count(request)
            raise
        if found is None:
            # What a credential is, only the callable knows.
            self._count(request)
            raise _nobody()
        return found

    def _local(self, request: Request, app: Flask) -> Principal:
        is_open = app.debug or app.testing or self._is_open_to_loopback
        if not (is_open and is_plainly_local(request)):
            raise Forbidden(CLOSED_MESSAGE)
        return LOCAL

    def refuse(self, request: Request) -> NoReturn:
        """Refuse a request that nobody is known for.

        Raises:
            Unauthorized: Always.
            RateLimitedError: Instead of it, after too many wrong credentials.
        """
        # Who sends no credential at all has not tried one.
        if "Authorization" in request.headers:
            self._count(request)
        raise _nobody()

    def _count(self, request: Request) -> None:
        self._failures.record(request.environ.get("REMOTE_ADDR", ""))


def _nobody() -> Unauthorized:
    return Unauthorized(
        "no valid credential", www_authenticate=WWWAuthenticate("bearer")
    )


def _bearer_token(request: Request) -> str | None:
    match = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    return match["token"] if match else None


def _ask(authenticator: Authenticator, request: Request) -> Principal | None:
    try:
        answer = authenticator(request)
    except (HTTPException, RateLimitedError):
        raise  # a refusal in the host's own words
    except Exception as error:
        raise AuthenticatorError(f"it raised {type(error).__name__}") from error
    if answer is True:
        return HOST
    if isinstance(answer, Principal):
        return replace(answer, id=f"{USER_PREFIX}{answer.id}")
    if answer:
        raise AuthenticatorError(
            f"it returned a {type(answer).__name__} instead of a Principal, True or "
            "None"
        )
    return None
