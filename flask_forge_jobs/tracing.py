"""The request id and the W3C trace context that a job inherits from its origin.

The origin is the request or the job that enqueues it. Values that do not have the fixed
short form are dropped, since clients send them.
"""

from __future__ import annotations

import re
import sys

from flask import has_request_context, request

from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.tasks.context import entered_context

_FORMS = {
    "request_id": re.compile(r"[A-Za-z0-9._-]{1,128}"),
    "traceparent": re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    "tracestate": re.compile(r"[\x20-\x7e]{1,512}"),
}
_HEADERS = (
    ("request_id", "HTTP_X_REQUEST_ID"),
    ("traceparent", "HTTP_TRACEPARENT"),
    ("tracestate", "HTTP_TRACESTATE"),
)


def carried() -> str | None:
    """Return what a new job inherits here, as JSON text; None for nothing.

    Inside a task that is what its own job carries, else the headers of the request. An
    open OpenTelemetry span overrides the trace context.
    """
    context_entries: dict[str, str] = {}
    context = entered_context()
    if context is not None:
        context_entries.update(context.carried)
    elif has_request_context():
        environ = request.environ
        for key, name in _HEADERS:
            if name in environ:
                context_entries[key] = environ[name]
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is not None:
        propagate.inject(context_entries)
    if not context_entries:
        return None
    kept = {
        key: value
        for key, value in context_entries.items()
        if key in _FORMS and _FORMS[key].fullmatch(value)
    }
    return dump(kept) if kept else None
