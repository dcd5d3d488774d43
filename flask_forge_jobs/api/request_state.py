"""The state of the current request, in one object.

It keeps the request itself, because access through Flask's proxies is slow and every
response needs it dozens of times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast
from uuid import uuid4

from flask import Request, g, request

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.auth.permissions import Principal

ID_HEADER = "X-Request-Id"
ID_PATTERN = "[A-Za-z0-9._-]{1,128}"
_ID = re.compile(ID_PATTERN)


@dataclass(slots=True)
class RequestState:
    """One request, from its first look-up to its response."""

    request: Request
    id: str
    # Unset for a URL without a route.
    route: Route = field(init=False, repr=False)
    began: float = field(default_factory=perf_counter)
    # None until the caller is known, and on open routes.
    principal: Principal | None = None
    # Whether the response may show secrets.
    reveals: bool = False
    # The parsed body; None until it is read.
    document: object = None
    # Digests of the old and the new value of an edit.
    edit: dict[str, str] | None = None
    # Whether the audit entry is stored.
    is_noted: bool = False
    has_storage_failed: bool = False


def present_state() -> RequestState:
    """Return the state of the current request.

    Its id is the client's ``X-Request-Id`` if that matches ``[A-Za-z0-9._-]{1,128}``,
    else a new one; other texts must not get into the log.
    """
    # The type stubs declare the proxy as a request.
    asked = cast("Request", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
    found: RequestState | None = g.get("forge_jobs_request")
    # An application context may outlive a request.
    if found is None or found.request is not asked:
        offered = asked.headers.get(ID_HEADER, "")
        found = RequestState(asked, offered if _ID.fullmatch(offered) else uuid4().hex)
        g.forge_jobs_request = found
    return found
