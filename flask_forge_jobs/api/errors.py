"""Maps exceptions to kind and status, and to one tagged error on the wire.

Every error below the mount point has this form, errors of the framework too; only who
asks for a page gets one.
Statements, addresses and tracebacks go to the log only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from flask import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.response import json_response
from flask_forge_jobs.auth.access import AuthenticatorError
from flask_forge_jobs.errors import (
    AlreadyRunningError,
    ConflictError,
    ForgeJobsError,
    InvalidInputError,
    NotFoundError,
    RateLimitedError,
    SchemaTooNewError,
    StaleSettingsError,
    StorageBusyError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.log_lines import LogThrottle, one_line
from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.tasks.failures import fit, mask_known
from flask_forge_jobs.tasks.scalars import FailedCheckError

LOGGER = logging.getLogger(__name__)
_AWAY = LogThrottle()
# Clients choose how often the checks of an application's class fail.
_CHECKS = LogThrottle(max_lines=10)
# A message may quote a long value of the request.
MAX_MESSAGE_LENGTH = 500
# A field may be an unknown key of the client's, which fills a body.
MAX_FIELD_LENGTH = 500
BUSY_RETRY_AFTER_S = 1
UNAVAILABLE_RETRY_AFTER_S = 5
SERVER_ERROR = 500

# The row of the nearest base class applies.
STATUSES: dict[type, tuple[str, int]] = {
    InvalidInputError: ("validation", 400),
    NotFoundError: ("not_found", 404),
    StaleSettingsError: ("conflict", 412),
    ConflictError: ("conflict", 409),
    RateLimitedError: ("rate_limited", 429),
    StorageBusyError: ("conflict", 409),
    StorageOutcomeUnknownError: ("unavailable", 503),
    StorageUnavailableError: ("unavailable", 503),
    SchemaTooNewError: ("unavailable", 503),
    StorageError: ("storage", 500),
    Exception: ("internal", 500),
}
# Kind and, for a validation error, the part of the request as its field.
HTTP_KINDS: dict[int, tuple[str, str | None]] = {
    400: ("validation", "request"),
    401: ("unauthorized", None),
    403: ("forbidden", None),
    404: ("not_found", None),
    405: ("method_not_allowed", None),
    409: ("conflict", None),
    411: ("validation", "body"),
    412: ("conflict", None),
    413: ("validation", "body"),
    415: ("validation", "content-type"),
    503: ("unavailable", None),
}
_GENERIC_MESSAGES: dict[type, str] = {
    StorageBusyError: "the database is busy; try again",
    StorageUnavailableError: "the database does not answer; try again later",
    StorageError: "the database failed; the log has the details",
    Exception: "internal error; the log has the details under this request id",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """The part of an error that the client gets."""

    kind: str
    status: int
    message: str
    field: str | None = None
    retry_after_s: int | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> dict[str, object]:
        """Return the tagged error; the order of its keys is part of the contract."""
        document: dict[str, object] = {"kind": self.kind}
        if self.field is not None:
            document["field"] = self.field[:MAX_FIELD_LENGTH]
        if self.kind != "rate_limited":
            document["msg"] = self.message[:MAX_MESSAGE_LENGTH]
        if self.kind in {"rate_limited", "unavailable"}:
            document["retry_after_secs"] = self.retry_after_s
        return document


def json_problem(problem: Problem) -> Response:
    """Return a tagged error."""
    return json_response(problem.body(), problem.status)


def error_response(
    error: Exception,
    *,
    mask: Mask = mask_known,
    write: Callable[[Problem], Response] = json_problem,
) -> Response:
    """Return the response to an exception; the log gets the rest."""
    if isinstance(error, HTTPException):
        if error.response is not None or (error.code or SERVER_ERROR) < 400:  # noqa: PLR2004  # a redirect, or a response that the application made
            return cast("Response", error.get_response())
        problem = _http_problem(error)
    else:
        problem = _problem(error)
    if isinstance(error, StorageError):
        # Later steps of this request need not wait for the database again.
        present_state().has_storage_failed = True
    _log(error, problem, mask)
    response = write(problem)
    response.headers.update(dict(problem.headers))
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


def _problem(error: Exception) -> Problem:
    row = next(base for base in type(error).__mro__ if base in STATUSES)
    kind, status = STATUSES[row]
    message = _GENERIC_MESSAGES.get(row, str(error))
    if isinstance(error, InvalidInputError):
        return Problem(kind, status, error.message, field=error.field)
    if isinstance(error, RateLimitedError):
        return Problem(kind, status, message, retry_after_s=error.retry_after_s)
    if isinstance(error, StorageBusyError | AlreadyRunningError):
        return Problem(kind, status, message, retry_after_s=BUSY_RETRY_AFTER_S)
    if kind == "unavailable":
        return Problem(kind, status, message, retry_after_s=UNAVAILABLE_RETRY_AFTER_S)
    return Problem(kind, status, message)


def _http_problem(error: HTTPException) -> Problem:
    status = error.code or SERVER_ERROR
    fallback = ("internal", None) if status >= SERVER_ERROR else HTTP_KINDS[400]
    kind, field_name = HTTP_KINDS.get(status, fallback)
    retry_after_s = None
    if status == 429:  # noqa: PLR2004  # the only status whose body has no message
        kind, field_name = "rate_limited", None
    if kind in {"rate_limited", "unavailable"}:
        stated = getattr(error, "retry_after", None)
        retry_after_s = stated if isinstance(stated, int) else UNAVAILABLE_RETRY_AFTER_S
    headers = []
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers.append(("Allow", allow_header(error.valid_methods)))
    challenge = getattr(error, "www_authenticate", None)
    if challenge:
        headers.append(("WWW-Authenticate", ", ".join(map(str, challenge))))
    return Problem(
        kind,
        status,
        error.description or error.name,
        field=field_name,
        retry_after_s=retry_after_s,
        headers=tuple(headers),
    )


def allow_header(methods: Iterable[str]) -> str:
    """Return the value of ``Allow``; ``OPTIONS`` is always allowed."""
    return ", ".join(sorted({*methods, "OPTIONS"}))


def _log(error: Exception, problem: Problem, mask: Mask) -> None:
    asked = present_state().id
    # In a bulk request the cause is the error of an item.
    for check in (error, error.__cause__):
        if isinstance(check, FailedCheckError) and _CHECKS.is_time_for("check"):
            text = fit(str(check), mask) + _CHECKS.more("check")
            LOGGER.warning("request %s: %s", asked, text)
    if isinstance(error, AuthenticatorError):
        LOGGER.error(
            "request %s: FORGE_JOBS_AUTH failed: %s",
            asked,
            error.reason,
            exc_info=error.__cause__,
        )
    elif isinstance(error, StorageBusyError):
        LOGGER.warning("request %s: database busy: %s", asked, one_line(str(error)))
    elif isinstance(error, SchemaTooNewError):
        LOGGER.error("request %s: %s", asked, error)
    elif isinstance(error, StorageUnavailableError):
        # Every request fails here while the database is unavailable.
        kind = type(error).__name__
        if _AWAY.is_time_for(kind):
            text = one_line(str(error)) + _AWAY.more(kind)
            LOGGER.error("request %s: database unavailable: %s", asked, text)
    elif problem.status >= SERVER_ERROR and not isinstance(error, HTTPException):
        known = isinstance(error, ForgeJobsError)
        LOGGER.error(
            "request %s: %s",
            asked,
            "storage failed" if known else "unexpected error",
            exc_info=error,
        )
