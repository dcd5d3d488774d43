"""Steps: kept for the next run by the owner of the run only, and until the job goes."""

from __future__ import annotations

import json

import pytest

from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
)
from flask_forge_jobs.model.steps import (
    MAX_SHOWN_STEPS,
    NO_STEPS,
    Checkpoint,
    KeptSteps,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.steps import StepStore
from tests.support.jobs import (
    OTHER,
    OWNER,
    claim_one,
    dead_with_steps,
    enqueue,
    finish,
    having,
    job_with,
    rescue_all,
    update_for,
    walk,
)
from tests.support.lossy import lossy_executor
from tests.support.sql import Sql

DEAD_ONE = KeptSteps({"fetch": '{"n":1,"token":"s"}'}, "7")


def keep(
    storage: Storage,
    job: ClaimedJob,
    name: str = "fetch",
    result: str = "1",
    owner: str = OWNER,
) -> bool:
    """Keep a step of a run."""
    return storage.steps.keep(job.run_id, owner, name, result)


def finish_with(
    storage: Storage, text: str, job: ClaimedJob, outcome: Outcome, owner: str = OWNER
) -> bool:
    """End a run with a checkpoint; return whether that was stored."""
    update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)
    update.saved = Checkpoint(job.run_id, text)
    return not storage.jobs.finish(owner, [update])


def beat(storage: Storage, job: ClaimedJob, text: str, owner: str = OWNER) -> None:
    """Save a checkpoint of a run with a heartbeat."""
    storage.jobs.heartbeat(owner, {}, saved=[Checkpoint(job.run_id, text)])


def remaining(sql: Sql) -> list[str]:
    """Return the jobs with steps or checkpoints."""
    return [row[0] for row in sql.run("SELECT DISTINCT job_id FROM forge_step")]


# -- results -----------------------------------------------------------------------


def test_a_result_is_kept_at_once(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    text = json.dumps('a "quoted" text \\ 100 % 🦉')

    assert keep(storage, job, "fetch", text)
    assert keep(storage, job, "ünsäglich", "null")

    kept = KeptSteps({"fetch": text, "ünsäglich": "null"})
    assert storage.steps.kept(job_id) == kept


@pytest.mark.parametrize(
    "outcome", [Failed("no"), Released(), Snooze(0.0), Dead("no"), Done()]
)
def test_results_outlast_the_end_of_a_run(storage: Storage, outcome: Outcome) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    keep(storage, job)

    assert finish(storage, job, outcome, delay_s=0.0)

    assert storage.steps.kept(job_id).results == {"fetch": "1"}


def test_results_outlast_a_rescue(storage: Storage) -> None:
    job_id = enqueue(storage)
    keep(storage, claim_one(storage))

    assert rescue_all(storage) == 1

    assert storage.steps.kept(job_id).results == {"fetch": "1"}


def test_a_result_of_another_worker_is_not_kept(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)

    assert not keep(storage, job, owner=OTHER)

    assert storage.steps.kept(job_id) == KeptSteps()


def test_a_result_of_an_earlier_run_is_not_kept(storage: Storage) -> None:
    """The same worker holds the next run."""
    job_id = enqueue(storage)
    earlier = claim_one(storage)
    finish(storage, earlier, Released())
    later = claim_one(storage)

    assert not keep(storage, earlier, result='"late"')
    assert keep(storage, later, result='"second"')

    assert storage.steps.kept(job_id).results == {"fetch": '"second"'}


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.DONE, JobStatus.DEAD])
def test_a_result_that_comes_after_the_end_is_not_kept(
    storage: Storage, status: JobStatus
) -> None:
    enqueue(storage)
    job = claim_one(storage)
    endings: dict[JobStatus, Outcome] = {
        JobStatus.FAILED: Failed("no"),
        JobStatus.DEAD: Dead("no"),
    }
    finish(storage, job, endings.get(status, Done()))

    assert not keep(storage, job)


