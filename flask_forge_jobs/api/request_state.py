"""What is known of the present request, in one object.

It holds the request itself: each look through Flask's proxies costs as much as a dozen
attributes, and every answer takes dozens of looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast
from uuid import uuid4

from flask import Request, g, request

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.auth.principal import Principal

ID_HEADER = "X-Request-Id"
ID_PATTERN = "[A-Za-z0-9._-]{1,128}"
_ID = re.compile(ID_PATTERN)


@dataclass(slots=True)
class RequestState:
    """One request on its way from the first look at it to its answer.

    Args:
        request: What came in.
        id: The caller's own, or a fresh one; see :func:`present_state`.
        route: What it was sent to; unset for a URL that no route serves.
        began: Reading of :func:`time.perf_counter` at the first look.
        principal: Who sent it; None before that is known, and for good on a route that
            is open to everybody.
        reveals: Whether its answer may show what is otherwise masked.
        document: Its body, parsed; None before it is read.
        edit: Digests of what an edit found and of what it left; None without one.
        is_noted: Whether its entry in the audit trail is stored.
        has_storage_failed: Whether the database failed it.
    """

    request: Request
    id: str
    route: Route = field(init=False, repr=False)
    began: float = field(default_factory=perf_counter)
    principal: Principal | None = None
    reveals: bool = False
    document: object = None
    edit: dict[str, str] | None = None
    is_noted: bool = False
    has_storage_failed: bool = False


def present_state() -> RequestState:
    """Return the state of the present request, the same one for as long as it lasts.

    An ``X-Request-Id`` of another form than ``[A-Za-z0-9._-]{1,128}`` is not trusted
    with a place in the log; a fresh id takes its place.
    """
    # The type stubs take the proxy for a request.
    asked = cast("Request", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
    found: RequestState | None = g.get("forge_jobs_request")
    # A context of the application may outlive a request.
    if found is None or found.request is not asked:
        offered = asked.headers.get(ID_HEADER, "")
        found = RequestState(asked, offered if _ID.fullmatch(offered) else uuid4().hex)
        g.forge_jobs_request = found
    return found
