"""The headers that requests may carry and answers may have, and which routes use them.

A route says which of them its view uses; what follows from the rest of the record, such
as the ``ETag`` of a read, is added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow.fields import List

from flask_forge_jobs.api.request_state import ID_PATTERN
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, REQUEST_KEY_PATTERN

Document = dict[str, Any]
NOT_MODIFIED = 304
_TEXT: Document = {"type": "string"}
_COUNT: Document = {"type": "integer", "minimum": 0}
_TRUE: Document = {"type": "string", "enum": ["true"]}
_TAG = '"5d41402abc4b2a76b9719d911017c592"'
# Name to description, schema and example.
_TAKEN: Mapping[str, tuple[str, Document, str]] = {
    "If-None-Match": (
        "The ETag of an answer that is known already; 304 when it would be the same.",
        _TEXT,
        _TAG,
    ),
    "If-Match": (
        "The ETag that the settings were read with; 412 when they have changed since.",
        _TEXT,
        "*",
    ),
    REQUEST_KEY_FIELD: (
        "For 24 hours the same key and contents give the same answer; others 409.",
        {"type": "string", "pattern": f"^{REQUEST_KEY_PATTERN}$"},
        "order-4711",
    ),
}
_GIVEN: Mapping[str, tuple[str, Document]] = {
    "X-Request-Id": (
        "The request's own id when it has this form, else a new one.",
        {"type": "string", "pattern": f"^{ID_PATTERN}$"},
    ),
    "ETag": ("Changes when the answer does; of a queue, when its settings do.", _TEXT),
    "Retry-After": ("Seconds to wait; not with every conflict.", _COUNT),
    "WWW-Authenticate": ("How to say who is asking.", _TEXT),
    "Allow": ("The methods that the path knows.", _TEXT),
    "Deprecation": ("Since when another route should be used (RFC 9745).", _TEXT),
    "Location": ("Path of what was made or found.", _TEXT),
    "Link": ("Path of the next page, rel=next; absent on the last one.", _TEXT),
    "X-Total-Count": ("How many items match in all.", _COUNT),
    "X-Result-Truncated": ("There are more items than the answer holds.", _TRUE),
    "X-Job-Deduped": (
        "Whether an unfinished job held the key and nothing was added.",
        {"type": "string", "enum": ["true", "false"]},
    ),
    "X-Queue-Created": ("The job's queue was not registered and is now.", _TRUE),
    "Idempotency-Replayed": ("The answer is that to an earlier request.", _TRUE),
    "X-Jobs-Skipped": ("How many jobs could not be acted on.", _COUNT),
    "X-Jobs-Not-Found": ("How many ids are no jobs.", _COUNT),
    "X-Jobs-Deleted": ("How many jobs were deleted.", _COUNT),
    "X-Jobs-Cancel-Requested": ("How many running jobs were asked to stop.", _COUNT),
    "X-Bulk-Complete": (
        "The call was cut short; repeat it for the rest.",
        {"type": "string", "enum": ["false"]},
    ),
}
# What an answer has because of its status alone.
_BY_STATUS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def taken(route: Route) -> tuple[str, ...]:
    """Return the headers of a request that a route honours."""
    return (*route.takes, *(("If-None-Match",) if is_compared(route) else ()))


def given(route: Route) -> tuple[str, ...]:
    """Return the headers that a successful answer of a route may have."""
    found = list(route.gives)
    if is_compared(route):
        found.append("ETag")
    if isinstance(route.answer, List):
        found.append("X-Total-Count")
    if route.is_deprecated:
        found.append("Deprecation")
    return tuple(dict.fromkeys(found))


def is_compared(route: Route) -> bool:
    """Return whether a route answers 304 to who has its answer already."""
    return route.method == "GET" and route.is_compared


def parameters(route: Route) -> list[Document]:
    """Return the parameter objects of the headers that a route honours."""
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
    """Return a header object for each header of an answer, by its name."""
    return {
        name: {"description": description, "schema": schema}
        for name, (description, schema) in _GIVEN.items()
    }


def references(names: Iterable[str]) -> Document:
    """Return what a response object says of its headers.

    Args:
        names: Those it may have besides the ones that every answer has.
    """
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Request-Id", *names)
    }


def of_refusal(status: int) -> Document:
    """Return what is said of the headers of an error with a status."""
    return references(_BY_STATUS.get(status, ()))
