"""Faults of reapers: stalled, many at once, behind a crowd, and keys of the dead."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Self

from flask_forge_jobs import NewJob, Storage, open_storage
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.outcomes import Done, Failed
from flask_forge_jobs.model.run_end import MAX_CRASHES
from flask_forge_jobs.runtime.duties.reaper import SWEEPS_PER_LEASE, Reaper
from tests.acceptance import evidence
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.log_texts import RESCUED, pattern
from tests.support.jobs import OTHER, OWNER, QUEUE, claim_one, enqueue, finish
from tests.support.processes import output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import run_together

LEASE_S = 60.0
SWEEP_S = LEASE_S / SWEEPS_PER_LEASE
REAPERS = 8
_RESCUED = pattern(RESCUED)
LIVING, SILENT = 1_000, 50
MAX_SWEEPS = 2
# Longer than every delay before a retry.
DELAY_S = 600.0

# Looks, is stopped there, and writes once it may go on.
_STALLING_REAPER = """
import os, signal
for line in sys.stdin:
    observed = storage.jobs.running()
    os.kill(os.getpid(), signal.SIGSTOP)
    print(storage.jobs.rescue(observed), flush=True)
"""
# The reaper watches a whole lease on its own clock, and sweeps on a request. The lease
# is so long that no heartbeat is three of them old by the database's clock, however
# slowly the programs start.
_PATIENT_REAPER = """
import logging
from flask_forge_jobs.runtime.duties.reaper import (SWEEPS_PER_LEASE, Reaper)
now, lease_s = 0.0, 3600.0
reaper = Reaper(
    storage.jobs, storage.workers, lease_s=lease_s, written_until=lambda: now
)
for _ in range(SWEEPS_PER_LEASE):
    reaper.tick()
    now += lease_s / SWEEPS_PER_LEASE
