"""Requests that once cost seconds or hundreds of MiB, for :mod:`.request_costs`.

To measure another one, add it to :func:`requests`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from urllib.parse import urlencode

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess, kinds_to_text
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql

BODY_BYTES = 2_097_152
# A job with as many attempts and log lines as are kept.
FULL_JOB = "full-job"
ERRORS = 20_000
WORKERS = 200
SLOTS = 64
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

    Its group is ``bodies`` or ``reads``; its name is unique.
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


_SIGNATURE = "error 7"
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
        name = path[:60] if token == VIEWER else f"{path[:42]} of {token}"
        return Wish("reads", name, "GET", path, token)

    def post(name: str, path: str, token: str, body: object) -> Wish:
        return Wish("reads", name, "POST", path, token, json.dumps(body).encode())

    yield get("/v1/jobs?limit=50")
    for path in ("", "?sort=-last_seen&limit=200", "?range=7d&limit=200", "?range=24h"):
        yield get(f"/v1/errors{path}")
    yield get("/v1/attention")
    yield get("/v1/attention", LIMITED_VIEWER)
    for path in (
        "",
        "/explain",
        "/logs",
        "/logs?limit=1000",
        "/logs?after=16-9&limit=1",
    ):
        yield get(f"/v1/jobs/{FULL_JOB}{path}")
    yield get("/v1/queues/q0/explain")
    yield get("/v1/workers?limit=100")
    yield get("/v1/workers?limit=100", LIMITED_VIEWER)
    yield get("/v1/me", ADMIN)
    yield get("/v1/jobs/counts")
    yield get(f"/v1/jobs/counts?{urlencode({'signature': _SIGNATURE})}")
    yield get(f"/v1/jobs?{urlencode({'signature': _SIGNATURE, 'limit': 1000})}")
    yield get("/v1/cron/firings")
    for since in (datetime(9000, 1, 1, tzinfo=UTC), datetime(1971, 1, 1, tzinfo=UTC)):
        month = {"from": since.isoformat(), "to": (since + timedelta(30)).isoformat()}
        yield get(f"/v1/cron/firings?{urlencode(month)}")
    yield get("/v1/cron/listed-0/runs?limit=200")
    gauges = [("name", f"q{number}") for number in range(QUEUES)]
    yield get(f"/v1/gauges?{urlencode([*_window(30, 500), *gauges])}")
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


@cache
def requests() -> Sequence[Wish]:
    """Return all requests; their bodies take longer than an import should."""
    return (*_bodies(), *_reads())


def fill_history(storage: Storage, sql: Sql, part: float = 1.0) -> None:
    """Add errors, workers, and a job with all that is kept of one."""
    at = sql.now_us()
    _insert(
        sql,
        "forge_error (signature, queue_name, kind, failures, first_at, last_at, "
        "retrying, dead, job_id, message)",
        (
            f"('error {n % 1000}', 'q{n // 1000 % QUEUES}', 'k{n % KINDS}', 3, {at}, "
            f"{at + n}, 1, 1, 'none', '{'m' * 400}')"
            for n in range(int(ERRORS * part))
        ),
    )
    _insert(
        sql,
        "forge_error_bucket (width_s, signature, queue_name, kind, bucket_start, "
        "failures)",
        (
            f"({width_s}, 'error {n % 1000}', 'q{n // 1000 % QUEUES}', 'k{n % KINDS}', "
            f"{at // (width_s * SECOND_US) * width_s * SECOND_US}, 3)"
            for width_s in (3600, 86_400)
            for n in range(int(ERRORS * part))
        ),
    )
    for n in range(int(WORKERS * part)):
        slots = [SlotReport(f"q0-{k}-w{n}-0", f"q{k % QUEUES}") for k in range(SLOTS)]
        queues = [f"q{k}" for k in range(QUEUES)]
        kinds = kinds_to_text(f"kind_{k}_of_many" for k in range(1000))
        process = WorkerProcess("0.1.0", "host", n, kinds=kinds)
        storage.workers.beat(f"w{n}", f"name-{n}", queues, slots, process=process)
    old_id = storage.jobs.enqueue(NewJob("full", queue_name="q0")).id
    sql.run(
        "UPDATE forge_job SET id = ?, status = 'dead' WHERE id = ?", FULL_JOB, old_id
    )
    for run in range(1, 32):
        sql.run(
            "INSERT INTO forge_attempt (job_id, run, attempt, due_at, started_at, "
            "ended_at, worker_id, slot, ending, error, traceback) "
            "VALUES (?, ?, 1, 1, 1, 1, 'w0', 0, 'failed', ?, ?)",
            FULL_JOB, run, "é" * 4096, "t" * 16_384,
        )  # fmt: skip
        line = LogLine(at, "INFO", "a", "é")
        chunk = LogChunk(RunId(FULL_JOB, run), 1, 0, [line] * 1900)
        sql.run(
            "INSERT INTO forge_log (job_id, run, first_line, lines) "
            "VALUES (?, ?, 0, ?)",
            FULL_JOB, run, chunk.text(),
        )  # fmt: skip


def _insert(sql: Sql, into: str, rows: Iterable[str]) -> None:
    rows = iter(rows)
    while some := list(islice(rows, 1000)):
        sql.run(f"INSERT INTO {into} VALUES {', '.join(some)}")
