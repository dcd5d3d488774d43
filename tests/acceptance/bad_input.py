"""Requests that must be refused, with the status and the field of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask_forge_jobs.api.options import DEFAULT_MAX_BODY_BYTES
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
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
Values = tuple[object, ...]


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


def enqueue(**changes: object) -> dict[str, object]:
    """Return a good body of an enqueue with some keys changed."""
    return {"kind": "bad.input", "payload": {}, **changes}


def without(document: dict[str, object], key: str) -> dict[str, object]:
    """Return a body that lacks a key."""
    return {name: value for name, value in document.items() if name != key}


def _invalid(path: str, field: str, *documents: object) -> Iterator[Case]:
    for document in documents:
        shown = json.dumps(document)
        name = f"{path} {shown if len(shown) < 60 else shown[:50] + '...'}"
        yield Case(name, post_json(path, document), 400, ("validation", field))


def _field(field: str, *values: object) -> Iterator[Case]:
    documents = [enqueue(**{field: value}) for value in values]
    yield from _invalid("/jobs/enqueue", field, *documents)


def _enqueue_cases() -> Iterator[Case]:
    texts: Values = (1, 1.5, True, [], {})
    yield from _field("kind", None, *texts, "", "  ", "a" * 129, "a\nb", "\x7f")
    yield from _field("queue_name", *texts, "", "a" * 129, " a", "a ", "a\tb")
    yield from _field("queue_name", "a,b", "a/b", "a?b", "a#b", "a%b")
    yield from _field("dedupe_key", *texts, "", "k" * 256)
    yield from _field("run_at", 1, 1.5, True, [], {}, "", "tomorrow", "infinity")
    yield from _field("run_at", "2026-01-01T00:00:00", "2026-01-01", "1767225600")
    yield from _field("run_at", "1969-12-31T23:59:59Z", "10000-01-01T00:00:00Z")
    yield from _field("run_at", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z")
    yield from _field("run_at", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00+25:00")
    yield from _field("run_at", "0000-01-01T00:00:00Z", "2026-W01-1T00:00:00Z")
    numbers: Values = (
        True,
        "5",
        1.0,
        1e308,
        [],
        {},
        2**31,
        -(2**31) - 1,
        2**63,
        2**64,
        10**99,
    )
    yield from _field("priority", *numbers)
    yield from _field("max_attempts", *numbers, 0, -1, 1001)
    good = enqueue()
    yield from _invalid("/jobs/enqueue", "kind", {}, without(good, "kind"))
    yield from _invalid("/jobs/enqueue", "payload", without(good, "payload"))
    yield from _invalid("/jobs/enqueue", "body", [], "x", 1, None, True, [good])
    long_text = "x" * MAX_PAYLOAD_BYTES
    yield from _invalid("/jobs/enqueue", "payload", enqueue(payload=long_text))


def _queue_cases() -> Iterator[Case]:
    path = "/queue/default/backoff"
    good: dict[str, object] = {"enabled": True, "base_seconds": 5, "max_seconds": 60}
    curve: tuple[tuple[str, Values], ...] = (
        ("enabled", (None, 0, 1, "true", 1.0, [], {})),
        ("base_seconds", (None, 0, -1, 86_401, True, "5", 5.0, 2**31, 2**63)),
        ("max_seconds", (None, 0, 4, 86_401, False, "60", 60.0, -(2**31) - 1)),
    )
    for field, values in curve:
        yield from _invalid(path, field, without(good, field))
        yield from _invalid(path, field, *({**good, field: each} for each in values))
    single: tuple[tuple[str, str, Values], ...] = (
        ("/queue/default/max-workers", "n", (None, -1, 1025, True, "8", 8.0, 2**31)),
        ("/queue/default/paused", "paused", (None, 0, 1, "true", "false", [], {})),
    )
    for path, field, values in single:
        yield from _invalid(path, field, {}, *({field: each} for each in values))
    for name in ("none", "Default", "a%2Cb", "a%00b", "q" * 200, "%20default"):
        for verb, document in (
            ("backoff", good),
            ("paused", {"paused": True}),
            ("max-workers", {"n": 1}),
        ):
            request = post_json(f"/queue/{name}/{verb}", document)
            yield Case(f"{verb} of queue {name[:20]}", request, 404, NOT_FOUND)


def _list_cases() -> Iterator[Case]:
    path = "/jobs/list"
    page = {"limit": 10, "offset": 0}
    fields: tuple[tuple[str, Values], ...] = (
        ("limit", (None, -1, 1001, True, "10", 10.0, 2**32, 2**63)),
        ("offset", (None, -1, 100_001, False, "0", 0.0, 2**32)),
        ("filter", (None, [], "x", 1)),
    )
    for field, values in fields:
        yield from _invalid(path, field, *({**page, field: each} for each in values))
    yield from _invalid(path, "limit", {"offset": 0})
    yield from _invalid(path, "offset", {"limit": 1})
    for key, value, field in (
        ("queues", None, "filter.queues"),
        ("queues", "default", "filter.queues"),
        ("queues", [1], "filter.queues[0]"),
        ("kinds", ["a", None], "filter.kinds[1]"),
        ("statuses", {}, "filter.statuses"),
        ("statuses", ["nope"], "filter.statuses"),
        ("statuses", ["done", True], "filter.statuses[1]"),
        ("from", "2026-01-01", "filter.from"),
        ("to", 5, "filter.to"),
        ("payload_search", "x", "filter.payload_search"),
        ("payload_search", "x" * 257, "filter.payload_search"),
        ("payload_search", 5, "filter.payload_search"),
    ):
        yield from _invalid(path, field, {**page, "filter": {key: value}})
    window = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    yield from _invalid(path, "filter.from", {**page, "filter": window})


def _job_cases() -> Iterator[Case]:
    for path in ("/jobs/retry", "/jobs/delete"):
        wrong: Values = (None, "x", {}, 5, True)
        yield from _invalid(path, "ids", *({"ids": ids} for ids in wrong))
        yield from _invalid(path, "ids", {}, {"ids": ["a"] * 10_001})
        yield from _invalid(
            path, "ids[0]", {"ids": [1]}, {"ids": [""]}, {"ids": [None]}
        )
        yield from _invalid(path, "ids[1]", {"ids": ["a", "b" * 65]})
    unknown = ("none", "a" * 65, "a%00b", "..%2f..", "x" * 4000)
    for job_id in (*unknown, "%ED%A0%80"):
        told = (404, NOT_FOUND) if job_id in unknown else (400, ("validation", "path"))
        name = job_id[:20]
        inspect = Request("GET", f"/jobs/inspect/{job_id}")
        yield Case(f"inspect {name}", inspect, *told)
        run_now = post_json(f"/jobs/run-now/{job_id}", {})
        yield Case(f"run now {name}", run_now, *told)
    twice = Request("GET", "/queue/processes?queue_name=a&queue_name=b")
    yield Case("repeated parameter", twice, 400, ("validation", "queue_name"))


def _syntax_cases() -> Iterator[Case]:
    good = json.dumps(enqueue()).encode()
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
    good = json.dumps(enqueue()).encode()
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
        request = post_json("/jobs/enqueue", enqueue())
        foreign = Request("POST", request.path, request.body, {**JSON, header: value})
        yield Case(f"{header}: {value}", foreign, 403, ("forbidden", None))


CASES = (
    *_enqueue_cases(),
    *_queue_cases(),
    *_list_cases(),
    *_job_cases(),
    *_syntax_cases(),
    *_framing_cases(),
    *_routing_cases(),
)
