"""Who is told of a job that ended without being done: exactly once, whoever ends it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    FollowUp,
    Outcome,
    Released,
)
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.jobs import follow_ups as follow_up_store
from flask_forge_jobs.storage.ties.settlement import EnqueuedKinds
from tests.support.jobs import (
    OTHER,
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    rescue_all,
    update_for,
)
from tests.support.threads import Heard

DIED = FollowUp("died", "ended", "mail", 0, 5)
STOPPED = FollowUp("stopped", "ended", "mail", 0, 5)
BOTH = {Ending.DEAD: DIED, Ending.CANCELLED: STOPPED}


def told(storage: Storage) -> list[dict[str, Any]]:
    """Return what was told, the oldest first, each with the kind that is told it."""
    rows = storage.job_reader.page(JobFilter(kinds=["died", "stopped"]), 50).rows
    return [
        json.loads(storage.job_reader.get(row.id).payload)["ended"] | {"to": row.kind}
        for row in reversed(rows)
    ]


def ended(
    job: ClaimedJob, outcome: Outcome, *, user_cancelled: bool = False
) -> JobUpdate:
    update = update_for(job, outcome, failure_delay_s=0, user_cancelled=user_cancelled)
    update.follow_ups = BOTH
    return update


def test_who_ends_a_run_tells_of_it_in_the_same_transaction(storage: Storage) -> None:
    job_id = storage.jobs.enqueue(NewJob("noop", {"n": 7}, queue_name=QUEUE)).id
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        storage.jobs.finish(OWNER, [ended(claim_one(storage), Dead("no such user"))])
        assert heard.wait_for("mail")
    finally:
        listener.stop()

    assert told(storage) == [
        {
            "id": job_id, "kind": "noop", "queue_name": QUEUE, "arguments": {"n": 7},
            "attempts": 1, "error": "no such user", "ending": "dead", "to": "died",
        }
    ]  # fmt: skip
    assert [queue.name for queue in storage.queues.all()] == [QUEUE, "mail"]


@pytest.mark.parametrize(
    ("outcome", "endings"),
    [(Done(), []), (Failed("x"), []), (Released(), []), (Dead("x"), ["dead"])],
    ids=["done", "failed", "released", "dead"],
)
def test_nobody_is_told_of_a_job_that_goes_on_or_is_done(
    storage: Storage, outcome: Outcome, endings: list[str]
) -> None:
    enqueue(storage)

    storage.jobs.finish(OWNER, [ended(claim_one(storage), outcome)])

    assert [each["ending"] for each in told(storage)] == endings


@pytest.mark.parametrize("knows", [True, False], ids=["told", "not told yet"])
def test_a_run_that_a_user_cancelled_is_told_as_cancelled(
    storage: Storage, *, knows: bool
) -> None:
    """Also where its worker has not heard of it before it fails."""
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job_id)

    storage.jobs.finish(OWNER, [ended(job, Failed("x"), user_cancelled=knows)])

    assert storage.job_reader.get(job_id).status is JobStatus.DEAD
    assert [(each["ending"], each["to"]) for each in told(storage)] == [
        ("cancelled", "stopped")
    ]


def test_an_outcome_that_is_refused_or_stored_already_tells_nobody(
    storage: Storage,
) -> None:
    enqueue(storage)
    update = ended(claim_one(storage), Dead("x"))

    assert storage.jobs.finish(OTHER, [update]) != []
    assert told(storage) == []
    storage.jobs.finish(OWNER, [update])
    update.was_tried = True
    assert storage.jobs.finish(OWNER, [update]) == []

    assert len(told(storage)) == 1


# -- whoever knows no task -------------------------------------------------------------


@pytest.mark.parametrize("is_bulk", [False, True], ids=["one", "many"])
def test_who_cancels_a_waiting_job_tells_what_was_declared(
    storage: Storage, *, is_bulk: bool
) -> None:
    storage.follow_ups.declare("shop", {"noop": BOTH})
    job_id = enqueue(storage)
    other = storage.jobs.enqueue(NewJob("other", queue_name=QUEUE)).id

    if is_bulk:
        storage.job_admin.change(JobAction.CANCEL, [job_id, other])
        storage.job_admin.change(JobAction.CANCEL, [job_id, other])
    else:
        storage.job_admin.cancel(other)
        storage.job_admin.cancel(job_id, "ordered twice")

    (only,) = told(storage)
    assert (only["id"], only["ending"], only["to"]) == (job_id, "cancelled", "stopped")
    assert only["error"] == "cancelled by user" + ("" if is_bulk else ": ordered twice")


def test_who_gives_a_job_up_tells_what_was_declared(storage: Storage) -> None:
    storage.follow_ups.declare("shop", {"noop": BOTH})
    crashed = enqueue(storage, max_attempts=1)
    stopped = enqueue(storage)
    again = enqueue(storage)
    assert len(storage.jobs.claim(QUEUE, OWNER, 3)) == 3
    storage.job_admin.cancel(stopped)

    assert rescue_all(storage) == 3

    assert {each["id"]: each["to"] for each in told(storage)} == {
        crashed: "died",
        stopped: "stopped",
    }
    assert storage.job_reader.get(again).status is JobStatus.FAILED


def test_a_job_that_is_deleted_tells_nobody(storage: Storage) -> None:
    storage.follow_ups.declare("shop", {"noop": BOTH})

    storage.job_admin.delete(enqueue(storage))

    assert told(storage) == []


def test_what_the_code_no_longer_says_goes(storage: Storage) -> None:
    storage.follow_ups.declare("bank", {"other": BOTH})
    storage.follow_ups.declare("shop", {"noop": BOTH})
    storage.follow_ups.declare("shop", {"noop": {Ending.DEAD: DIED}})

    storage.job_admin.cancel(enqueue(storage))
    storage.job_admin.cancel(storage.jobs.enqueue(NewJob("other")).id)

    assert [each["kind"] for each in told(storage)] == ["other"]


def test_the_jobs_are_counted(storage: Storage) -> None:
    storage.follow_ups.declare("shop", {"noop": BOTH})
    enqueue(storage)
    storage.job_admin.cancel(enqueue(storage))
    storage.recorder.take()

    storage.jobs.finish(OWNER, [ended(claim_one(storage), Dead("x"))])
    storage.job_admin.cancel(enqueue(storage))

    counted = {
        key[1:]: tally.enqueued for key, tally in storage.recorder.take().items()
    }
    assert counted[("mail", "died")] == 1
    assert counted[("mail", "stopped")] == 1


@pytest.mark.parametrize("ending", list(Ending))
def test_what_is_told_of_large_jobs_is_stored_a_few_at_a_time(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    """A batch can have hundreds of MB, more than one transaction may take."""
    monkeypatch.setattr(follow_up_store, "MAX_AT_ONCE", 2500)
    storage.follow_ups.declare("app", {"noop": BOTH})
    large = NewJob("noop", {"text": "x" * 1000}, queue_name=QUEUE, max_attempts=1)
    storage.jobs.enqueue_many([large] * 5 + [NewJob("other", queue_name=QUEUE)] * 20)
    together: list[int] = []
    store = storage.follow_ups.store

    def spy(transaction: Transaction, jobs: Sequence[NewJob]) -> EnqueuedKinds:
        together.append(len(jobs))
        return store(transaction, jobs)

    monkeypatch.setattr(storage.follow_ups, "store", spy)
    if ending is Ending.CANCELLED:
        step = storage.job_admin.step(JobAction.CANCEL, JobFilter(kinds=["noop"]))
        assert step.change.changed == 5
    else:
        storage.jobs.claim(QUEUE, OWNER, 25)
        assert rescue_all(storage) == 25

    assert [number for number in together if number] == [2, 2, 1]
    assert [each["ending"] for each in told(storage)] == [ending.value] * 5
    assert {len(each["arguments"]["text"]) for each in told(storage)} == {1000}
