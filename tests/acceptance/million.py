"""Measures that reads and claims cost the same at a thousand and at a million jobs.

Run it with ``python -m tests.acceptance.million --backend both --rows 1000000``. It
prints a table of medians, ratios and verdicts; the exit status is 1 when a limit is
missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs import ForgeJobs, Storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import format_instant, from_micros
from tests.acceptance.driving import add_backend, add_best, measure_each
from tests.acceptance.filling import DUE_PERCENT, QUEUES, fill
from tests.support.databases import fresh_url
from tests.support.sql import Sql

FEW_ROWS = 1_000
REPEATS = 100
# A measurement ends after this long, however few repeats it had.
LONGEST_S = 20.0
MS = 1000
OVERVIEW_RATIO = 2.0
CLAIM_LIMIT_MS = 5.0
LIST_LIMIT_MS = 20.0
# FORGE_JOBS_STATEMENT_TIMEOUT_S for each of the two statements of a page, and a bit.
BOUNDED_LIMIT_MS = 2 * 10_000.0 + 500
FEW_REPEATS = 5
DEPTH = 50_000
PREFIX = "/forge-jobs"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement at both sizes."""

    name: str
    few_ms: float
    many_ms: float
    limit_ms: float

    @property
    def ratio(self) -> float:
        """How many times longer it takes with many rows."""
        return self.many_ms / self.few_ms

    @property
    def is_met(self) -> bool:
        """Whether the limit is met."""
        return self.many_ms <= self.limit_ms


