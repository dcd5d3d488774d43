"""Races: what operators, owners and reapers do to the same jobs at the same moment."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs, NewJob, Storage
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Throttled,
)
from tests.acceptance.faults.edges import FINAL, edges_of, ends, illegal, watch_edges
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.reaping import opened
from tests.support.client import PREFIX
from tests.support.jobs import QUEUE, finish, rescue_all
from tests.support.runtimes import LIMIT_S, QuickTask, registry_of, running
from tests.support.threads import run_together
from tests.support.waiting import wait_until

THREADS = 8
# Few enough that every thread meets the others at each of them.
JOBS = 12
MAX_ATTEMPTS = 4
RACES_LIMIT_S = 900.0
LIMIT_MS = 20
_FROM_NO_FORM = {"X-Forge-Jobs": "1"}
_OUTCOMES: tuple[Callable[[], Outcome], ...] = (
    Done,
    lambda: Failed("no"),
    lambda: Dead("no"),
    Released,
    lambda: Throttled(scope="job"),
)


class Field:
    """The jobs that are raced for."""

    def __init__(self, storage: Storage, app: Flask, each: int) -> None:
        self._storage = storage
        self._app = app
        self._each = each
        self._ids: list[str] = []
        self._lock = threading.Lock()
        self.held: list[tuple[str, ClaimedJob]] = []
        self.answers: Counter[int] = Counter()
        self.refused = 0
        for _ in range(JOBS):
            self._add()

    def _add(self) -> None:
        job = NewJob("noop", max_attempts=MAX_ATTEMPTS)
        job_id = self._storage.jobs.enqueue(job).id
        with self._lock:
            self._ids.append(job_id)

    def play(self, name: str, source: random.Random) -> None:
        """Take the steps of one thread."""
        client = self._app.test_client()
        steps: list[Callable[[], object]] = [
            partial(self._claim, name),
            partial(self._end, source),
            partial(self._end, source),
            partial(rescue_all, self._storage),
            partial(self._ask, client, source, "DELETE", "/v1/jobs/{}"),
            partial(self._ask, client, source, "POST", "/v1/jobs/{}/cancel"),
            partial(self._ask, client, source, "POST", "/jobs/run-now/{}"),
            partial(self._requeue, source),
        ]
        for _ in range(self._each):
            source.choice(steps)()

    def _claim(self, name: str) -> None:
        jobs = self._storage.jobs.claim(QUEUE, name, 2)
        with self._lock:
            self.held += [(name, job) for job in jobs]

    def _end(self, source: random.Random) -> None:
        """End a run that some thread began, whether or not it still has the job."""
        with self._lock:
            if not self.held:
                return
            owner, job = self.held.pop(source.randrange(len(self.held)))
        outcome = source.choice(_OUTCOMES)()
        if not finish(self._storage, job, outcome, owner=owner, delay_s=0):
            with self._lock:
                self.refused += 1

    def _requeue(self, source: random.Random) -> None:
        self._storage.job_admin.requeue(self._one(source))

    def _ask(self, client: FlaskClient, source: random.Random, *what: str) -> None:
        method, path = what
        job_id = self._one(source)
        answer = client.open(
            PREFIX + path.format(job_id), method=method, headers=_FROM_NO_FORM
        )
        with self._lock:
            self.answers[answer.status_code] += 1
            is_gone = answer.status_code == 204 and job_id in self._ids
            if is_gone:
                self._ids.remove(job_id)
        if is_gone:
            self._add()

    def _one(self, source: random.Random) -> str:
        with self._lock:
            return source.choice(self._ids)


def races(bench: Bench) -> str:
    """B8: cancel, delete and retry against claim, finish and reap."""
    count = bench.pick(400, 5_000, 50_000)
    app = Flask("operators")
    app.config["FORGE_JOBS_DATABASE_URL"] = bench.url
    app.testing = True
    ForgeJobs(app, open_to_loopback=True)
    with opened(bench) as storage:
        watch_edges(bench)
        field = Field(storage, app, count // THREADS)
        works = [
            partial(field.play, f"owner-{n}", random.Random(bench.random.random()))
            for n in range(THREADS)
        ]
        run_together(works, limit_s=RACES_LIMIT_S)
        edges = edges_of(bench)
        bench.sql.assert_counts_equal_rows()
    wrong = illegal(edges)
    assert not wrong, f"{len(wrong)} illegal edges, such as {wrong[0]}"
    assert set(field.answers) <= {200, 202, 204, 404, 409}, field.answers
    assert field.refused, "no late outcome was provoked"
    assert field.answers[409], "the API refused nothing"
    return (
        f"{count} steps, {len(edges)} edges, 0 illegal; refused: {field.refused} "
        f"outcomes, {field.answers[409]} requests (409)"
    )


def limit_at_the_end(bench: Bench) -> str:
    """B9: a task ends within a millisecond of its time limit, before or after."""
    count = bench.pick(200, 2_000, 2_000)
    hears = QuickTask("hears", lambda context: _wait(context.cancel.wait))
    is_deaf = QuickTask("is_deaf", lambda _: _wait(time.sleep))
    with opened(bench) as storage:
        watch_edges(bench)
        jobs = [
            NewJob(
                bench.random.choice(["hears", "is_deaf"]),
                timeout_s=(LIMIT_MS + bench.random.uniform(-1, 1)) / 1000,
                max_attempts=1,
            )
            for _ in range(count)
        ]
        ids = {result.id for result in storage.jobs.enqueue_many(jobs)}
        with running(
            storage, registry_of(hears, is_deaf), threads=16, cancel_grace_s=0.0
        ):
            wait_until(lambda: _unfinished(bench) == 0, "all have ended", 10 * LIMIT_S)
            # Late ends are still to come, and must change nothing.
            edges = edges_of(bench)
        later = edges_of(bench)
    assert {job_id for job_id, times in ends(later) if times == 1} == ids
    assert edges == later, "an ended job changed"
    assert not illegal(later)
    statuses = dict(
        bench.sql.run("SELECT status, COUNT(*) FROM forge_job GROUP BY status")
    )
    assert set(statuses) <= set(FINAL), statuses
    return f"{count} jobs, one end each: {statuses}"


def _wait(pause: Callable[[float], object]) -> Done:
    pause(LIMIT_MS / 1000)
    return Done()


def _unfinished(bench: Bench) -> int:
    statement = "SELECT COUNT(*) FROM forge_job WHERE completed_at IS NULL"
    return int(bench.sql.value(statement))
