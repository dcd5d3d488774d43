"""Requests that must be refused, with the status and the field of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask_forge_jobs.api.options import DEFAULT_MAX_BODY_BYTES
from tests.acceptance import gate
from tests.support.client import Answer, Request, post_json, send, send_chunked

JSON = {"Content-Type": "application/json"}
SYNTAX = ("validation", "json")
MEDIA_TYPE = ("validation", "content-type")
TOO_LARGE = ("validation", "body")
NOT_FOUND = ("not_found", None)
WRONG_METHOD = ("method_not_allowed", None)

NO_JOB = "01M8830E3P2NJ154CQZ9HKJHJA"
READS = (
    "/health",
    "/metrics",
    "/storage/info",
    "/queue/overview",
    "/queue/processes",
    f"/jobs/inspect/{NO_JOB}",
)
WRITES = (
    "/queue/default/backoff",
    "/queue/default/paused",
    "/queue/default/max-workers",
    "/jobs/list",
    "/jobs/enqueue",
    "/jobs/enqueue-demo",
    f"/jobs/run-now/{NO_JOB}",
    "/jobs/retry",
    "/jobs/delete",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One request and the answer it must get.

    Args:
        name: Of the case.
        request: What is sent.
        status: Of the answer.
        fault: Kind and field of the tagged error.
        send: How it is sent.
    """

    name: str
    request: Request
    status: int
    fault: tuple[str, str | None]
    send: Callable[[int, Request], Answer] = send


ENQUEUE = {"kind": "bad.input", "payload": {}}


def _syntax_cases() -> Iterator[Case]:
    good = json.dumps(ENQUEUE).encode()
    bodies = {
        "empty": b"",
        "blank": b"  \n",
        "truncated": good[:-1],
        "opened": b"{",
        "trailing comma": good[:-1] + b",}",
        "comment": good + b" // x",
        "single quotes": good.replace(b'"', b"'"),
        "bare key": b"{kind:1}",
        "two documents": good + good,
        "NUL": good + b"\x00",
        "truncated UTF-8": b'{"kind":"\xc3',
        "overlong UTF-8": b'{"kind":"\xc0\xaf","payload":1}',
        "Latin-1": '{"kind":"\u00e9","payload":1}'.encode("latin-1"),
        "byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-16 without mark": good.decode().encode("utf-16-le"),
        "UTF-32": good.decode().encode("utf-32"),
        "repeated key": good[:-1] + b',"kind":"again"}',
        "control character": b'{"kind":"a\nb","payload":1}',
        "NUL in a kind": rb'{"kind":"a\u0000b","payload":1}',
        "surrogate in a key": rb'{"kind":"a","payload":1,"dedupe_key":"\ud800"}',
        "endless number": good[:-1] + b',"priority":' + b"9" * 5000 + b"}",
        "wide": b'{"kind":"a","payload":[' + b"[]," * 1000 + b"}",
    }
    for name, body in bodies.items():
        request = Request("POST", "/jobs/enqueue", body, JSON)
        yield Case(f"syntax: {name}", request, 400, SYNTAX)
        if body:
            chunked = Case(f"chunked: {name}", request, 400, SYNTAX, send_chunked)
            yield chunked
    for row in gate.REFUSED:
        body = b'{"kind":"gate","payload":%b}' % row.wire
        request = Request("POST", "/jobs/enqueue", body, JSON)
        yield Case(f"gate: {row.name}", request, 400, SYNTAX)


def _framing_cases() -> Iterator[Case]:
    good = json.dumps(ENQUEUE).encode()
    for name, headers in {
        "none": {},
        "text": {"Content-Type": "text/plain"},
        "form": {"Content-Type": "application/x-www-form-urlencoded"},
        "multipart": {"Content-Type": "multipart/form-data; boundary=x"},
        "UTF-16": {"Content-Type": "application/json; charset=utf-16"},
        "jsonp": {"Content-Type": "application/jsonp"},
        "javascript": {"Content-Type": "application/javascript"},
        "gzip": {**JSON, "Content-Encoding": "gzip"},
    }.items():
        for path in WRITES:
            request = Request("POST", path, good, headers)
            yield Case(f"{path} as {name}", request, 415, MEDIA_TYPE)
    for over in (1, 1_000_000):
        body = good + b" " * (DEFAULT_MAX_BODY_BYTES - len(good) + over)
        for path in WRITES:
            request = Request("POST", path, body, JSON)
            yield Case(f"{path} {over} too long", request, 413, TOO_LARGE)
            yield Case(
                f"{path} {over} too long, chunked",
                request,
                413,
                TOO_LARGE,
                send_chunked,
            )


def _routing_cases() -> Iterator[Case]:
    for path in READS:
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO"):
            request = Request(method, path)
            yield Case(f"{method} {path}", request, 405, WRONG_METHOD)
    for path in WRITES:
        for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE", "FOO"):
            request = Request(method, path)
            yield Case(f"{method} {path}", request, 405, WRONG_METHOD)
    for path in (
        "/none", "/job", "/jobs/enqueue/", "/health/", "/Health", "/jobs/./list",
        "/jobs/../health", "/jobs//list", "//health", "/%2e%2e/health", "/health;a=b",
        "/queue//backoff", "/jobs/inspect/", "/jobs/inspect/a/b", "/health%00",
        "/v1/none", "/metrics/x",
    ):  # fmt: skip
        yield Case(f"GET {path}", Request("GET", path), 404, NOT_FOUND)
        yield Case(f"POST {path}", post_json(path, {}), 404, NOT_FOUND)
    for header, value in (
        ("Sec-Fetch-Site", "cross-site"),
        ("Origin", "http://elsewhere.example"),
        ("X-Forwarded-For", "192.0.2.7"),
    ):
        request = post_json("/jobs/enqueue", ENQUEUE)
        foreign = Request("POST", request.path, request.body, {**JSON, header: value})
        yield Case(f"{header}: {value}", foreign, 403, ("forbidden", None))


CASES = (*_syntax_cases(), *_framing_cases(), *_routing_cases())
