"""Pages as event streams: the blocks that change, as soon as they do.

A stream asks its own application for the blocks of its page again and again, as a poll
of the script does. So each answer is authorised anew, shares the reads of all open
pages, and passes the hooks of the application; between two of them, the stream holds a
thread and nothing else. It ends soon, and the script begins another one: what a new
version of the application says is seen, and a server that restarts waits for none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import Flask, Request, Response, current_app, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import EVENT_STREAM, RequestState
from flask_forge_jobs.api.streams import STOPPING, Streams
from flask_forge_jobs.clock import Clock

logger = logging.getLogger(__name__)

CONTENT_TYPE = f"{EVENT_STREAM}; charset=utf-8"
LIFETIME_S = 20.0
DEFAULT_PACE_S = 5
MIN_PACE_S, MAX_PACE_S = 1, 10
# Stands between two blocks. No text can contain it, because templates escape "<".
SEPARATOR = "<!--/-->"
# Parameters of the stream itself.
PACE, TAG = "stream", "tag"
# The script asks for the page and shows its fault.
_FAILURE = b"event: error\ndata: \n\n"
_OK = 200
_INTERNAL_ERROR = 500


class Answer(NamedTuple):
    """One answer to the script's request."""

    status: int
    tag: str | None
    blocks: list[str]


def wants_stream(state: RequestState) -> bool:
    """Return whether a known caller asks for events; strangers hold no thread."""
    is_asked = state.request.accept_mimetypes.best == EVENT_STREAM
    return is_asked and state.principal is not None


def stream(api: Api) -> Response:
    """Return the page of the current request as a stream of its blocks."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # a proxy
    environ = request.environ
    pace_s = request.args.get(PACE, DEFAULT_PACE_S, type=int)
    stopping: threading.Event = environ.get(STOPPING) or threading.Event()
    body = _placed(
        api.streams,
        environ,
        events(
            partial(_ask, app, _poll(request)),
            stopping.wait,
            api.options.clock,
            pace_s=min(max(pace_s, MIN_PACE_S), MAX_PACE_S),
            tag=request.args.get(TAG),
        ),
    )
    response = Response(body, content_type=CONTENT_TYPE, direct_passthrough=True)
    response.headers["Cache-Control"] = "no-store"
    # Of nginx, which would keep events until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    response.vary.update(("Accept", "Cookie"))
    return response


def _placed(
    streams: Streams, environ: dict[str, Any], made: Iterator[bytes]
) -> Iterator[bytes]:
    """Send a stream if there is a place for it, and nothing else."""
    with streams.place(environ) as has_place:
        if has_place:
            yield from made


def events(
    ask: Callable[[], Answer],
    wait: Callable[[float], bool],
    clock: Clock,
    *,
    pace_s: float,
    tag: str | None,
) -> Iterator[bytes]:
    """Yield an event for each answer: the blocks that differ from the last one.

    Without a change it is a space, which shows the script that the stream lives, and
    the server whether the script still does.

    Args:
        ask: Returns the present answer.
        wait: Waits some seconds, and returns whether the server stops.
        clock: Measures the stream's life.
        pace_s: Seconds between two answers.
        tag: That of the answer which the script has.
    """
    blocks: list[str] | None = None
    ends_at = clock.monotonic() + LIFETIME_S
    while True:
        answer = ask()
        if answer.status != _OK:
            yield _FAILURE
            return
        changed = [each for each in answer.blocks if each not in (blocks or ())]
        yield event("".join(changed) if answer.tag != tag else "")
        blocks, tag = answer.blocks, answer.tag
        if clock.monotonic() + pace_s > ends_at or wait(pace_s):
            return


def event(text: str) -> bytes:
    """Return an event with a text.

    A carriage return would end a line of the event, and is one more line here, as it
    is in HTML.
    """
    # An event without text is not delivered.
    lines = (text or " ").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n"


def _poll(request: Request) -> dict[str, Any]:
    """Return the request that the script would poll with."""
    environ = {
        key: value
        for key, value in request.environ.items()
        if not key.startswith(("werkzeug.", "flask."))
    }
    query = [
        pair for pair in request.args.items(multi=True) if pair[0] not in (PACE, TAG)
    ]
    environ["QUERY_STRING"] = urlencode(query)
    environ["HTTP_ACCEPT"] = "text/html"
    # Flask-Compress would compress the answer, which is read here.
    environ["HTTP_ACCEPT_ENCODING"] = "identity"
    # Browsers ask so for any stream. Of a poll it would mean: not from a standby.
    environ.pop("HTTP_CACHE_CONTROL", None)
    environ["CONTENT_LENGTH"] = "0"
    return environ


def _ask(app: Flask, environ: dict[str, Any]) -> Answer:
    """Send a request to an application.

    Not through the middleware around it, which has changed the request already.
    """
    asked = {**environ, "wsgi.input": BytesIO()}
    try:
        answer = Response.from_app(
            partial(type(app).wsgi_app, app), asked, buffered=True
        )
    except Exception:  # of the application's hooks, in debug or tests
        logger.exception("a page could not be sent as events")
        return Answer(_INTERNAL_ERROR, None, [])
    text = answer.get_data(as_text=True)
    return Answer(answer.status_code, answer.headers.get("ETag"), text.split(SEPARATOR))
