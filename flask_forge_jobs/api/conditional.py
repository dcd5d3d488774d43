"""Conditional reads: an entity tag on what is read, and 304 for who has it already.

The database is asked all the same; what is saved is the body on its way. Nobody gets a
304 who did not send ``If-None-Match``.
"""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.request_state import RequestState

OK = 200


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
    response.add_etag()
    known = request.headers.get("If-None-Match")
    if known is not None:
        # Of all conditions only this one: the others are for changes and for ranges.
        asked = {"REQUEST_METHOD": request.method, "HTTP_IF_NONE_MATCH": known}
        response.make_conditional(asked)
        del response.headers["Date"]  # which servers add themselves
    return response
