"""Identifies the caller: by token, session, the application's own login, or as local.

Closed by default. Without an authenticator, only direct requests from this machine are
answered, and only in debug, in tests or under ``forge-jobs-server --open``. The peer's
address alone is no proof: behind a proxy on the same host every client is 127.0.0.1,
and so is a web page whose name was rebound to 127.0.0.1. Any page may send requests
from the browser of this machine, and the application may let it read their answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import NoReturn

from flask import Flask, Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from flask_forge_jobs.auth.csrf import is_read_from_elsewhere
from flask_forge_jobs.auth.hosts import HostList, is_plainly_local
from flask_forge_jobs.auth.limits import FailureLimit
from flask_forge_jobs.auth.permissions import HOST, LOCAL, Principal
from flask_forge_jobs.auth.sessions import Sessions
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.errors import RateLimitedError
from flask_forge_jobs.model.bounds import with_article

# Returns a Principal, True for a caller with every permission, or None to refuse.
# Any other return value, and any exception, refuses too.
Authenticator = Callable[[Request], object]

_BEARER = re.compile(r"bearer (?P<token>.+)", re.IGNORECASE | re.DOTALL)
_REFUSALS = (401, 403)
# Prefix of the ids that an authenticator returns. Token ids have no colon, so the two
# cannot be confused.
USER_PREFIX = "user:"
CLOSED_MESSAGE = (
    "no authenticator is configured: only direct requests from this machine to a debug "
    "server are answered; set FORGE_JOBS_TOKENS or FORGE_JOBS_AUTH"
)
FOREIGN_MESSAGE = (
    "no authenticator is configured: pages of other origins may read this only if "
    "FORGE_JOBS_CORS_ORIGINS lists theirs"
)


class AuthenticatorError(Forbidden):
    """The application's authenticator failed; ``reason`` is for the log only."""

    def __init__(self, reason: str) -> None:
        super().__init__("the authenticator failed; the log has the details")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Identifies the sender of a request; a part that is None is not configured."""

    tokens: TokenSet | None
    sessions: Sessions
    authenticator: Authenticator | None
    failures: FailureLimit
    hosts: HostList
    # Whose pages may read the API.
    origins: Collection[str]
    is_open_to_loopback: bool

    def by_token(self, request: Request) -> Principal | None:
        """Return the owner of the request's token; None without a valid token."""
        match = _BEARER.fullmatch(request.environ.get("HTTP_AUTHORIZATION", ""))
        if self.tokens is None or match is None:
            return None
        return self.tokens.principal(match["token"])

    def by_session(self, request: Request, app: Flask) -> Principal | None:
        """Return the user of the request's session; None without a valid one.

        Raises:
            Forbidden: The host is not allowed.
        """
        principal = self.sessions.principal(app, request)
        if principal is not None:
            self.hosts.check(request)
        return principal

    def without_token(self, request: Request, app: Flask) -> Principal:
        """Return the sender of a request without a valid token.

        Raises:
            Unauthorized: The caller is unknown.
            RateLimitedError: The caller is unknown and has failed too often.
            Forbidden: The host is not allowed, or there is no authenticator and the
                request is not local, or a page of another origin sends it.
            AuthenticatorError: The application's authenticator failed.
        """
        # A page with a rebound name can send any header, but not a valid token.
        self.hosts.check(request)
        if self.authenticator is not None:
            return self._vouched_for(self.authenticator, request)
        if self.tokens is not None:
            self.refuse(request)
        is_open = app.debug or app.testing or self.is_open_to_loopback
        if not (is_open and is_plainly_local(request)):
            raise Forbidden(CLOSED_MESSAGE)
        if is_read_from_elsewhere(request, self.origins):
            raise Forbidden(FOREIGN_MESSAGE)
        return LOCAL

    def of_visitor(self, request: Request, app: Flask) -> Principal | None:
        """Return the caller of an open page by other means than a token, or None.

        Wrong credentials count as on any other route.

        Raises:
            AuthenticatorError: The application's authenticator failed.
            HTTPException: It answers itself, for instance with a redirect to its login.
        """
        try:
            return self.without_token(request, app)
        except AuthenticatorError:
            raise
        except RateLimitedError:
            return None
        except HTTPException as error:
            if error.get_response().status_code not in _REFUSALS:
                raise
            return None

    def _vouched_for(self, authenticator: Authenticator, request: Request) -> Principal:
        try:
            principal = _ask(authenticator, request)
        except HTTPException as error:
            # A redirect to a sign-in page is not a failure.
            if error.get_response().status_code in _REFUSALS:
                self._count(request)
            raise
        if principal is None:
            # Only the callable knows credentials, so every refusal counts.
            self._count(request)
            raise _nobody()
        return principal

    def refuse(self, request: Request) -> NoReturn:
        """Refuse a request whose sender is unknown.

        Raises:
            Unauthorized: The client may try again.
            RateLimitedError: It has sent too many wrong credentials.
        """
        # A request without a credential is not a failed attempt.
        if "Authorization" in request.headers:
            self._count(request)
        raise _nobody()

    def _count(self, request: Request) -> None:
        self.failures.record(request.environ.get("REMOTE_ADDR", ""))


def _nobody() -> Unauthorized:
    return Unauthorized(
        "no valid credential", www_authenticate=WWWAuthenticate("bearer")
    )


def _ask(authenticator: Authenticator, request: Request) -> Principal | None:
    try:
        answer = authenticator(request)
    except (HTTPException, RateLimitedError):
        raise  # the application's own refusal
    except Exception as error:
        raise AuthenticatorError(f"it raised {type(error).__name__}") from error
    if answer is True:
        return HOST
    if isinstance(answer, Principal):
        return replace(answer, id=f"{USER_PREFIX}{answer.id}")
    if answer:
        raise AuthenticatorError(
            f"it returned {with_article(type(answer).__name__)} instead of a "
            "Principal, True or None"
        )
    return None
