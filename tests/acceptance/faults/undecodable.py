"""B10: one row among a hundred that nobody can make sense of, on every path."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace

from flask import Flask

from flask_forge_jobs import ForgeJobs, NewJob, Storage
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus
from tests.acceptance.application import KIND
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.reaping import Watch, opened
from tests.acceptance.fleet import Fleet, started
from tests.support.client import PREFIX
from tests.support.jobs import OWNER, QUEUE
from tests.support.waiting import wait_until

JOBS = 100
LEASE_S = 60.0
PAYLOAD = '{"number":1,"sleep_ms":1}'
# What no version of the package writes, by the column that it is written to.
_DAMAGE = {
    "payload": "{no json",
    "error_history": "{{",
    "result": "]",
    "progress": "'",
    "kind": "acceptance.unknown",
}
_PAGES = (
    "/v1/jobs", "/jobs/failed", "/jobs/scheduled", "/queue/overview", "/metrics",
    "/v1/stats", "/v1/errors",
)  # fmt: skip


def one_row_in_a_hundred(bench: Bench) -> str:
    """B10: the row is put aside, and the ninety-nine others go on."""
    with opened(bench) as storage:
        seen = [
            path(bench, storage) for path in (_claim, _reap, _cron, _lists, _future)
        ]
        bench.sql.assert_counts_equal_rows()
    return "1 in 100 at " + ", ".join(seen)


def _claim(bench: Bench, storage: Storage) -> str:
    """A real worker takes the whole batch."""
    bad, *others = _enqueue(storage)
    _wreck(bench, bad, "payload")
    fleet = Fleet(bench.url, bench.folder, bench.sql, threads=4, lease_s=LEASE_S)
    with started(fleet, 1):
        wait_until(
            lambda: (
                not bench.sql.value(
                    "SELECT COUNT(*) FROM forge_job WHERE completed_at IS NULL"
                )
            ),
            "all have ended",
        )
        assert fleet.stop() == []
    job = storage.job_reader.get(bad)
    assert job.status is JobStatus.DEAD
    assert (job.last_error or "").startswith("corrupt row"), job.last_error
    assert all(_status(storage, each) is JobStatus.DONE for each in others)
    return "claim (dead, corrupt row)"


def _reap(bench: Bench, storage: Storage) -> str:
    ids = _enqueue(storage)
    assert len(storage.jobs.claim(QUEUE, OWNER, JOBS)) == JOBS
    for job_id, column in zip(ids, _DAMAGE, strict=False):
        _wreck(bench, job_id, column)
    watch = Watch(storage)
    watch.lease()
    watch.sweep()
    assert storage.jobs.running() == []
    assert all(_status(storage, each) is JobStatus.FAILED for each in ids)
    return "reap"


def _cron(bench: Bench, storage: Storage) -> str:
    yearly = ScheduleDefinition("s00", "tick", "0 0 1 1 *", queue_name="fired")
    for number in range(JOBS):
        storage.cron.create(replace(yearly, name=f"s{number:02}"))
    bench.sql.run("UPDATE forge_cron SET next_fire_at = ?", bench.sql.now_us())
    bench.sql.run("UPDATE forge_cron SET cron_expr = 'whenever' WHERE name = 's07'")
    report = storage.cron.fire_due(lambda _: "fired")
    assert (report.fired, report.errors) == (JOBS - 1, 1), report
    broken = storage.cron.get("s07")
    assert not broken.definition.enabled
    assert broken.last_error
    return "cron (disabled)"


def _lists(bench: Bench, storage: Storage) -> str:
    ids = _enqueue(storage)
    for job_id, column in zip(ids, _DAMAGE, strict=False):
        _wreck(bench, job_id, column)
    get = _reader(bench)
    for job_id in ids[: len(_DAMAGE)]:
        assert get(f"/v1/jobs/{job_id}")
        assert get(f"/jobs/inspect/{job_id}")
    for page in _PAGES:
        get(page)
    assert set(ids) <= _listed(get)
    return "lists (200)"


def _future(bench: Bench, storage: Storage) -> str:
    """A state that a newer package may have; the schema has to allow it first."""
    bad, *others = _enqueue(storage, queue_name="newer")
    statement = "UPDATE forge_job SET status = 'hibernating' WHERE id = ?"
    if bench.backend == "sqlite":
        assert bench.settings.path is not None
        with contextlib.closing(sqlite3.connect(bench.settings.path)) as file, file:
            file.execute("PRAGMA ignore_check_constraints = ON")
            file.execute(statement, (bad,))
    else:
        bench.sql.run("ALTER TABLE forge_job DROP CONSTRAINT forge_job_status_check")
        bench.sql.run(statement, bad)
    get = _reader(bench)
    for page in _PAGES:
        get(page)
    claimed = storage.jobs.claim("newer", OWNER, JOBS)
    assert {job.id for job in claimed} == set(others)
    assert storage.jobs.rescue(storage.jobs.running()) == JOBS - 1
    return "all of them with a future state (left alone)"


def _enqueue(storage: Storage, queue_name: str = QUEUE) -> list[str]:
    job = NewJob(KIND, PAYLOAD, queue_name=queue_name)
    return [each.id for each in storage.jobs.enqueue_many([job] * JOBS)]


def _wreck(bench: Bench, job_id: str, column: str) -> None:
    bench.sql.run(
        f"UPDATE forge_job SET {column} = ? WHERE id = ?", _DAMAGE[column], job_id
    )


def _status(storage: Storage, job_id: str) -> JobStatus:
    return storage.job_reader.get(job_id).status


def _reader(bench: Bench) -> Callable[[str], object]:
    app = Flask("lists")
    app.config["FORGE_JOBS_DATABASE_URL"] = bench.url
    app.testing = True
    ForgeJobs(app)
    client = app.test_client()

    def get(path: str) -> object:
        answer = client.get(f"{PREFIX}{path}")
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.get_json(silent=True)

    return get


def _listed(get: Callable[[str], object]) -> set[str]:
    page = get("/v1/jobs?limit=200")
    assert isinstance(page, dict)
    return {row["id"] for row in page["rows"]}