class Subject:
    """The real application over one filled database."""

    def __init__(self, database_url: str, rows: int, *, is_crossed: bool) -> None:
        self._settings = DatabaseSettings.from_url(database_url)
        self.sql = Sql(self._settings)
        app = Flask("million")
        app.config["FORGE_JOBS_DATABASE_URL"] = database_url
        app.testing = True
        forge = ForgeJobs(app)
        with app.app_context():
            self.storage: Storage = forge.storage
        self.storage.open()
        fill(self.sql, self._settings.backend, rows, is_crossed=is_crossed)
        self._client: FlaskClient = app.test_client()

    def close(self) -> None:
        """Close the database."""
        self.storage.close()

    def overview(self) -> None:
        """Get the overview."""
        answer = self._client.get(f"{PREFIX}/queue/overview")
        assert answer.status_code == 200, answer.text

    def claim(self) -> None:
        """Claim one job."""
        assert self.storage.jobs.claim("queue-3", "measurer")

    def lister(self, filters: dict[str, object]) -> Callable[[], None]:
        """Return a call for the first page of a listing."""
        document = {"filter": filters, "limit": 50, "offset": 0}
        return lambda: self._no_answer(self._post(document))

    def deep_lister(self, filters: dict[str, object]) -> Callable[[], None]:
        """Return a call for a page as deep as the filter has jobs, at most 50,000."""
        document: dict[str, Any] = {"filter": filters, "limit": 1, "offset": 0}
        total = self._post(document).json["total"]  # type: ignore[index]  # an object
        document |= {"limit": 50, "offset": max(min(total - 50, DEPTH), 0)}
        return lambda: self._no_answer(self._post(document))

    def _post(self, document: dict[str, Any]) -> TestResponse:
        answer = self._client.post(f"{PREFIX}/jobs/list", json=document)
        assert answer.status_code == 200, answer.text
        return answer

    @staticmethod
    def _no_answer(_answer: TestResponse) -> None:
        """Forget an answer."""

    def getter(self, path: str) -> Callable[[], None]:
        """Return a call that gets a path, which must succeed."""

        def call() -> None:
            answer = self._client.get(f"{PREFIX}{path}")
            assert answer.status_code == 200, answer.text

        return call

    def bounded_getter(self, path: str) -> Callable[[], None]:
        """Return a call that gets a path, or is told that it takes too long."""

        def call() -> None:
            answer = self._client.get(f"{PREFIX}{path}")
            if answer.status_code != 200:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["Retry-After"]) > 0

        return call

    def deep_path(self, query: str) -> str:
        """Return the path of a page as deep as the query has jobs, at most 50,000."""
        path = f"/v1/jobs?limit=1000&count=none&{query}"
        last = path
        for _ in range(DEPTH // 1000):
            answer = self._client.get(f"{PREFIX}{last}")
            assert answer.status_code == 200, answer.text
            cursor = answer.json["next_cursor"]  # type: ignore[index]  # an object
            if cursor is None:
                break
            last = f"{path}&cursor={cursor}"
        return last.replace("limit=1000&count=none", "limit=50")


def filters_of(sql: Sql) -> dict[str, dict[str, object]]:
    """Return every filter that is measured, by name."""
    now = from_micros(sql.now_us())

    def since(**ago: float) -> dict[str, object]:
        return {
            "from": format_instant(now - timedelta(**ago)),
            "to": format_instant(now),
        }

    queue: dict[str, object] = {"queues": ["queue-3"]}
    kind: dict[str, object] = {"kinds": ["kind-3"]}
    status: dict[str, object] = {"statuses": ["done"]}
    return {
        "none": {},
        "queue": queue,
        "kind": kind,
        "status done": status,
        "status failed": {"statuses": ["failed"]},
        "two statuses": {"statuses": ["failed", "dead"]},
        "queue + status": queue | status,
        "kind + status": kind | status,
        "queue + kind + status": queue | kind | status,
        "recent hour": since(hours=1),
        "wide range": since(days=60),
        "queue + recent hour": queue | since(hours=1),
        "status + wide range": status | since(days=60),
    }


# By age; beside what is made of :func:`filters_of`.
FOUND = {
    "scheduled": "status=scheduled",
    "dedupe key": "dedupe_key=key-20",
    "slot": "slot_id=nobody",
    "schedule": "cron=nightly",
}
# By another column, with an index or with few enough jobs to be sorted.
SORTED = {
    "by end": "sort=-completed_at",
    "by end, oldest": "sort=completed_at",
    "queue by end": "queue=queue-3&sort=-completed_at",
    "done by end": "status=done&sort=-completed_at",
    "kind by end": "kind=kind-3&sort=-completed_at",
    "scheduled by time": "status=scheduled&sort=scheduled_at",
    "failed by time": "status=failed&sort=scheduled_at&queue=queue-3",
    "failed by priority": "status=failed&sort=priority&queue=queue-3",
    "dead by attempts": "status=dead&sort=-attempts&queue=queue-3",
}
# The limit of each in milliseconds.
LATELY = {"/v1/stats": 20.0, "/v1/events": 50.0, "/v1/errors": 10.0}
# No index serves these; they are bounded by the limit of a statement.
BOUNDED = {
    "payload, none": "q=not%20in%20any%20payload",
    "payload, all": "q=sentence%20or%20two",
    "payload of a kind": "q=not%20in%20any%20payload&kind=kind-3",
    "error": "error=of%20usual",
    "attempts": "min_attempts=3",
    "all by priority": "sort=priority",
    "all by time": "sort=scheduled_at",
}


def query_of(filters: dict[str, Any]) -> str:
    """Return a filter of ``/jobs/list`` as the query of ``/v1/jobs``."""
    names = {"queues": "queue", "kinds": "kind", "statuses": "status"}
    pairs = {names.get(key, key): value for key, value in filters.items()}
    return urlencode(pairs, doseq=True)


def time_ms(
    call: Callable[[], None],
    repeats: int = REPEATS,
    pick: Callable[[list[float]], float] = median,
) -> float:
    """Return the median of several calls, in milliseconds; the first is not counted.

    Args:
        call: What is timed.
        repeats: How often, unless that takes too long.
        pick: Chooses among the durations.
    """
    return pick(samples_ms(call, repeats))


def samples_ms(call: Callable[[], None], repeats: int) -> list[float]:
    """Return how long several calls took, in milliseconds, but for the first one."""
    call()
    samples: list[float] = []
    ends_at = time.perf_counter() + LONGEST_S
    while len(samples) < repeats and time.perf_counter() < ends_at:
        before = time.perf_counter()
        call()
        samples.append((time.perf_counter() - before) * MS)
    return samples


@contextmanager
def filled(backend: str, rows: int, *, is_crossed: bool = False) -> Iterator[Subject]:
    """Yield the application over a fresh, filled database."""
    with fresh_url(backend) as url:
        subject = Subject(url, rows, is_crossed=is_crossed)
        with closing(subject):
            yield subject


def measure(
    subject: Subject,
    rows: int,
    repeats: int = REPEATS,
    pick: Callable[[list[float]], float] = median,
) -> dict[str, float]:
    """Return the median of each measurement, in milliseconds; see :func:`time_ms`."""

    def median_ms(call: Callable[[], None], most: int) -> float:
        return time_ms(call, most, pick)

    found = {"overview": median_ms(subject.overview, repeats)}
    due_in_a_queue = rows // QUEUES * DUE_PERCENT // 100
    found["claim"] = median_ms(subject.claim, min(repeats, due_in_a_queue - 1))
    for name, filters in filters_of(subject.sql).items():
        found[f"list: {name}"] = median_ms(subject.lister(filters), repeats)
        deep = subject.deep_lister(filters)
        found[f"list deep: {name}"] = median_ms(deep, repeats)
    queries = {n: query_of(f) for n, f in filters_of(subject.sql).items()}
    for name, query in (queries | FOUND | SORTED).items():
        first = subject.getter(f"/v1/jobs?{query}")
        found[f"find: {name}"] = median_ms(first, repeats)
        deep = subject.getter(subject.deep_path(query))
        found[f"find deep: {name}"] = median_ms(deep, repeats)
    for path in LATELY:
        found[path] = median_ms(subject.getter(path), repeats)
    for name, query in BOUNDED.items():
        call = subject.bounded_getter(f"/v1/jobs?{query}")
        found[f"bounded: {name}"] = median_ms(call, min(repeats, FEW_REPEATS))
    return found


def compare(few: dict[str, float], many: dict[str, float]) -> list[Figure]:
    """Return the figures with their limits."""
    return [
        Figure(name, few[name], value, _limit_ms(name, few))
        for name, value in many.items()
    ]


def _limit_ms(name: str, few: dict[str, float]) -> float:
    if name == "overview":
        return OVERVIEW_RATIO * few["overview"]
    if name.startswith("bounded: "):
        return BOUNDED_LIMIT_MS
    if name == "claim":
        return CLAIM_LIMIT_MS
    return LATELY.get(name, LIST_LIMIT_MS)


def table(title: str, rows: int, figures: list[Figure]) -> str:
    """Return the figures as text."""
    lines = [
        f"{title}, in ms",
        f"{'':<34}{FEW_ROWS:>10,}{rows:>12,}{'ratio':>8}{'limit':>8}",
    ]
    lines += [
        f"{each.name:<34}{each.few_ms:>10.2f}{each.many_ms:>12.2f}{each.ratio:>8.1f}"
        f"{each.limit_ms:>8.1f}  {'met' if each.is_met else 'MISSED'}"
        for each in figures
    ]
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--crossed", action="store_true", help="every kind in every queue"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    add_best(parser)
    arguments = parser.parse_args()
    pick = min if arguments.best else median

    def run(backend: str) -> tuple[str, bool]:
        is_crossed = arguments.crossed
        with filled(backend, FEW_ROWS, is_crossed=is_crossed) as subject:
            few = measure(subject, FEW_ROWS, arguments.repeats, pick)
        began_at = time.perf_counter()
        with filled(backend, arguments.rows, is_crossed=is_crossed) as subject:
            filled_s = time.perf_counter() - began_at
            figures = compare(
                few, measure(subject, arguments.rows, arguments.repeats, pick)
            )
        title = f"{backend}: {'best' if arguments.best else 'median'}"
        text = table(title, arguments.rows, figures)
        are_met = all(figure.is_met for figure in figures)
        return f"{text}\nfilled in {filled_s:.0f} s", are_met

    return measure_each(arguments.backend, run)


if __name__ == "__main__":
    sys.exit(main())