def test_a_lost_answer_keeps_one_result(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    steps = StepStore(lossy_executor(storage.database))

    assert steps.keep(job.run_id, OWNER, "fetch", "1")

    assert sql.run("SELECT job_id, name, run, result FROM forge_step") == [
        (job_id, "fetch", 1, "1")
    ]


# -- checkpoints -------------------------------------------------------------------


def test_a_checkpoint_travels_with_the_heartbeat(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)

    beat(storage, job, "1")
    beat(storage, job, "2")

    assert storage.steps.kept(job_id) == KeptSteps({}, "2")


@pytest.mark.parametrize("outcome", [Failed("no"), Released(), Snooze(0.0), Done()])
def test_a_checkpoint_travels_with_the_end_of_the_run(
    storage: Storage, outcome: Outcome
) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    beat(storage, job, "1")

    assert finish_with(storage, "2", job, outcome)

    assert storage.steps.kept(job_id).checkpoint == "2"


def test_a_checkpoint_travels_with_the_end_of_a_cancelled_run(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job_id)

    assert finish_with(storage, "2", job, Failed("stopped"))

    assert storage.steps.kept(job_id).checkpoint == "2"


def test_a_checkpoint_of_another_worker_is_not_stored(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)

    beat(storage, job, "1", owner=OTHER)
    assert not finish_with(storage, "2", job, Done(), owner=OTHER)

    assert storage.steps.kept(job_id) == KeptSteps()


def test_a_checkpoint_of_an_earlier_run_is_not_stored(storage: Storage) -> None:
    job_id = enqueue(storage)
    earlier = claim_one(storage)
    finish(storage, earlier, Released())
    beat(storage, claim_one(storage), "2")

    beat(storage, earlier, "1")
    assert not finish_with(storage, "1", earlier, Done())

    assert storage.steps.kept(job_id).checkpoint == "2"


# -- until the job goes ------------------------------------------------------------


def test_a_retry_keeps_the_steps(storage: Storage) -> None:
    job_id = dead_with_steps(storage)

    assert storage.job_admin.requeue(job_id)

    assert storage.steps.kept(job_id) == DEAD_ONE


def test_a_restart_drops_the_steps(storage: Storage) -> None:
    job_id, other = dead_with_steps(storage), dead_with_steps(storage)

    assert storage.job_admin.change(JobAction.RETRY, [job_id], restart=True).changed

    assert storage.steps.kept(job_id) == KeptSteps()
    assert storage.steps.kept(other) == DEAD_ONE


def test_a_restart_of_a_job_that_is_not_retried_keeps_its_steps(
    storage: Storage,
) -> None:
    enqueue(storage)
    job = claim_one(storage)
    keep(storage, job)

    change = storage.job_admin.change(JobAction.RETRY, [job.id], restart=True)

    assert not change.changed
    assert storage.steps.kept(job.id).results == {"fetch": "1"}


def test_steps_go_with_their_job(storage: Storage, sql: Sql) -> None:
    gone, kept = dead_with_steps(storage), dead_with_steps(storage)

    storage.job_admin.delete(gone)

    assert remaining(sql) == [kept]


def test_steps_go_with_jobs_that_are_deleted_in_bulk(
    storage: Storage, sql: Sql
) -> None:
    """Those of other jobs between them stay."""
    ids = [job_with(storage, JobStatus.DEAD), dead_with_steps(storage)]
    enqueue(storage)
    done = claim_one(storage)
    keep(storage, done)
    finish(storage, done, Done())
    ids.append(dead_with_steps(storage))

    walk(storage, JobAction.DELETE, having(JobStatus.DEAD))

    assert remaining(sql) == [done.id]


def test_steps_go_with_a_job_whose_time_is_over(storage: Storage, sql: Sql) -> None:
    enqueue(storage)
    job = claim_one(storage)
    keep(storage, job)
    finish(storage, job, Done())

    assert storage.retention.delete(job.queue_name, JobStatus.DONE, 0) == 1

    assert remaining(sql) == []


# -- for readers -------------------------------------------------------------------


def test_a_job_is_read_with_its_steps(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    keep(storage, job, "small", '{"a":1}')
    finish(storage, job, Released())
    later = claim_one(storage)
    keep(storage, later, "large", json.dumps("x" * 4096))
    beat(storage, later, json.dumps("y" * 4096))

    *_, steps, _ = storage.job_reader.with_attempts(job_id)

    assert [(each.name, each.run, each.size) for each in steps.steps] == [
        ("small", 1, 7),
        ("large", 2, 4098),
    ]
    assert [each.result for each in steps.steps] == ['{"a":1}', None]
    assert steps.count == 2
    assert steps.checkpoint is not None
    assert steps.checkpoint.result == json.dumps("y" * 4096)


def test_of_very_many_steps_the_newest_are_read(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    keep(storage, job, "a first one")
    sql.run("UPDATE forge_step SET at = 1")
    for number in range(MAX_SHOWN_STEPS):
        keep(storage, job, f"step {number:03}")

    *_, steps, _ = storage.job_reader.with_attempts(job_id)

    assert steps.count == MAX_SHOWN_STEPS + 1
    assert len(steps.steps) == MAX_SHOWN_STEPS
    assert "a first one" not in {each.name for each in steps.steps}


def test_a_job_without_steps_is_read_without(storage: Storage) -> None:
    *_, steps, _ = storage.job_reader.with_attempts(enqueue(storage))

    assert steps == NO_STEPS
