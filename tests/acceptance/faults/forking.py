"""Rows F1, F4 and F5: processes that fork, and children that write."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from flask import Flask

from flask_forge_jobs import ForgeJobs, NewJob, Storage, open_storage
from flask_forge_jobs.state import state_of
from tests.acceptance.faults.fault import Bench
from tests.support.applications import worker
from tests.support.jobs import QUEUE
from tests.support.processes import Child, Peer
from tests.support.storing import KIND, ROOT, Method, store, store_in

SIDES = 8
# Every so many forks the parent closes before the child writes.
CLOSES_EVERY = 5
METHODS: tuple[Method, ...] = ("forkserver", "spawn")
WRITERS = 2
LIMIT_S = 60.0
# Says which descriptors it has before it opens any of its own.
_PROGRAM = """
import os, sys
for number in os.listdir("/proc/self/fd"):
    if int(number) > 2 and os.path.exists(f"/proc/self/fd/{number}"):
        print(os.readlink(f"/proc/self/fd/{number}"))
from tests.support.storing import store
print(store(sys.argv[1]))
"""


# -- F1 ------------------------------------------------------------------------------


def both_sides_work(bench: Bench) -> str:
    """F1: parent and children use one storage at the same time."""
    seconds = bench.pick(1, 2, 5)
    with contextlib.closing(open_storage(bench.settings)) as storage:
        storage.jobs.enqueue(NewJob("before"))
        children = [
            Child(lambda parent: parent.say(str(_work(storage, seconds))))
            for _ in range(SIDES)
        ]
        rounds = [_work(storage, seconds), *(int(each.hear()) for each in children)]
        statuses = [each.end() for each in children]
    assert statuses == [0] * SIDES, f"children ended with {statuses}"
    stored = bench.sql.value("SELECT COUNT(*) FROM forge_job")
    assert stored == 1 + sum(rounds), f"{stored} jobs of {1 + sum(rounds)}"
    bench.sql.assert_counts_equal_rows()
    return (
        f"{SIDES} forks, {sum(rounds)} jobs stored and read, 0 foreign answers, "
        "0 cut connections"
    )


def _work(storage: Storage, seconds: float) -> int:
    """Store jobs and read them; return how many."""
    ends_at = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < ends_at:
        kind = f"side {os.getpid()}, {rounds}"
        job_id = storage.jobs.enqueue(NewJob(kind)).id
        found = storage.job_reader.get(job_id)
        assert (found.id, found.kind) == (job_id, kind), "another's answer"
        rounds += 1
    return rounds


# -- F4 ------------------------------------------------------------------------------


def beside_threads(bench: Bench) -> str:
    """F4: threads are within transactions and hold locks at every fork."""
    forks = bench.pick(12, 100, 500)
    started = bench.pick(0, 2, 10)
    told: list[str] = []
    with (
        contextlib.closing(open_storage(bench.settings)) as storage,
        _busy_threads(storage) as written,
    ):
        told += [
            _fork_and_write(storage, closes=number % CLOSES_EVERY == 0)
            for number in range(forks)
        ]
        told += [
            store_in(method, bench.url, LIMIT_S)
            for method in METHODS
            for _ in range(started)
        ]
    rows = bench.sql.run("SELECT id FROM forge_job WHERE kind = 'child'")
    missing = set(told) - {job_id for (job_id,) in rows}
    assert not missing, f"{len(missing)} of {len(told)} jobs of children are lost"
    stored = bench.sql.value("SELECT COUNT(*) FROM forge_job WHERE kind = 'thread'")
    assert stored == len(written), f"{stored} jobs of threads, {len(written)} were told"
    bench.sql.assert_counts_equal_rows()
    return (
        f"{forks} forks and {len(METHODS) * started} starts beside {len(written)} "
        f"writes, {len(told)} of {len(told)} children's jobs there, 0 stuck"
    )


def _fork_and_write(storage: Storage, *, closes: bool) -> str:
    def work(parent: Peer) -> None:
        logging.getLogger(__name__).info("a child logs")
        if closes:
            parent.hear()
        parent.say(storage.jobs.enqueue(NewJob(KIND)).id)

    child = Child(work)
    if closes:
        storage.database.close()  # its threads open it again
        child.say()
    job_id = child.hear()
    status = child.end()
    assert status == 0, f"a child ended with {status}"
    return job_id


@contextlib.contextmanager
def _busy_threads(storage: Storage) -> Iterator[list[str]]:
    """Have threads that write, read and log until the end of a block."""
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        written.append(storage.jobs.enqueue(NewJob("thread")).id)

    def read() -> None:
        storage.job_reader.statistics()

    def log() -> None:
        logging.getLogger(f"{__name__}.{threading.get_ident()}").info("a thread logs")
        stop.wait(0.001)

    def repeat(work: Callable[[], None]) -> None:
        while not stop.is_set():
            work()

    works = [*[write] * WRITERS, read, log]
    threads = [threading.Thread(target=repeat, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# -- F5 ------------------------------------------------------------------------------


def tasks_that_start_processes(bench: Bench) -> str:
    """F5: a task starts others, which write; no program inherits the database."""
    count = bench.pick(1, 5, 25)
    app = Flask("starting")
    app.config["FORGE_JOBS_DATABASE_URL"] = bench.url
    forge = ForgeJobs(app, open_to_loopback=True)
    told: list[str] = []
    troubles: list[str] = []

    def start(way: int) -> None:
        try:
            told.append(_WAYS[way](bench.url))
        except BaseException as error:
            troubles.append(repr(error))
            raise

    forge.task(kind="start")(start)
    with worker(app), app.app_context():
        for way in range(len(_WAYS)):
            forge.enqueue_many([NewJob("start", f'{{"way":{way}}}')] * count)
        _wait_for_ends(state_of(app).storage, len(_WAYS) * count)
    state_of(app).storage.close()
    assert not troubles, troubles[0]
    rows = bench.sql.run("SELECT id FROM forge_job WHERE kind = 'child'")
    missing = set(told) - {job_id for (job_id,) in rows}
    assert not missing, f"{len(missing)} of {len(told)} jobs of children are lost"
    assert len(told) == len(_WAYS) * count, f"{len(told)} children have written"
    return f"{len(told)} processes by {len(_WAYS)} ways, each job there, 0 inherited"


def _wait_for_ends(storage: Storage, count: int) -> None:
    ends_at = time.monotonic() + LIMIT_S * count
    while storage.job_reader.statistics()[QUEUE].counts.done < count:
        assert time.monotonic() < ends_at, "a task does not end"
        threading.Event().wait(0.02)


def _by_program(url: str) -> str:
    """Run another program, which inherits whatever the kernel does not close."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, url],
        capture_output=True, text=True, check=False, close_fds=False, timeout=LIMIT_S,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *inherited, job_id = done.stdout.split()
    ours = [each for each in inherited if "socket:" in each or ".sqlite" in each]
    assert not ours, f"a program inherits {ours}"
    return job_id


def _by_fork(url: str) -> str:
    return store_in("fork", url, LIMIT_S)


def _by_spawn(url: str) -> str:
    return store_in("spawn", url, LIMIT_S)


def _by_forked_pool(url: str) -> str:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(store, url).result(LIMIT_S)


_WAYS: tuple[Callable[[str], str], ...] = (
    _by_program,
    _by_fork,
    _by_spawn,
    _by_forked_pool,
)
