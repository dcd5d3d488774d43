"""The origin of a job, and the request id and W3C trace context that it inherits.

The origin is the request, the task or the command that enqueues it. Values that do not
have the fixed short form are dropped, since clients send them.
"""

from __future__ import annotations

import re
import sys
from typing import cast

import click
from flask import Request, has_request_context, request

from flask_forge_jobs.model import origins
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
# The contexts of click by thread. Without a command, click's own look-up raises and
# catches an exception, 1 µs of each enqueue. None if a release names them otherwise.
_CONTEXTS: object | None = getattr(click.globals, "_local", None)


def carried() -> str | None:
    """Return the context that a new job carries, as JSON text; None for nothing.

    Inside a task that is what its own job carries, else the headers of the request. An
    open OpenTelemetry span overrides the trace context. The origin is the task, the
    method and rule of the request, or the command, whichever comes first.
    """
    context_entries: dict[str, str] = {}
    context = entered_context()
    origin: str | None = None
    if context is not None:
        context_entries.update(context.carried)
        origin = origins.of_task(context.kind)
    elif has_request_context():
        # Without the proxy, of which each look-up costs as much as the rest.
        current = cast("Request", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
        environ, rule = current.environ, current.url_rule
        if rule is not None:
            origin = f"{environ['REQUEST_METHOD']} {rule.rule}"
        for key, name in _HEADERS:
            if name in environ:
                context_entries[key] = environ[name]
    elif _CONTEXTS is None or vars(_CONTEXTS).get("stack"):
        origin = _command()
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is not None:
        propagate.inject(context_entries)
    if not context_entries:
        return None if origin is None else origins.carried_text(origin)
    kept = {
        key: value
        for key, value in context_entries.items()
        if key in _FORMS and _FORMS[key].fullmatch(value)
    }
    if origin is not None:
        kept[origins.KEY] = origin[: origins.MAX_LENGTH]
    return dump(kept) if kept else None


def _command() -> str | None:
    """Return the command of ``flask`` or of another program of click, by its names."""
    context = click.get_current_context(silent=True)
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return f"command {' '.join(names)}" if names else None