print("watched", flush=True)
sys.stdin.readline()
logging.basicConfig(stream=sys.stdout, format="%(message)s")
reaper.tick()
"""
_CLAIMER = """
print(len(storage.jobs.claim("default", "killed", int(sys.argv[8]))), flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def opened(bench: Bench) -> Iterator[Storage]:
    """Open the stores of a bench; nothing there spreads the retries."""
    storage = open_storage(bench.settings, jitter=None)
    with contextlib.closing(storage):
        storage.open()
        yield storage


class Watch:
    """A reaper of this process, on a clock that is moved by hand."""

    def __init__(self, storage: Storage) -> None:
        self._now = 0.0
        self._reaper = Reaper(
            storage.jobs,
            storage.workers,
            lease_s=LEASE_S,
            written_until=lambda: self._now,
        )

    def sweep(self) -> None:
        """Look once; a sweep's time has passed afterwards."""
        self._reaper.tick()
        self._now += SWEEP_S

    def lease(self, between: Callable[[], object] = lambda: None) -> None:
        """Look for a lease; the next sweep gives back what was silent."""
        for _ in range(SWEEPS_PER_LEASE):
            self.sweep()
            between()


# -- B3 ------------------------------------------------------------------------------


def stalled_reaper(bench: Bench) -> str:
    """B3: it is stopped between look and write while the owner goes on."""
    repeats = bench.pick(10, 200, 200)
    rescued = 0
    with opened(bench) as storage, _StallingReaper(bench) as reaper:
        for _ in range(repeats):
            act = bench.random.choice([_succeeds, _fails, _beats, _is_replaced])
            rescued += reaper.stall(storage, partial(act, storage))
        # Were it not for the owner, the job would be given back.
        assert reaper.stall(storage, lambda _: None) == 1
    assert rescued == 0, f"{rescued} jobs were rescued after a stalled look"
    return f"{repeats} stalled reapers, 0 jobs rescued"


class _StallingReaper:
    """Another process that looks, is stopped, and writes once it may go on."""

    def __init__(self, bench: Bench) -> None:
        self._process = start_python(bench.settings, _STALLING_REAPER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stall(self, storage: Storage, act: Callable[[ClaimedJob], object]) -> int:
        """Return how many jobs it gives back when one is acted upon meanwhile."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        enqueue(storage)
        job = claim_one(storage)
        process.stdin.write("\n")
        process.stdin.flush()
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"the reaper ended: {status}"
        act(job)
        left = storage.job_reader.get(job.id)
        process.send_signal(signal.SIGCONT)
        rescued = int(process.stdout.readline())
        if not rescued:
            assert storage.job_reader.get(job.id) == left
            _let_it_end(storage, left)
        return rescued


def _succeeds(storage: Storage, job: ClaimedJob) -> None:
    assert finish(storage, job, Done())


def _fails(storage: Storage, job: ClaimedJob) -> None:
    assert finish(storage, job, Failed("no"))


def _beats(storage: Storage, job: ClaimedJob) -> None:
    assert (job.id, 1) in storage.jobs.heartbeat(OWNER, {}).owned


def _is_replaced(storage: Storage, job: ClaimedJob) -> None:
    """Another process runs the job by now."""
    _fails(storage, job)
    assert storage.job_admin.run_now(job.id)
    assert claim_one(storage, owner=OTHER).id == job.id


def _let_it_end(storage: Storage, job: Job) -> None:
    """Whoever owned it before the reaper wrote still does."""
    if job.status is JobStatus.IN_PROGRESS:
        (claim,) = [each for each in storage.jobs.running() if each.id == job.id]
        held = storage.jobs.held(claim.worker_id)
        (ended,) = [each for each in held if each.id == job.id]
        assert finish(storage, ended, Done(), owner=claim.worker_id)


# -- B7 ------------------------------------------------------------------------------


def many_reapers(bench: Bench) -> str:
    """B7: every process runs one, and all write at the same moment."""
    count = bench.pick(100, 1_000, 5_000)
    with opened(bench) as storage:
        bench.sql.seed(count, status="in_progress")
        bench.sql.run("UPDATE forge_job SET attempts = 1")
        reapers = [
            start_python(bench.settings, _PATIENT_REAPER) for _ in range(REAPERS)
        ]
        for reaper in reapers:
            assert reaper.stdout is not None
            assert reaper.stdout.readline() == "watched\n"
        said = "".join(run_together([partial(_sweep, each) for each in reapers]))
        given_back = [int(number) for number in _RESCUED.findall(said)]
        assert sum(given_back) == count, f"{given_back} of {count} were given back"
        histories = bench.sql.run(
            "SELECT status, crashes, error_history, COUNT(*) FROM forge_job "
            "GROUP BY status, crashes, error_history"
        )
        for status, crashes, history, _ in histories:
            assert (status, crashes) == ("failed", 1)
            assert len(json.loads(history)) == 1, history
        assert storage.jobs.running() == []
        bench.sql.assert_counts_equal_rows()
    return f"{count} transitions by {len(given_back)} of {REAPERS} reapers"


def _sweep(reaper: subprocess.Popen[str]) -> str:
    return output_of(reaper)  # closes its input, which is what it waits for


# -- B11 -----------------------------------------------------------------------------


def crowd_before_the_dead(bench: Bench) -> str:
    """B11: what is silent is behind more live jobs than a batch holds."""
    with opened(bench) as storage:
        for owner, count in ((OWNER, LIVING), ("silent", SILENT)):
            storage.jobs.enqueue_many([NewJob("noop")] * count)
            assert len(storage.jobs.claim(QUEUE, owner, count)) == count
        watch = Watch(storage)
        beat = partial(storage.jobs.heartbeat, OWNER, {})
        watch.lease(between=beat)
        sweeps = 0
        while any(each.worker_id == "silent" for each in storage.jobs.running()):
            assert sweeps < MAX_SWEEPS, "the dead are behind the living"
            watch.sweep()
            beat()
            sweeps += 1
        running = storage.jobs.running()
        assert len(running) == LIVING, f"{len(running)} of {LIVING} still run"
    return f"{SILENT} behind {LIVING} given back in {sweeps} sweep(s)"


# -- B12 -----------------------------------------------------------------------------


def key_of_the_dead(bench: Bench) -> str:
    """B12: a worker is killed with jobs that hold unique keys."""
    count = bench.pick(20, 100, 100)
    jobs = [NewJob("noop", dedupe_key=f"k{n}", max_attempts=9) for n in range(count)]
    with opened(bench) as storage:
        ids = [result.id for result in storage.jobs.enqueue_many(jobs)]
        _claim_and_die(bench, count)
        _assert_held(storage, jobs, ids)
        _give_back(storage, bench.sql)
        _assert_held(storage, jobs, ids)
        # Half of them are done when they are run again ...
        for job in storage.jobs.claim(QUEUE, OWNER, count // 2):
            assert finish(storage, job, Done())
        done = {job_id for job_id in ids if _has_ended(storage, job_id)}
        # ... and the others kill every process that runs them.
        for _ in range(MAX_CRASHES - 1):
            _claim_and_die(bench, count - len(done))
            _give_back(storage, bench.sql)
        assert all(_has_ended(storage, job_id) for job_id in ids)
        new = _enqueue_at_once(storage, jobs)
        assert new == count, f"{count} keys were free and {new} jobs are new"
        assert evidence.duplicate_keys(bench.sql) == []
        bench.sql.assert_counts_equal_rows()
    return (
        f"{count} keys held until the end, then free: {len(done)} done, the rest dead"
    )


def _claim_and_die(bench: Bench, count: int) -> None:
    claimer = start_python(bench.settings, _CLAIMER, str(count))
    assert claimer.stdout is not None
    assert int(claimer.stdout.readline()) == count
    claimer.kill()
    claimer.communicate()


def _give_back(storage: Storage, sql: Sql) -> None:
    watch = Watch(storage)
    watch.lease()
    watch.sweep()
    assert storage.jobs.running() == []
    sql.age(DELAY_S)


def _assert_held(storage: Storage, jobs: Sequence[NewJob], ids: Sequence[str]) -> None:
    results = storage.jobs.enqueue_many(jobs)
    assert [result.id for result in results] == list(ids)
    assert all(result.is_deduped for result in results)


def _has_ended(storage: Storage, job_id: str) -> bool:
    job = storage.job_reader.get(job_id)
    return job.status in (JobStatus.DONE, JobStatus.DEAD)


def _enqueue_at_once(storage: Storage, jobs: Sequence[NewJob]) -> int:
    """Enqueue each job from several threads; return how many are new."""
    works = [partial(storage.jobs.enqueue_many, jobs) for _ in range(4)]
    results = run_together(works)
    return sum(not each.is_deduped for batch in results for each in batch)
