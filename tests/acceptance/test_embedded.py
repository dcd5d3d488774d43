"""Workers within the server processes of gunicorn, two of which are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.acceptance.application import (
    ENDED,
    KIND,
    LEDGER_VARIABLE,
    SETTING_VARIABLE,
    STARTED,
)
from tests.acceptance.ledger import read_ledger
from tests.acceptance.serving import serving
from tests.support.waiting import wait_until

JOBS, SERVER_WORKERS, LEASE_S = 1_000, 4, 2
PAYLOAD = '{"number":0,"sleep_ms":50}'


@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("sqlite", ("--worker-class=sync",)),
        ("postgres", ("--worker-class=gthread", "--threads=2")),
        ("postgres", ("--worker-class=sync", "--preload")),
        ("sqlite", ("--worker-class=gthread", "--threads=2", "--preload")),
    ],
    indirect=["backend"],
)
def test_each_job_runs_once_while_server_processes_are_killed(
    database_url: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Only what a killed process was running runs again; no request ever comes."""
    ledger = tmp_path / "ledger"
    storage = open_storage(DatabaseSettings.from_url(database_url))
    jobs = [NewJob(KIND, PAYLOAD, queue_name="default") for _ in range(JOBS)]
    ids = {each.id for each in storage.jobs.enqueue_many(jobs)}
    killed: set[int] = set()
    environ = {
        SETTING_VARIABLE: "on",
        LEDGER_VARIABLE: str(ledger),
        "FLASK_FORGE_JOBS_LEASE_S": str(LEASE_S),
    }
    workers = f"--workers={SERVER_WORKERS}"
    with serving(database_url, tmp_path, workers, *options, **environ) as server:
        for part in (JOBS // 4, JOBS // 2):
            wait_until(partial(have_ended, ledger, part), f"{part} jobs have ended")
            pid = read_ledger(ledger)[-1].pid
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        wait_until(lambda: done(storage) == JOBS, "every job is done")
        status = server.stop()

    lines = read_ledger(ledger)
    begun = Counter(line.job_id for line in lines if line.event == STARTED)
    held = {line.job_id for line in lines if line.pid in killed}
    known = storage.workers.all()
    storage.close()
    assert (status, known) == (0, [])
    assert len(killed - {server.process.pid}) == 2
    assert set(begun) == ids
    assert {job_id for job_id, times in begun.items() if times > 1} <= held


def done(storage: Storage) -> int:
    return storage.job_reader.statistics()["default"].counts.done


def have_ended(ledger: Path, count: int) -> bool:
    return sum(line.event == ENDED for line in read_ledger(ledger)) >= count
