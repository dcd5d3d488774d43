"""Conditional reads: an entity tag on what is read, and 304 for who has it already.

The database is asked all the same; what is saved is the body on its way. Nobody gets a
304 who did not send ``If-None-Match``.
"""

from __future__ import annotations

from hashlib import blake2b

from flask import Response, request

from flask_forge_jobs.api.guard import endpoint

# What scrapers and balancers read; some of them take a 304 for a failure.
_ALWAYS_WHOLE = frozenset({"health", "v1_health", "v1_ready", "metrics", "v1_metrics"})
_TAG_BYTES = 16
OK, NOT_MODIFIED = 200, 304


def answer_conditionally(response: Response) -> Response:
    """Add a strong ``ETag`` to a successful read, and drop a body that is known.

    A tag that a view has set stays alone: it stands for what ``If-Match`` guards, not
    for the bytes of the answer.
    """
    if (
        request.method not in {"GET", "HEAD"}
        or response.status_code != OK
        or response.direct_passthrough
        or "ETag" in response.headers
        or endpoint() in _ALWAYS_WHOLE
    ):
        return response
    tag = blake2b(response.get_data(), digest_size=_TAG_BYTES).hexdigest()
    response.set_etag(tag)
    if "If-None-Match" in request.headers and request.if_none_match.contains_weak(tag):
        response.status_code = NOT_MODIFIED
        response.set_data(b"")
        del response.headers["Content-Length"]
        del response.headers["Content-Type"]
    return response
