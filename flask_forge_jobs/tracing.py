"""What a job carries of the request, or of the job, that has enqueued it.

The id of a request joins the lines of a log, the trace context of W3C the spans of a
trace. Both are short texts of a fixed form; anything else that a client sends is left
out.
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
    """Return the JSON text of what a job takes along from here; None for nothing.

    In a task that is what its own job has carried, else what is in the headers of the
    request. A span of OpenTelemetry that is open comes first.
    """
    found: dict[str, str] = {}
    context = entered_context()
    if context is not None:
        found.update(context.carried)
    elif has_request_context():
        environ = request.environ
        for key, name in _HEADERS:  # nearly every enqueue comes by here
            if name in environ:
                found[key] = environ[name]
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is not None:
        propagate.inject(found)
    if not found:
        return None
    kept = {
        key: value
        for key, value in found.items()
        if key in _FORMS and _FORMS[key].fullmatch(value)
    }
    return dump(kept) if kept else None
