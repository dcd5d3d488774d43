"""The load of a soak: jobs at a steady rate, and clients that look all the time."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs import NewJob, Storage
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND
from tests.acceptance.soak.pace import Pace
from tests.support.client import Request, post_json, send

TICK_S = 0.05
# Milliseconds that a job takes, with its share of all jobs.
MIX_MS = ((0, 0.80), (20, 0.15), (1000, 0.05))
FAILING_SHARE = 0.05
LATER_SHARE = 0.10
LATER_US = 5 * SECOND_US
SINGLE_SHARE = 0.2
MAX_ATTEMPTS = 10
# Requests a second, and how often the panel and a scraper look.
REQUESTS_A_S = 20
PANEL_EVERY, SCRAPER_EVERY, ENQUEUE_EVERY = REQUESTS_A_S, 15 * REQUESTS_A_S, 10
_READS = ("/v1/jobs?limit=50", "/v1/stats", "/queue/workers", "/jobs/failed", "/health")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an acknowledged job was asked to do.

    Args:
        takes_ms: How long.
        fails_once: Whether its first run fails.
        is_later: Whether it was due some seconds after it was stored.
    """

    takes_ms: int
    fails_once: bool = False
    is_later: bool = False

    @property
    def is_timed(self) -> bool:
        """Whether the way from stored to done is nothing but the queue's own time."""
        return not (self.takes_ms or self.fails_once or self.is_later)


class Acks:
    """What was acknowledged and not yet looked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Asked] = {}
        self.count = 0

    def add(self, job_id: str, asked: Asked) -> None:
        """Note a job."""
        with self._lock:
            self._waiting[job_id] = asked
            self.count += 1

    @property
    def waiting(self) -> int:
        """How many are to be looked for."""
        return len(self._waiting)

    def before(self, end: str) -> dict[str, Asked]:
        """Return the jobs with smaller ids."""
        with self._lock:
            return {
                job_id: asked for job_id, asked in self._waiting.items() if job_id < end
            }

    def forget(self, job_ids: set[str]) -> None:
        """Look for these no longer."""
        with self._lock:
            for job_id in job_ids:
                del self._waiting[job_id]


class Loop(threading.Thread):
    """Does something at a steady pace until it is stopped; keeps what went wrong.

    ``turn`` gets the number of the turn.
    """

    def __init__(
        self, name: str, period_s: float, turn: Callable[[int], object]
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.errors: Counter[str] = Counter()
        self._period_s = period_s
        self._turn = turn
        self._stopping = threading.Event()

    def run(self) -> None:
        """Take turns; one that comes late is made up for."""
        began_at = time.monotonic()
        for number in itertools.count():
            due_at = began_at + number * self._period_s
            if self._stopping.wait(max(due_at - time.monotonic(), 0.0)):
                return
            try:
                self._turn(number)
            except Exception as error:  # noqa: BLE001  # counted, and told at the end
                self.errors[f"{self.name}: {type(error).__name__}: {error}"] += 1

    def stop(self) -> None:
        """Stop after the present turn."""
        self._stopping.set()
        self.join()


class Producer:
    """Stores jobs of the mix, as many in each turn as the rate asks for."""

    def __init__(
        self, storage: Storage, pace: Pace, acks: Acks, source: random.Random
    ) -> None:
        self._storage = storage
        self._pace = pace
        self._acks = acks
        self._random = source
        self._due = 0.0
        self._stored = 0

    def turn(self, _number: int) -> None:
        """Store what is due by the end of a turn, in one statement or one by one."""
        self._due += TICK_S * self._pace.rate
        wanted = [self._draw() for _ in range(int(self._due) - self._stored)]
        self._stored += len(wanted)
        jobs = [self._job(asked) for asked in wanted]
        if self._random.random() < SINGLE_SHARE:
            results = [self._storage.jobs.enqueue(job) for job in jobs]
        else:
            results = self._storage.jobs.enqueue_many(jobs) if jobs else []
        for asked, result in zip(wanted, results, strict=True):
            self._acks.add(result.id, asked)

    def _draw(self) -> Asked:
        takes_ms, _ = self._random.choices(MIX_MS, [share for _, share in MIX_MS])[0]
        return Asked(
            takes_ms,
            fails_once=self._random.random() < FAILING_SHARE,
            is_later=self._random.random() < LATER_SHARE,
        )

    def _job(self, asked: Asked) -> NewJob:
        payload = dump(payload_of(self._stored, asked))
        run_at = _soon() if asked.is_later else None
        return NewJob(KIND, payload, max_attempts=MAX_ATTEMPTS, run_at=run_at)


class Clients:
    """The panel, a scraper, and clients that read and enqueue over HTTP."""

    def __init__(self, port: int, acks: Acks) -> None:
        self.answers: Counter[int] = Counter()
        self._port = port
        self._acks = acks

    def turn(self, number: int) -> None:
        """Send the requests of one turn; anything but success is an error."""
        if number % SCRAPER_EVERY == 0:
            self._send(Request("GET", "/metrics"))
        if number % PANEL_EVERY == 0:
            self._send(Request("GET", "/queue/overview"))
        if number % ENQUEUE_EVERY:
            self._send(Request("GET", _READS[number % len(_READS)]))
            return
        asked = Asked(0)
        job = {"kind": KIND, "payload": payload_of(number, asked)}
        answer = self._send(post_json("/v1/jobs", job))
        self._acks.add(answer["id"], asked)

    def _send(self, request: Request) -> dict[str, str]:
        answer = send(self._port, request)
        self.answers[answer.status] += 1
        if answer.status >= http.client.BAD_REQUEST:
            raise ConnectionError(f"{request.path} was answered {answer.status}")
        is_object = answer.body.startswith(b"{")
        return json.loads(answer.body) if is_object else {}


def _soon() -> datetime:
    return from_micros(SystemClock().now_us() + LATER_US)


def payload_of(number: int, asked: Asked) -> dict[str, object]:
    """Return the arguments of the task that does what was asked."""
    return {
        "number": number,
        "sleep_ms": asked.takes_ms,
        "fails_once": asked.fails_once,
    }
