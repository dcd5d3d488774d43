"""The id of a request: the caller's own, or one of ours."""

from __future__ import annotations

import re
from uuid import uuid4

from flask import g, request

HEADER = "X-Request-Id"
ACCEPTED_PATTERN = "[A-Za-z0-9._-]{1,128}"
_ACCEPTED = re.compile(ACCEPTED_PATTERN)


def request_id() -> str:
    """Return the present request's id, the same on every call.

    A header of another form than ``[A-Za-z0-9._-]{1,128}`` is not trusted with a place
    in the log; a fresh id takes its place.
    """
    known: str | None = g.get("forge_jobs_request_id")
    if known is None:
        offered = request.headers.get(HEADER, "")
        known = offered if _ACCEPTED.fullmatch(offered) else uuid4().hex
        g.forge_jobs_request_id = known
    return known
