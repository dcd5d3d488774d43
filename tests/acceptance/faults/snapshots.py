"""Somebody else keeps a snapshot open, so nothing that has ended is cleaned up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from flask import Flask

from flask_forge_jobs import ForgeJobs, NewJob, Storage
from flask_forge_jobs.handlers.readiness import OLD_SNAPSHOT_S
from flask_forge_jobs.model.claims import ClaimBatch
from flask_forge_jobs.storage.jobs.queue import JobQueue
from tests.acceptance.bulk_interference import MS, percentile
from tests.acceptance.faults.fault import Bench, Scale
from tests.acceptance.faults.reaping import opened
from tests.support.client import PREFIX
from tests.support.runtimes import QuickTask, registry_of, running
from tests.support.waiting import wait_until

JOBS_A_SECOND = 100
MAX_TIMES_SLOWER = 5.0
# Of the time: without a snapshot before, and the last of it with one.
PART = 0.1
THREADS = 8
_METRIC = "forge_jobs_oldest_snapshot_age_seconds"


class Watch:
    """Notes how long each claim of the runtimes in this process takes."""

    def __init__(self) -> None:
        self._took_s: list[float] = []

    def exchange(
        self, plain: Callable[..., ClaimBatch], *args: Any, **options: Any
    ) -> ClaimBatch:
        """Pass a call on; note its time when it claims."""
        since = time.perf_counter()
        result = plain(*args, **options)
        demand: Mapping[str, int] = args[3]
        if demand:
            self._took_s.append(time.perf_counter() - since)
        return result

    def take(self) -> list[float]:
        """Return what was noted since the last call."""
        taken, self._took_s = self._took_s, []
        return taken


def open_snapshot(bench: Bench) -> str:
    """C20."""
    seconds = bench.pick(1, 60, 600)
    part_s = max(PART * seconds, 0.5)
    # Stored by way of other stores, as by another process: else the same transaction
    # would claim for a free slot.
    with opened(bench) as storage, opened(bench) as elsewhere, _watched() as watch:
        task = QuickTask("quick")
        with running(storage, registry_of(task), threads=THREADS):
            load = _Load(elsewhere)
            load.put_on(part_s)
            before = watch.take()
            with _snapshot(bench) as session:
                load.put_on(seconds - part_s)
                middle = watch.take()
                load.put_on(part_s)
                last = watch.take()
                age_s = _is_named(bench, session)
            load.put_on(part_s)
            after = watch.take()
            wait_until(lambda: len(task.job_ids) >= load.stored, "all jobs have run")
    done = bench.sql.value("SELECT COUNT(*) FROM forge_job WHERE status = 'done'")
    assert done == load.stored, f"{done} jobs of {load.stored} are done"
    assert len(set(task.job_ids)) == len(task.job_ids) == load.stored
    if bench.scale is not Scale.SHORT:  # which has too few claims to compare
        times = _ms(last, 0.99) / _ms(before, 0.99)
        assert times <= MAX_TIMES_SLOWER, (
            f"p99 of a claim is {times:.1f} times as long: {_shown(before)} before, "
            f"{_shown(last)} at the end of {age_s:.0f} s with a snapshot open"
        )
    return (
        f"a snapshot open for {age_s:.0f} s at {JOBS_A_SECOND} jobs a second: p50 and "
        f"p99 of a claim {_shown(before)} before, {_shown(middle)} under it, "
        f"{_shown(last)} in its last tenth, {_shown(after)} afterwards; named by "
        f"readiness and metrics; {load.stored} jobs, each run once"
    )


def _ms(took_s: Sequence[float], share: float) -> float:
    return percentile(took_s, share) * MS


def _shown(took_s: Sequence[float]) -> str:
    return f"{_ms(took_s, 0.5):.1f} and {_ms(took_s, 0.99):.1f} ms"


class _Load:
    """Stores so many jobs a second, one by one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.stored = 0

    def put_on(self, seconds: float) -> None:
        """Do it for so long."""
        began_at = time.monotonic()
        pause = threading.Event()
        for number in range(int(seconds * JOBS_A_SECOND)):
            due_at = began_at + number / JOBS_A_SECOND
            pause.wait(max(due_at - time.monotonic(), 0.0))
            self._storage.jobs.enqueue(NewJob("quick"))
            self.stored += 1


@contextlib.contextmanager
def _watched() -> Iterator[Watch]:
    watch = Watch()
    plain = JobQueue.exchange

    def exchange(*args: Any, **options: Any) -> ClaimBatch:
        return watch.exchange(plain, *args, **options)

    with mock.patch.object(JobQueue, "exchange", exchange):
        yield watch


@contextlib.contextmanager
def _snapshot(bench: Bench) -> Iterator[int]:
    """Keep a snapshot open; yield the process of its session."""
    with contextlib.closing(bench.sql.connect()) as reader:
        cursor = reader.cursor()
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT COUNT(*) FROM forge_job")
        yield reader.info.backend_pid


def _is_named(bench: Bench, session: int) -> float:
    """Look who is named for the snapshot, and return its age in seconds."""
    app = Flask("observer")
    app.config["FORGE_JOBS_DATABASE_URL"] = bench.url
    app.testing = True
    ForgeJobs(app, open_to_loopback=True)
    client = app.test_client()
    ready = client.get(f"{PREFIX}/v1/health/ready").get_json()
    (check,) = [each for each in ready["checks"] if each["name"] == "snapshots"]
    lines = client.get(f"{PREFIX}/metrics").text.splitlines()
    (line,) = [each for each in lines if each.startswith(f"{_METRIC} ")]
    age_s = float(line.split()[1])
    assert ready["status"] == "ok", ready
    assert check["ok"], check
    if age_s >= OLD_SNAPSHOT_S:
        assert f"session {session} " in check["detail"], check
    return age_s
