"""Conditional reads: ``ETag`` on every read, 304 for a matching ``If-None-Match``.

The query still runs; a 304 saves only the body.
"""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.request_state import RequestState

OK = 200


def answer_conditionally(state: RequestState, response: Response) -> Response:
    """Add a strong ``ETag`` to a successful read, and drop a body the client has."""
    request = state.request
    if (
        request.method not in {"GET", "HEAD"}
        or response.status_code != OK
        or response.direct_passthrough
        or not state.route.is_compared
    ):
        return response
    response.add_etag()
    known = request.headers.get("If-None-Match")
    if known is not None:
        # Only this condition: the others are for changes and ranges.
        asked = {"REQUEST_METHOD": request.method, "HTTP_IF_NONE_MATCH": known}
        response.make_conditional(asked)
        del response.headers["Date"]  # the server adds it
    return response
