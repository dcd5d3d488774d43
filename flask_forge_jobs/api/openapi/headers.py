"""The headers of requests and responses.

A route names the headers its view uses; headers that follow from its other fields, such
as the ``ETag`` of a read, are added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow.fields import List

from flask_forge_jobs.api.request import ID_PATTERN
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, REQUEST_KEY_PATTERN

Document = dict[str, Any]
NOT_MODIFIED = 304
_TEXT: Document = {"type": "string"}
_COUNT: Document = {"type": "integer", "minimum": 0}
_TRUE: Document = {"type": "string", "enum": ["true"]}
_TAG = '"5d41402abc4b2a76b9719d911017c592"'
# Description, schema and example of each request header.
_TAKEN: Mapping[str, tuple[str, Document, str]] = {
    "If-None-Match": (
        "The ETag of a known response; 304 if the response is still the same.",
        _TEXT,
        _TAG,
    ),
    "If-Match": (
        "The ETag of the settings as read; 412 if they have changed since.",
        _TEXT,
        "*",
    ),
    REQUEST_KEY_FIELD: (
        "For 24 hours the same key and body give the same response; another body 409.",
        {"type": "string", "pattern": f"^{REQUEST_KEY_PATTERN}$"},
        "order-4711",
    ),
}
_GIVEN: Mapping[str, tuple[str, Document]] = {
    "X-Request-Id": (
        "The request's own id if it has this form, else a new one.",
        {"type": "string", "pattern": f"^{ID_PATTERN}$"},
    ),
    "ETag": ("Changes with the response; for a queue, with its settings.", _TEXT),
    "Retry-After": ("Seconds to wait; only some conflicts have it.", _COUNT),
    "WWW-Authenticate": ("The authentication scheme.", _TEXT),
    "Allow": ("The methods of the path.", _TEXT),
    "Deprecation": ("When the route was deprecated (RFC 9745).", _TEXT),
    "Location": ("Path of the created or existing resource.", _TEXT),
    "Link": ("Path of the next page, rel=next; absent on the last page.", _TEXT),
    "X-Total-Count": ("Total number of matching items.", _COUNT),
    "X-Result-Truncated": ("The response does not hold all items.", _TRUE),
    "X-Job-Deduped": (
        "Whether an unfinished job holds the dedupe key, so that no job was added.",
        {"type": "string", "enum": ["true", "false"]},
    ),
    "X-Queue-Created": ("The request registered the job's queue.", _TRUE),
    "Idempotency-Replayed": ("This is the response to an earlier request.", _TRUE),
    "X-Jobs-Skipped": ("How many jobs were not changed.", _COUNT),
    "X-Jobs-Not-Found": ("How many ids belong to no job.", _COUNT),
    "X-Jobs-Deleted": ("How many jobs were deleted.", _COUNT),
    "X-Jobs-Cancel-Requested": ("How many running jobs were asked to stop.", _COUNT),
    "X-Bulk-Complete": (
        "The call reached its limit; repeat it for the rest.",
        {"type": "string", "enum": ["false"]},
    ),
}
# Headers that follow from the status.
_BY_STATUS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def taken(route: Route) -> tuple[str, ...]:
    """Return the request headers that a route honours."""
    return (*route.takes, *(("If-None-Match",) if is_compared(route) else ()))


def given(route: Route) -> tuple[str, ...]:
    """Return the headers that a successful response of a route may have."""
    names = list(route.gives)
    if is_compared(route):
        names.append("ETag")
    if isinstance(route.answer, List):
        names.append("X-Total-Count")
    if route.is_deprecated:
        names.append("Deprecation")
    return tuple(dict.fromkeys(names))


def is_compared(route: Route) -> bool:
    """Return whether a route answers 304 to a matching ``If-None-Match``."""
    return route.method == "GET" and route.is_compared


def parameters(route: Route) -> list[Document]:
    """Return the header parameters of a route."""
    return [
        {
            "in": "header",
            "name": name,
            "description": description,
            "schema": schema,
            "example": example,
        }
        for name in taken(route)
        for description, schema, example in (_TAKEN[name],)
    ]


def components() -> Document:
    """Return the header object of each response header, by name."""
    return {
        name: {"description": description, "schema": schema}
        for name, (description, schema) in _GIVEN.items()
    }


def references(names: Iterable[str]) -> Document:
    """Return the ``headers`` of a response object, with those of every response."""
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Request-Id", *names)
    }


def of_refusal(status: int) -> Document:
    """Return the ``headers`` of an error response."""
    return references(_BY_STATUS.get(status, ()))
