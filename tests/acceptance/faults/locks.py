"""Rows D1 and D2: who else wants SQLite's one write lock."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from flask import Flask

from flask_forge_jobs import ForgeJobs, NewJob, open_storage
from flask_forge_jobs.errors import StorageBusyError
from tests.acceptance.application import KIND, STARTED
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.scene import Scene, staged
from tests.acceptance.serving import serving
from tests.support.client import PREFIX, post_json, send
from tests.support.databases import sqlite_url
from tests.support.threads import run_together
from tests.support.waiting import wait_until

LEASE_S = 3.0
LOCKED_S = 10.0
BUSY_S = 2.0
FIELDS = 4
LOCK_LIMIT_S = 600.0
WRITERS = 8
LONGEST_P99_MS = 250.0
_LOCKED = re.compile(r"database is locked|StorageBusyError|is locked", re.IGNORECASE)
_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


def locked_file(bench: Bench) -> str:
    """D1: somebody keeps the lock for longer than writers wait, and than a lease."""
    repeats = bench.pick(1, 20, 20)
    fields = min(FIELDS, repeats)
    works = [
        partial(_lock_again_and_again, _field(bench, number), repeats // fields)
        for number in range(fields)
    ]
    refusals = sum(run_together(works, limit_s=LOCK_LIMIT_S))
    return (
        f"{repeats} locks of {LOCKED_S:g} s, 0 lost, 0 reaps; "
        f"{refusals} writes refused with when to come back"
    )


def _field(bench: Bench, number: int) -> Bench:
    """Return a bench with a file of its own: the waiting can go on side by side."""
    folder = bench.folder / f"field-{number}"
    folder.mkdir()
    return replace(bench, folder=folder, url=sqlite_url(folder / "queue.sqlite"))


def _lock_again_and_again(bench: Bench, repeats: int) -> int:
    refusals = 0
    with staged(bench, threads=4, lease_s=LEASE_S) as scene:
        scene.start(2, FLASK_FORGE_JOBS_SQLITE_BUSY_TIMEOUT_S=str(BUSY_S))
        for _ in range(repeats):
            refusals += _lock_once(scene)
        scene.check()
        reaped = sum(row.crashes for row in scene.evidence.rows)
        assert reaped == 0, f"{reaped} jobs of live workers were given back"
    return refusals


def _lock_once(scene: Scene) -> int:
    """Lock while jobs run, of which some end before, within and after the lock."""
    before = len(scene.starts())
    scene.enqueue(
        {"number": n, "sleep_ms": 50 if n % 2 else 1_000 * (n % 13)} for n in range(24)
    )
    wait_until(lambda: len(scene.starts()) > before, "jobs run")
    with _locked(scene.bench):
        ends_at = time.monotonic() + LOCKED_S
        refusals = _are_refused(scene.bench)
        threading.Event().wait(ends_at - time.monotonic())
    scene.wait_for_quiet()
    return refusals


@contextlib.contextmanager
def _locked(bench: Bench) -> Iterator[None]:
    locker = subprocess.Popen(
        [sys.executable, "-c", _LOCKER, str(bench.settings.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        yield
        locker.communicate("\n", timeout=60)
        assert locker.returncode == 0
    finally:
        locker.kill()
        locker.communicate()


def _are_refused(bench: Bench) -> int:
    """Write in both ways that a program has; return how many were refused well."""
    settings = replace(bench.settings, busy_timeout_s=BUSY_S)
    with contextlib.closing(open_storage(settings)) as storage:
        began_at = time.monotonic()
        try:
            storage.jobs.enqueue(NewJob("refused"))
        except StorageBusyError:
            waited_s = time.monotonic() - began_at
        else:
            raise AssertionError("a write passed a lock")
    assert waited_s < 2 * BUSY_S + 1, f"it waited {waited_s:.1f} s"
    app = Flask("locked")
    app.config["FORGE_JOBS_DATABASE_URL"] = bench.url
    app.config["FORGE_JOBS_SQLITE_BUSY_TIMEOUT_S"] = BUSY_S
    app.testing = True
    ForgeJobs(app)
    answer = app.test_client().post(
        f"{PREFIX}/jobs/enqueue", json={"kind": "refused", "payload": {}}
    )
    # The wire has 409 where the matrix has 503; what counts is when to come back.
    assert answer.status_code in (409, 503), answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    return 2


def many_writers(bench: Bench) -> str:
    """D2: four servers and four workers write to one file, each with four threads."""
    seconds = bench.pick(3, 20, 600)
    with (
        staged(bench, threads=4, lease_s=60.0) as scene,
        serving(bench.url, bench.folder, "-w", "4", "--threads", "4") as server,
    ):
        scene.start(4)
        port = server.port()
        ends_at = time.monotonic() + seconds
        works = [partial(_post_until, port, ends_at) for _ in range(WRITERS)]
        took_ms = sorted(
            each for one in run_together(works, limit_s=seconds + 60) for each in one
        )
        scene.wait_for_quiet()
        assert scene.fleet.stop() == []
        server.stop()
        said = server.text + scene.fleet.log.read_text()
        starts = sum(line.event == STARTED for line in scene.lines())
    assert starts == len(took_ms), f"{starts} runs of {len(took_ms)} jobs"
    locked = _LOCKED.findall(said)
    assert not locked, f"{len(locked)} times {locked[0]!r}"
    p99_ms = took_ms[int(len(took_ms) * 0.99)]
    assert p99_ms <= LONGEST_P99_MS, f"p99 of an enqueue is {p99_ms:.0f} ms"
    return (
        f"{len(took_ms)} jobs stored and run, locked 0 times, "
        f"p99 of a request {p99_ms:.0f} ms"
    )


def _post_until(port: int, ends_at: float) -> list[float]:
    """Enqueue until an instant; return how long each request took, in ms."""
    took_ms = []
    request = post_json(
        "/jobs/enqueue", {"kind": KIND, "payload": {"number": 1, "sleep_ms": 1}}
    )
    while (began_at := time.monotonic()) < ends_at:
        answer = send(port, request)
        took_ms.append((time.monotonic() - began_at) * 1_000)
        assert answer.status == 200, answer.body
    return took_ms
