"""Whatever stores a text about a job, its secrets are masked before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    FollowUp,
    Outcome,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.reentry import calls
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue, finish, update_for
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql

CANARY = "c4n4ry"
LEAK = f"password={CANARY} was wrong"
SHOWN = "password=[redacted] was wrong"
ENDINGS: list[Outcome] = [
    Failed(LEAK, traceback=f"Traceback:\n  {LEAK}"),
    Dead(LEAK, f"Traceback:\n  {LEAK}"),
    Throttled(1.0, reason=LEAK),
    Snooze(1.0, LEAK),
    Done(result_error=LEAK),
]
WAYS: dict[str, Callable[[Storage, str], object]] = {
    "an outcome as it is": lambda storage, _: storage.jobs.finish(
        OWNER, [JobUpdate(claim_one(storage), JobStatus.DEAD, error=LEAK)]
    ),
    "a reason": lambda storage, job_id: storage.job_admin.cancel(job_id, LEAK),
    "progress": lambda storage, _: storage.jobs.heartbeat(
        OWNER, {claim_one(storage).id: json.dumps({"message": LEAK, "token": CANARY})}
    ),
} | {
    f"{type(outcome).__name__}": (
        lambda storage, _, outcome=outcome: finish(storage, claim_one(storage), outcome)
    )
    for outcome in ENDINGS
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_into_the_database_shows_a_secret(
    storage: Storage, sql: Sql, way: str
) -> None:
    job_id = enqueue(storage)

    WAYS[way](storage, job_id)

    (texts,) = sql.run(
        "SELECT last_error, error_history, result_error, progress FROM forge_job"
    )
    attempts = sql.run("SELECT ending, error, traceback FROM forge_attempt")
    assert CANARY not in str((texts, attempts))
    if "failed" in str(attempts):
        assert str(attempts).count("[redacted]") == 2  # the traceback, too
    assert "[redacted]" in str(texts)


def test_a_reason_is_searched_as_it_is_stored(storage: Storage) -> None:
    """Otherwise a reader could find a secret letter by letter."""
    job_id = enqueue(storage)
    storage.job_admin.cancel(job_id, LEAK)

    def found(text: str) -> int:
        return storage.job_reader.total(JobFilter(error_search=text))

    job = storage.job_reader.get(job_id)
    assert job.last_error == f"cancelled by user: {SHOWN}"
    assert [found(CANARY), found("c4n"), found("was wrong")] == [0, 0, 1]


class Outside(Masking):
    """Notes whether it masks within a call of the storage."""

    was_within = False

    def json_text(self, text: str) -> str:
        self.was_within = self.was_within or calls.is_busy
        return super().json_text(text)


def test_progress_is_masked_before_the_transaction(storage: Storage) -> None:
    """It takes a while, in which other writers of a SQLite file would wait."""
    enqueue(storage)
    job = claim_one(storage)
    storage.jobs.masking = masking = Outside()

    storage.jobs.heartbeat(OWNER, {job.id: '{"token":"x"}'})

    assert storage.job_reader.get(job.id).progress == '{"token":"[redacted]"}'
    assert not masking.was_within


@pytest.mark.parametrize("outcome", [Dead(LEAK), Throttled(1.0, reason=LEAK)])
def test_the_error_of_an_outcome_that_was_stored_twice_is_masked(
    storage: Storage, outcome: Outcome
) -> None:
    """A repeat finds what was stored, although it was given another text.

    That of a failure is masked before, for its signature.
    """
    enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, outcome, failure_delay_s=1.0, user_cancelled=False)

    refused = lossy_jobs(storage.database).finish(OWNER, [update])

    assert refused == []
    assert storage.job_reader.get(job.id).last_error == SHOWN


def test_a_follow_up_quotes_the_masked_error(storage: Storage) -> None:
    enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, Dead(LEAK), failure_delay_s=1.0, user_cancelled=False)
    update.follow_ups = {Ending.DEAD: FollowUp("after", "ended", QUEUE, 0, 1)}

    storage.jobs.finish(OWNER, [update])

    follow_up = claim_one(storage)
    assert json.loads(follow_up.payload)["ended"]["error"] == SHOWN


def test_the_error_of_a_schedule_is_masked(storage: Storage, sql: Sql) -> None:
    key = f"token={CANARY}"
    storage.jobs.enqueue(NewJob("another", dedupe_key=key))
    schedule = ScheduleDefinition("n", "tick", "@yearly", queue_name="default")
    storage.cron.create(replace(schedule, dedupe_key=key))
    sql.run("UPDATE forge_cron SET next_fire_at = ?", sql.now_us())

    for _ in range(2):
        storage.cron.fire_due(str)

    error = storage.cron.get("n").last_error or ""
    assert "is held by job" in error
    assert CANARY not in error
