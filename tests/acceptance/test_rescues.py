"""Which runs a death explains, however late their claim was stored."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from flask_forge_jobs import NewJob, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND, MAX_ATTEMPTS
from tests.acceptance.checker import SECOND_NS
from tests.acceptance.evidence import final_rows
from tests.acceptance.fleet import Fleet, started
from tests.acceptance.ledger import Failure, FinalRow, Kill, Run, StoredAttempt
from tests.acceptance.rescues import deaths, with_late_claims
from tests.support.databases import fresh_url
from tests.support.sql import Sql
from tests.support.waiting import wait_until

DIED_S = 10
# The lock holds heartbeats up, too, and without its lease a worker claims nothing.
LEASE_S = 6.0
CLAIMS_THAT_WAIT = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
    "AND (query LIKE '%forge_claim%' OR query LIKE '%forge_exchange%')"
)
SEEN, LATE = ("job", 1), ("job", 2)


def rescued(run: Run, worker_id: str | None, at_s: float) -> FinalRow:
    job_id, attempt = run
    failure = Failure(attempt, int(at_s * SECOND_NS), is_reaped=True)
    crashed = StoredAttempt(attempt, attempt, "crashed", worker_id, 0, 1)
    return FinalRow(
        job_id, "done", attempt + 1, 25, 1, failures=(failure,),
        stored_attempts=(crashed,),
    )  # fmt: skip


def death(worker_id: str | None = "dead") -> Kill:
    return Kill(7, worker_id, DIED_S * SECOND_NS, frozenset({SEEN}))


def test_a_claim_that_was_stored_after_the_death_belongs_to_it() -> None:
    rows = [rescued(LATE, "dead", DIED_S + 3)]

    (kill,) = with_late_claims([death()], rows)

    assert kill.held == {SEEN, LATE}


@pytest.mark.parametrize(
    ("worker_id", "at_s"), [("alive", DIED_S + 3), (None, 99), ("dead", DIED_S - 1)]
)
def test_no_other_rescue_belongs_to_a_death(worker_id: str | None, at_s: float) -> None:
    """Of a worker that lives, of nobody, or before the death."""
    kills = [death(), death(None)]

    assert with_late_claims(kills, [rescued(LATE, worker_id, at_s)]) == kills


def test_a_run_that_was_not_rescued_belongs_to_no_death() -> None:
    failed = Failure(2, (DIED_S + 3) * SECOND_NS, is_reaped=False)
    attempt = StoredAttempt(2, 2, "failed", "dead", 0, 1)
    row = FinalRow(
        "job", "done", 3, 25, 0, failures=(failed,), stored_attempts=(attempt,)
    )

    assert with_late_claims([death()], [row]) == [death()]


def test_a_stall_is_no_death() -> None:
    stall = Kill(7, "dead", DIED_S * SECOND_NS, resumed_ns=DIED_S * SECOND_NS + 1)

    assert with_late_claims([stall], [rescued(LATE, "dead", DIED_S + 3)]) == [stall]
    assert deaths([stall, death(), death(None)]) == {"dead": DIED_S * SECOND_NS}


@pytest.mark.long
def test_a_server_stores_the_claim_of_a_worker_that_is_dead(tmp_path: Path) -> None:
    """A lock holds the claim up until the worker is dead; on a busy server, time does.

    The job had not started, so it gets its attempt back.
    """
    with fresh_url("postgres") as url:
        settings = DatabaseSettings.from_url(url)
        sql = Sql(settings)
        fleet = Fleet(url, tmp_path, sql, threads=1, lease_s=LEASE_S)
        with (
            contextlib.closing(open_storage(settings)) as storage,
            contextlib.closing(sql.connect()) as holder,
            started(fleet, 1),
        ):
            storage.open()
            worker = fleet.workers[0]
            find = "SELECT 1 FROM forge_worker WHERE worker_name = ?"
            wait_until(lambda: sql.run(find, worker.name), "the worker serves")
            fleet.pause(worker)
            payload = dump({"number": 1, "sleep_ms": 1})
            job = NewJob(KIND, payload, max_attempts=MAX_ATTEMPTS)
            job_id = storage.jobs.enqueue(job).id
            holder.autocommit = False
            with holder, holder.cursor() as cursor:
                cursor.execute("LOCK TABLE forge_job IN EXCLUSIVE MODE")
                fleet.resume(worker)
                wait_until(lambda: sql.value(CLAIMS_THAT_WAIT), "the worker claims")
                kill = fleet.kill_one(worker)
            claimed = "SELECT COUNT(*) FROM forge_job WHERE status = 'in_progress'"
            wait_until(lambda: sql.value(claimed), "the claim is stored")
            fleet.start()
            done = "SELECT COUNT(*) FROM forge_job WHERE status = 'done'"
            wait_until(lambda: sql.value(done), "another worker runs the job")
        offset_ns = time.monotonic_ns() - time.time_ns()
        (row,) = final_rows(sql, monotonic_offset_ns=offset_ns)

    assert kill.held == frozenset()
    assert with_late_claims([kill], [row])[0].held == {(job_id, 1)}
    assert (row.attempts, row.max_attempts) == (2, MAX_ATTEMPTS + 1)
