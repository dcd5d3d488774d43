"""Conditional reads: an entity tag on what is read, and 304 for who has it already.

The database is asked all the same; what is saved is the body on its way. Nobody gets a
304 who did not send ``If-None-Match``.
"""

from __future__ import annotations

from hashlib import blake2b

from flask import Response

from flask_forge_jobs.api.request_state import RequestState

_TAG_BYTES = 16
OK, NOT_MODIFIED = 200, 304


def answer_conditionally(state: RequestState, response: Response) -> Response:
    """Add a strong ``ETag`` to a successful read, and drop a body that is known.

    Args:
        state: What it answers.
        response: The answer.
    """
    request = state.request
    if (
        request.method not in {"GET", "HEAD"}
        or response.status_code != OK
        or response.direct_passthrough
        or not state.route.is_compared
    ):
        return response
    tag = blake2b(response.get_data(), digest_size=_TAG_BYTES).hexdigest()
    response.headers["ETag"] = f'"{tag}"'
    if "If-None-Match" in request.headers and request.if_none_match.contains_weak(tag):
        response.status_code = NOT_MODIFIED
        response.set_data(b"")
        del response.headers["Content-Length"]
        del response.headers["Content-Type"]
    return response
