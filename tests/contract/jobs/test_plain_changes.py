"""Changes of plain jobs in one statement do what several statements do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import pytest

from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.model.bulk import BulkChange, JobAction, Skip, SkipReason
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.request_batches import RequestBatches
from flask_forge_jobs.storage.units import Unit
from tests.support.jobs import QUEUE, enqueue, job_with
from tests.support.lossy import LossyDatabase, repeated
from tests.support.sql import Sql

T = TypeVar("T")
AN_ENTRY = '{"at":"2026-01-01T00:00:00Z","attempt":1,"message":"\\u00e9"}'
WITH_TRACEBACK = AN_ENTRY[:-1] + ',"traceback":"in f"}'


class Repeating(LossyDatabase):
    """Takes a call as the repetition of one that has stored nothing."""

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run the unit once, as a repetition."""
        return self._inner.write(repeated(work), urgent=urgent)

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run the unit once, as a repetition."""
        return self._inner.pipeline(repeated(work))


def status_of(storage: Storage, job_id: str) -> JobStatus:
    """Return the state of a job."""
    return storage.job_reader.get(job_id).status


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        (None, "[]"),
        (f"[{AN_ENTRY}]", f"[{AN_ENTRY}]"),
        (f"[{WITH_TRACEBACK}]", f"[{AN_ENTRY}]"),
        (f"[7,{AN_ENTRY}]", f"[7,{AN_ENTRY}]"),
        (f"[{','.join(map(str, range(40)))}]", str([*range(9, 40)])),
        ("[{", "[]"),
        ("{}", "[]"),
    ],
)
def test_a_cancelled_job_keeps_its_errors(
    storage: Storage, sql: Sql, history: str | None, kept: str
) -> None:
    job_id = job_with(storage, JobStatus.FAILED)
    sql.run("UPDATE forge_job SET error_history = ?", history)

    storage.job_admin.cancel(job_id, 'so "it" is')

    ((text, attempts),) = sql.run("SELECT error_history, attempts FROM forge_job")
    *before, last = json.loads(text)
    assert before == json.loads(kept)
    assert last["message"] == 'cancelled by user: so "it" is'
    assert last["attempt"] == attempts == 1
    assert last["at"].endswith("Z")


def test_of_several_jobs_one_that_does_not_fit_keeps_none_from_its_change(
    storage: Storage,
) -> None:
    done, dead = (job_with(storage, each) for each in (JobStatus.DONE, JobStatus.DEAD))

    change = storage.job_admin.change(JobAction.RETRY, [done, dead, "no-such-job"])

    assert change == BulkChange(
        changed=1,
        skipped=[
            Skip(done, SkipReason.WRONG_STATUS),
            Skip("no-such-job", SkipReason.NOT_FOUND),
        ],
    )
    assert status_of(storage, dead) is JobStatus.PENDING


def test_what_something_comes_of_is_left_to_others(storage: Storage) -> None:
    """Of jobs with dependents, and of kinds with a follow-up"""
    storage.follow_ups.declare(
        "app", {"send": {Ending.CANCELLED: FollowUp("tell", "job", QUEUE, 0, 1)}}
    )
    followed = enqueue(storage, "send")
    parents = [enqueue(storage) for _ in range(2)]
    children = [
        storage.jobs.enqueue(NewJob("child", queue_name="other", after=[each])).id
        for each in parents
    ]
    admin = storage.job_admin

    admin.cancel(followed)
    admin.cancel(parents[0])
    admin.delete(parents[1])
    assert [status_of(storage, each) for each in children] == [JobStatus.DEAD] * 2
    assert storage.jobs.claim(QUEUE, "w", 9)[0].kind == "tell"
    admin.requeue(parents[0], dependents=True)

    assert status_of(storage, children[0]) is JobStatus.PENDING


@pytest.mark.parametrize(
    ("state", "status"), [(JobStatus.PENDING, 200), (JobStatus.IN_PROGRESS, 202)]
)
def test_the_entry_tells_whether_a_job_was_only_asked(
    storage: Storage, state: JobStatus, status: int
) -> None:
    def record(changed: int) -> AuditRecord:
        return AuditRecord("ada", "job_cancel", None, "", "r", 200, changed, "{}")

    unit = Unit(storage.database, lambda _: record(1))
    job_id = job_with(storage, state)

    unit.run(lambda: storage.within(unit).job_admin.cancel(job_id))

    entries = storage.audit.page(AuditFilter(), 9)
    takes_it_along = storage.backend == "postgres"
    assert unit.is_noted == takes_it_along
    assert [e.record.status for e in entries] == [status] * takes_it_along


def record(changed: int) -> AuditRecord:
    """Return the entry of a batch of a request."""
    return AuditRecord("ada", "jobs_act", None, "", "r", 200, changed, "{}")


def test_a_batch_in_one_statement_leaves_its_entry(storage: Storage) -> None:
    ids = [enqueue(storage), job_with(storage, JobStatus.IN_PROGRESS, queue_name="b")]
    batches = RequestBatches(storage.database, record)

    change = storage.within(batches).job_admin.change(JobAction.CANCEL, ids)

    assert (change.changed, change.stop_requested) == (2, 1)
    (entry,) = storage.audit.page(AuditFilter(), 9)
    assert entry.record == record(2)


def test_batches_of_one_size_leave_an_entry_each_though_tried_twice(
    storage: Storage,
) -> None:
    """Their entries are equal, and the first tries of the second have failed."""
    repeating = Repeating(storage.database)
    batches = RequestBatches(repeating, record)
    admin = storage.within(batches).job_admin

    for _ in range(2):
        ids = [enqueue(storage) for _ in range(2)]
        assert admin.change(JobAction.DELETE, ids).changed == 2

    entries = storage.audit.page(AuditFilter(), 9)
    assert [each.record.changed for each in entries] == [2, 2]


@pytest.mark.parametrize(
    ("action", "state", "asked"),
    [
        (JobAction.DELETE, JobStatus.PENDING, 0),
        (JobAction.CANCEL, JobStatus.PENDING, 0),
        (JobAction.CANCEL, JobStatus.IN_PROGRESS, 1),
        (JobAction.RETRY, JobStatus.DEAD, 0),
    ],
)
def test_a_change_whose_answer_is_lost_is_no_conflict_with_itself(
    storage: Storage, action: JobAction, state: JobStatus, asked: int
) -> None:
    job_id = job_with(storage, state)
    unit = Unit(LossyDatabase(storage.database), lambda _: record(1))

    change = unit.run(lambda: storage.within(unit).job_admin.change(action, [job_id]))

    assert (change.changed, change.stop_requested) == (1, asked)
    assert unit.is_noted == (storage.backend == "postgres")
    entries = storage.audit.page(AuditFilter(), 9)
    assert len(entries) == unit.is_noted


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_batch_whose_answer_is_lost_has_asked_no_job_to_stop(
    storage: Storage,
) -> None:
    """Its entry has the same status whether or not it asked."""
    ids = [enqueue(storage) for _ in range(2)]
    batches = RequestBatches(LossyDatabase(storage.database), record)

    change = storage.within(batches).job_admin.change(JobAction.DELETE, ids)

    assert (change.changed, change.stop_requested) == (2, 0)
    assert len(storage.audit.page(AuditFilter(), 9)) == 1


def test_a_change_by_another_request_is_a_conflict_of_a_repetition(
    storage: Storage,
) -> None:
    job_id = job_with(storage, JobStatus.DEAD)
    storage.job_admin.requeue(job_id)
    unit = Unit(Repeating(storage.database), lambda _: record(1))

    change = unit.run(
        lambda: storage.within(unit).job_admin.change(JobAction.RETRY, [job_id])
    )

    assert change == BulkChange(skipped=[Skip(job_id, SkipReason.WRONG_STATUS)])
