"""Requests that once cost seconds or hundreds of MiB, for :mod:`.request_costs`.

To measure another one, add it to :data:`REQUESTS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.instants import from_micros

BODY_BYTES = 2_097_152
ROWS = 100_000
KINDS = 40
QUEUES = 20
# Of tokens, by the names that the server knows them by.
VIEWER, OPERATOR, LIMITED_VIEWER, LIMITED_OPERATOR, ADMIN = (
    "viewer", "operator", "limited-viewer", "limited-operator", "admin",
)  # fmt: skip
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Wish:
    """One request.

    Args:
        group: The list that it is on: ``bodies`` or ``reads``.
        name: Of the request, unique.
        method: Of HTTP.
        path: With the query.
        token: Whose.
        body: JSON, or nothing.
    """

    group: str
    name: str
    method: str
    path: str
    token: str
    body: bytes = b""

    def is_answered_by(self, status: int) -> bool:
        """Return whether it is measured; a bad body may be refused, a read not."""
        return 0 < status < (300 if self.group == "reads" else 500)

    def message(self, secret: str) -> bytes:
        """Return the bytes to send; the connection is closed after the answer."""
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {secret}",
            "Connection: close",
        ]
        if self.body:
            lines += [f"Content-Type: {JSON}", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def _full(start: str, item: str, end: str) -> bytes:
    """Return a body of 2 MiB with as many items as fit."""
    count = (BODY_BYTES - len(start) - len(end)) // (len(item) + 1)
    return f"{start}{','.join([item] * count)}{end}".encode()


def _keys(start: str, value: str, end: str = "}") -> bytes:
    """Return a body with 180,000 keys."""
    pairs = ",".join(f'"{number:x}":{value}' for number in range(180_000))
    return f"{start}{pairs}{end}".encode()


_FILTER = '{"limit":1,"offset":0,"filter":{"%s":['
_BULK = '{"items":['
_PAYLOAD = '{"kind":"k","queue":"q0","payload":'


def _window(days: int, buckets: int) -> list[tuple[str, str]]:
    """Return the query of a chart that ends in an hour, after all that happened."""
    end = from_micros(SystemClock().now_us()) + timedelta(hours=1)
    return [
        ("from", (end - timedelta(days)).isoformat()),
        ("to", end.isoformat()),
        ("bucket_secs", str(days * 86_400 // buckets)),
    ]


def _bodies() -> Iterator[Wish]:
    def post(name: str, path: str, token: str, body: bytes) -> Wish:
        return Wish("bodies", name, "POST", path, token, body)

    for item in ("{}", "1", '"a"', '{"":0}'):
        body = _full(_BULK, item, "]}")
        yield post(f"bulk of {item}", "/v1/jobs/bulk", LIMITED_OPERATOR, body)
        body = _full(_FILTER % "kinds", item, "]}}")
        yield post(f"kinds of {item}", "/jobs/list", LIMITED_VIEWER, body)
    for key in ("queues", "statuses"):
        body = _full(_FILTER % key, "1", "]}}")
        yield post(f"{key} of 1", "/jobs/list", LIMITED_VIEWER, body)
        yield post(f"{key} of 1, /v1", "/v1/jobs/list", LIMITED_VIEWER, body)
    body = _full('{"action":"retry","ids":[', "1", "]}")
    yield post("ids to act on", "/v1/jobs/actions", LIMITED_OPERATOR, body)
    body = _full('{"action":"retry","filter":{"kinds":[', '"a"', "]}}")
    yield post("a filter to act on", "/v1/jobs/actions", LIMITED_OPERATOR, body)
    body = _full('{"ids":[', '"a"', "]}")
    yield post("ids to delete", "/jobs/delete", LIMITED_OPERATOR, body)
    body = _full('{"action":"pause","queues":[', "1", "]}")
    yield post("queues to pause", "/v1/queues/actions", OPERATOR, body)
    yield post("unknown keys", "/jobs/list", LIMITED_VIEWER, _keys("{", "0"))
    yield post("unknown keys, /v1", "/v1/jobs/list", LIMITED_VIEWER, _keys("{", "0"))
    body = _keys('{"limit":1,"offset":0,"filter":{', "0", "}}")
    yield post("unknown keys of a filter", "/v1/jobs/list", LIMITED_VIEWER, body)
    body = b'{"' + b"k" * (BODY_BYTES - 10) + b'":1}'
    yield post("a long unknown key", "/v1/jobs/list", LIMITED_VIEWER, body)
    for item in ("{}", '{"":0}', "1", r'"\u00e9"', "[[]]"):
        body = _full(f"{_PAYLOAD}[", item, "]}")
        yield post(f"a payload of {item}", "/v1/jobs", LIMITED_OPERATOR, body)
    body = _keys(f"{_PAYLOAD}{{", "0", "}}")
    yield post("a payload of keys", "/v1/jobs", LIMITED_OPERATOR, body)
    # The largest that is stored.
    for item in ("[1,2]", r'"\ud83d\ude00"'):
        values = ",".join([item] * (1_040_000 // (len(item) + 1)))
        body = f"{_PAYLOAD}[{values}]}}".encode()
        yield post(f"a good payload of {item}", "/v1/jobs", LIMITED_OPERATOR, body)
    # Many threads have one of these at once if they do not count as large.
    body = f"{_PAYLOAD}[{','.join(['[1,2]'] * 41_000)}]}}".encode()
    yield post("a payload of 250 KiB", "/v1/jobs", LIMITED_OPERATOR, body)
    body = b'["' + b'\\u00e9",1,"' * (BODY_BYTES // 12) + b'"]'
    yield post("a body that nobody reads", "/queue/cleanup", OPERATOR, body)


def _reads() -> Iterator[Wish]:
    def get(path: str, token: str = VIEWER) -> Wish:
        return Wish("reads", path[:60], "GET", path, token)

    def post(name: str, path: str, token: str, body: object) -> Wish:
        return Wish("reads", name, "POST", path, token, json.dumps(body).encode())

    yield get("/v1/jobs?limit=50")
    yield get("/v1/errors")
    yield get("/v1/jobs?limit=1000&status=dead")
    yield get("/jobs/failed?limit=1000")
    yield get("/v1/jobs?error=zzzz&limit=1000")
    yield get("/v1/jobs?error=" + "%25" * 50)
    yield get("/v1/jobs?error=" + "a" * 255)
    yield get("/v1/jobs?q=zzzzz", ADMIN)
    last: dict[str, object] = {"limit": 1000, "offset": ROWS - 1000, "filter": {}}
    yield post("the last page", "/jobs/list", VIEWER, last)
    last |= {"offset": ROWS // KINDS - 1000, "filter": {"kinds": ["k1"]}}
    yield post("the last page of a kind", "/jobs/list", VIEWER, last)
    for sort in ("priority", "attempts", "completed_at"):
        yield get(f"/v1/jobs?sort={sort}&limit=1000&min_attempts=1")
    yield get("/v1/events?after=0&limit=500")
    yield get("/v1/events?limit=500&type=dead&queue=nonexistent")
    for path in (
        "/v1/stats", "/metrics", "/v1/kinds", "/jobs/kinds", "/queue/overview",
        "/v1/queues", "/queue/processes", "/queue/workers", "/jobs/scheduled", "/cron",
        "/v1/cron", "/v1/rate-limits", "/v1/openapi.json",
    ):  # fmt: skip
        yield get(path)
    names = [("name", f"k{number}") for number in range(KINDS)]
    # As many buckets as an answer may have: 40 series of 500, and one of 2,000.
    query = [("by", "kind"), *_window(30, 500), *names]
    yield get(f"/v1/series?{urlencode(query)}")
    yield get(f"/queue/timeline?{urlencode(_window(10_000, 2000))}")
    queues = [("queue", f"q{number}") for number in range(350)]
    yield get(f"/v1/jobs?{urlencode(queues)}")
    kinds = [("kind", f"k{number}") for number in range(100)]
    yield get(f"/v1/jobs?error=zzzzz&{urlencode(kinds)}")
    dry = {"action": "retry", "filter": {"error": "zzzzzz"}, "dry_run": True}
    yield post("a dry run", "/v1/jobs/actions", OPERATOR, dry)


REQUESTS: Sequence[Wish] = (*_bodies(), *_reads())
