"""Jobs that wait for others: each way in which a parent ends, and each rule for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError, JobStateError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import JobAction, SkipReason
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import MAX_INSTANT_US, from_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.links import MAX_PARENTS, LinkEnd
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    FollowUp,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import tying
from flask_forge_jobs.storage.jobs.enqueue import NO_FRAME
from tests.support.jobs import (
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    finish,
    rescue_all,
    run,
    update_for,
)
from tests.support.sql import Sql

POLICIES = ("cancel", "run", "hold")


def wait_for(
    storage: Storage, *parents: str, on_dead: str = "cancel", kind: str = "child"
) -> str:
    """Enqueue a job that waits for others."""
    return waiting(storage, *parents, on_dead=on_dead, kind=kind).id


def waiting(
    storage: Storage, *parents: str, on_dead: str = "cancel", kind: str = "child"
) -> EnqueueResult:
    new = NewJob(kind, queue_name="child", after=parents, on_parent_dead=on_dead)
    return storage.jobs.enqueue(new)


def test_many_jobs_of_one_call_wait_as_one_does(storage: Storage) -> None:
    """Their links come in as a copy, but those of few jobs do not."""
    ids = storage.mint(2 * (tying._FEW_LINKS + 1))
    jobs = [
        NewJob("noop", queue_name="child", after=ids[n - 1 : n])
        if n % 2
        else NewJob("noop", queue_name=QUEUE)
        for n in range(len(ids))
    ]
    storage.jobs.enqueuer.enqueue_framed(jobs, ids, None, NO_FRAME)
    (first, second, *_) = storage.jobs.claim(QUEUE, OWNER, 10)

    finish(storage, first, Done('{"page":1}'))
    finish(storage, second, Dead("no"))

    due = [job.id for job in storage.jobs.claim("child", OWNER, 10)]
    (parent,) = storage.links.parents_of(ids[1])
    assert due == ids[1:2]
    assert (parent.id, parent.kind, parent.result) == (ids[0], "noop", '{"page":1}')
    assert storage.job_reader.get(ids[3]).status is JobStatus.DEAD
    assert is_waiting(storage, ids[5])


def is_waiting(storage: Storage, job_id: str) -> bool:
    job = storage.job_reader.get(job_id)
    if not job.is_waiting:
        return False
    assert job.scheduled_at == from_micros(MAX_INSTANT_US)
    return True


def is_due(storage: Storage, job_id: str) -> bool:
    return job_id in [job.id for job in storage.jobs.claim("child", OWNER, 10)]


def kill(storage: Storage, job_id: str) -> None:
    """Let a job die that its queue gives out next."""
    job = claim_one(storage)
    assert job.id == job_id
    finish(storage, job, Dead("no"))


def lose(storage: Storage, job_id: str) -> None:
    """Let a job crash until it is dead."""
    while storage.job_reader.get(job_id).status is not JobStatus.DEAD:
        storage.job_admin.run_now(job_id)
        claim_one(storage)
        rescue_all(storage)


def stop(storage: Storage, job_id: str) -> None:
    """Cancel a job that runs."""
    job = claim_one(storage)
    storage.job_admin.cancel(job_id)
    finish(storage, job, Failed("stopped"))


def drop_queue(storage: Storage, job_id: str) -> None:
    """Delete a job with its queue."""
    del job_id
    storage.queues.delete_with_jobs(QUEUE)


ENDS: dict[str, Callable[[Storage, str], object]] = {
    "dead": kill,
    "rescued": lose,
    "cancelled": lambda storage, job_id: storage.job_admin.cancel(job_id),
    "stopped": stop,
    "cancelled in bulk": lambda storage, _: storage.job_admin.step(
        JobAction.CANCEL, JobFilter(kinds=["noop"])
    ),
    "deleted": lambda storage, job_id: storage.job_admin.delete(job_id),
    "deleted in bulk": lambda storage, _: storage.job_admin.step(
        JobAction.DELETE, JobFilter(kinds=["noop"])
    ),
    "deleted with its queue": drop_queue,
}


def test_a_job_waits_until_all_its_parents_are_done(storage: Storage) -> None:
    parents = [enqueue(storage), enqueue(storage)]

    result = waiting(storage, *parents)

    assert result.status is JobStatus.PENDING
    assert result.scheduled_at_us == MAX_INSTANT_US
    assert is_waiting(storage, result.id)
    run(storage, Done('{"n":1}'))
    assert is_waiting(storage, result.id)
    run(storage, Done())
    child = storage.job_reader.get(result.id)
    assert (child.is_waiting, child.start_at) == (False, None)
    assert child.scheduled_at >= storage.job_reader.get(parents[1]).enqueued_at
    assert is_due(storage, result.id)
    first, second = storage.links.parents_of(result.id)
    assert (first.id, first.kind, first.ended) == (parents[0], "noop", LinkEnd.DONE)
    assert (first.result, second.result, second.error) == ('{"n":1}', None, None)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("policy", POLICIES)
def test_a_parent_that_ends_without_being_done(
    storage: Storage, policy: str, end: Callable[[Storage, str], object]
) -> None:
    """RQ #2006: nor is one forgotten whose parent was abandoned by its worker."""
    parent = enqueue(storage)
    child = wait_for(storage, parent, on_dead=policy)
    grandchild = wait_for(storage, child)

    end(storage, parent)

    job = storage.job_reader.get(child)
    if policy == "hold":
        assert is_waiting(storage, child)
        assert is_waiting(storage, grandchild)
    elif policy == "run":
        assert not job.is_waiting
        assert is_waiting(storage, grandchild)
        assert is_due(storage, child)
    else:
        assert (job.status, job.attempts) == (JobStatus.DEAD, 0)
        (link,) = storage.links.parents_of(child)
        fate = "was deleted" if link.ended is LinkEnd.DELETED else "is dead"
        # Not the id: a reader of the child may not know other queues.
        assert job.last_error == f"a parent {fate}"
        assert job.ending is Ending.DEAD
        last = storage.job_reader.get(grandchild)
        assert last.status is JobStatus.DEAD
        assert last.last_error == f"parent {child} is dead"


@pytest.mark.parametrize(
    "outcome",
    [Failed("no"), Throttled(60, scope="job"), Snooze(60), Released()],
    ids=lambda outcome: type(outcome).__name__,
)
def test_an_end_of_a_run_that_is_no_end_of_the_job_changes_nothing(
    storage: Storage, outcome: Outcome
) -> None:
    child = wait_for(storage, enqueue(storage))

    run(storage, outcome)

    assert is_waiting(storage, child)
    rescue_all(storage)
    assert is_waiting(storage, child)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("outcome", [Done("7"), Dead("no")], ids=["done", "dead"])
def test_a_parent_that_ended_before_counts_at_once(
    storage: Storage, outcome: Outcome, policy: str
) -> None:
    parent = run_one(storage, outcome)

    result = waiting(storage, parent, on_dead=policy)

    is_done = isinstance(outcome, Done)
    if is_done or policy == "run":
        assert (result.status, result.scheduled_at_us < MAX_INSTANT_US) == (
            JobStatus.PENDING, True,
        )  # fmt: skip
        assert is_due(storage, result.id)
    elif policy == "hold":
        assert result.scheduled_at_us == MAX_INSTANT_US
        assert is_waiting(storage, result.id)
    else:
        assert result.status is JobStatus.DEAD
        assert storage.job_reader.get(result.id).status is JobStatus.DEAD
    (link,) = storage.links.parents_of(result.id)
    assert link.result == ("7" if is_done else None)
    assert link.error == (None if is_done or policy == "hold" else "no")


def run_one(storage: Storage, outcome: Outcome) -> str:
    enqueue(storage)
    return run(storage, outcome).id


def test_a_held_job_goes_on_once_its_parent_was_retried(storage: Storage) -> None:
    parent = enqueue(storage)
    child = wait_for(storage, parent, on_dead="hold")
    kill(storage, parent)

    assert storage.job_admin.requeue(parent)
    assert is_waiting(storage, child)
    run(storage, Done("1"))

    assert is_due(storage, child)
    assert storage.links.parents_of(child)[0].result == "1"


@pytest.mark.parametrize("policy", ["cancel", "hold"])
def test_a_parent_that_was_dead_before_counts_again_after_a_retry(
    storage: Storage, policy: str
) -> None:
    parent = run_one(storage, Dead("no"))
    child = wait_for(storage, parent, on_dead=policy)

    assert storage.job_admin.requeue(parent, dependents=True)
    assert is_waiting(storage, child)
    run(storage, Done("1"))

    assert is_due(storage, child)
    assert storage.links.parents_of(child)[0].result == "1"


def test_a_retry_takes_dependents_along_when_asked(storage: Storage) -> None:
    parent = enqueue(storage)
    child = wait_for(storage, parent)
    grandchild = wait_for(storage, child)
    cancelled = wait_for(storage, parent)
    storage.job_admin.cancel(cancelled)
    kill(storage, parent)

    assert storage.job_admin.requeue(parent)
    assert storage.job_reader.get(child).status is JobStatus.DEAD
    kill(storage, parent)
    assert storage.job_admin.requeue(parent, dependents=True)

    assert is_waiting(storage, child)
    assert is_waiting(storage, grandchild)
    assert storage.job_reader.get(cancelled).status is JobStatus.DEAD
    run(storage, Done())
    assert is_due(storage, child)
    assert is_waiting(storage, grandchild)


def test_a_dead_job_that_never_ran_runs_alone_when_it_is_retried(
    storage: Storage,
) -> None:
    parent = enqueue(storage)
    child = wait_for(storage, parent)
    kill(storage, parent)

    assert storage.job_admin.requeue(child)

    assert is_due(storage, child)


def test_a_released_job_waits_no_more(storage: Storage) -> None:
    parent = enqueue(storage)
    child = wait_for(storage, parent, on_dead="hold")

    storage.links.release(child)

    assert is_due(storage, child)
    assert storage.links.parents_of(child)[0].ended is LinkEnd.RELEASED
    kill(storage, parent)
    assert storage.job_reader.get(child).status is JobStatus.IN_PROGRESS
    with pytest.raises(JobStateError):
        storage.links.release(child)
    with pytest.raises(JobNotFoundError):
        storage.links.release("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_nothing_but_a_release_makes_a_waiting_job_due(
    storage: Storage, sql: Sql
) -> None:
    child = wait_for(storage, enqueue(storage))

    assert not storage.job_admin.run_now(child)
    change = storage.job_admin.change(JobAction.RUN_NOW, [child])
    assert [skip.reason for skip in change.skipped] == [SkipReason.WAITING]
    now = from_micros(sql.now_us())
    step = storage.job_admin.step(
        JobAction.RESCHEDULE, JobFilter(kinds=["child"]), run_at=now
    )
    assert [skip.reason for skip in step.change.skipped] == [SkipReason.WAITING]
    assert storage.job_admin.step(
        JobAction.RUN_NOW, JobFilter(kinds=["child"])
    ).change.skipped
    assert storage.jobs.claim_one(child, OWNER) is None
    assert storage.jobs.claim("child", OWNER) == []
    assert is_waiting(storage, child)


def test_a_reschedule_changes_the_start_of_a_waiting_job(
    storage: Storage, sql: Sql
) -> None:
    child = wait_for(storage, enqueue(storage))
    later = from_micros(sql.now_us()) + timedelta(hours=1)

    storage.job_admin.reschedule(child, run_at=later, priority=-3)

    job = storage.job_reader.get(child)
    assert (job.start_at, job.priority) == (later, -3)
    assert is_waiting(storage, child)
    run(storage, Done())
    assert storage.job_reader.get(child).scheduled_at == later
    assert not is_due(storage, child)
    sql.age(3700)
    assert is_due(storage, child)


def test_a_job_starts_no_sooner_than_its_own_time(storage: Storage, sql: Sql) -> None:
    parent = enqueue(storage)
    child = storage.jobs.enqueue(
        NewJob("child", queue_name="child", delay=3600, after=[parent])
    ).id

    run(storage, Done())

    assert not is_due(storage, child)
    due = storage.job_reader.get(child).scheduled_at
    assert abs(due - from_micros(sql.now_us())) > timedelta(minutes=59)
    sql.age(3700)
    assert is_due(storage, child)


def test_an_end_with_a_parent_is_followed_up(storage: Storage) -> None:
    told = FollowUp("told", "ended", "mail", 0, 5)
    storage.follow_ups.declare("app", {"child": {Ending.DEAD: told}})
    parent = enqueue(storage)
    child = wait_for(storage, parent)

    storage.job_admin.cancel(parent)

    (job,) = storage.jobs.claim("mail", OWNER, 5)
    assert child in job.payload


def test_a_deleted_parent_is_remembered_by_its_child(storage: Storage) -> None:
    """Oban #722: a parent that the retention has deleted keeps nobody waiting."""
    done, pending = run_one(storage, Done("7")), enqueue(storage)
    child = wait_for(storage, done, pending)

    assert storage.retention.delete(QUEUE, JobStatus.DONE, 0) == 1
    run(storage, Done())

    assert is_due(storage, child)
    first, second = storage.links.parents_of(child)
    assert (first.result, first.kind, first.queue_name) == ("7", "noop", None)
    assert second.queue_name == QUEUE


def test_the_links_of_a_deleted_job_go_with_it(storage: Storage, sql: Sql) -> None:
    parent = enqueue(storage)
    storage.job_admin.delete(wait_for(storage, parent))
    ended = wait_for(storage, parent, on_dead="run")
    run(storage, Done())
    finish(storage, claim_one(storage, queue_name="child"), Done())
    assert sql.value("SELECT COUNT(*) FROM forge_link") == 1

    storage.retention.delete("child", JobStatus.DONE, 0)

    assert sql.value("SELECT COUNT(*) FROM forge_link") == 0
    assert storage.links.of_job(ended).parents == ()


def test_both_ends_of_a_link_are_shown(storage: Storage) -> None:
    parent = enqueue(storage)
    child = wait_for(storage, parent, on_dead="hold")

    (dependent,) = storage.links.of_job(parent).dependents
    (shown,) = storage.links.of_job(child).parents

    assert (dependent.id, dependent.kind, dependent.queue_name) == (
        child, "child", "child",
    )  # fmt: skip
    assert (dependent.is_waiting, dependent.ended) == (True, None)
    assert dependent.on_parent_dead == shown.on_parent_dead == "hold"
    assert (shown.id, shown.ended, shown.status) == (parent, None, JobStatus.PENDING)


def test_jobs_of_one_call_may_wait_for_one_another(storage: Storage) -> None:
    ids = UlidGenerator().new_many(3)
    jobs = [NewJob("a"), NewJob("b", after=[ids[0]]), NewJob("c", after=ids[:2])]

    created = storage.batches.create(NewBatch("report"), jobs, ids=ids)

    assert [each.id for each in created.results] == ids
    assert [run(storage, Done()).kind for _ in range(3)] == ["a", "b", "c"]


def test_a_duplicate_is_not_linked(storage: Storage, sql: Sql) -> None:
    parent = enqueue(storage)
    first = storage.jobs.enqueue(NewJob("child", dedupe_key="k"))

    second = storage.jobs.enqueue(NewJob("child", dedupe_key="k", after=[parent]))

    assert second.is_deduped
    assert second.id == first.id
    assert sql.value("SELECT COUNT(*) FROM forge_link") == 0
    assert not storage.job_reader.get(first.id).is_waiting


def test_a_job_with_a_key_waits_like_any_other(storage: Storage, sql: Sql) -> None:
    parent = enqueue(storage)
    new = NewJob("child", queue_name="child", dedupe_key="k", after=[parent])
    child = storage.jobs.enqueue(new).id
    later = from_micros(sql.now_us()) + timedelta(hours=1)

    replaced = storage.jobs.enqueue(
        NewJob(
            "child", queue_name="child", dedupe_key="k", run_at=later,
            replace=["run_at"],
        )
    )  # fmt: skip

    assert replaced.is_replaced
    assert is_waiting(storage, child)
    assert storage.job_reader.get(child).start_at == later
    run(storage, Done())
    assert not is_due(storage, child)
    sql.age(3601)
    assert is_due(storage, child)


def test_a_repeated_enqueue_stores_no_second_link(storage: Storage) -> None:
    parent = enqueue(storage)
    (job_id,) = storage.mint(1)  # behind that of the parent, also in one millisecond
    new = NewJob("child", queue_name="child", after=[parent], job_id=job_id)

    storage.jobs.enqueue(new)
    run(storage, Done())
    again = storage.jobs.enqueue(new)

    assert again.id == job_id
    assert is_due(storage, job_id)


def test_a_repeated_parent_that_has_ended_keeps_nobody_waiting(
    storage: Storage,
) -> None:
    """A parent under an id of the caller, stored and done before its child comes."""
    parent = NewJob("noop", job_id=UlidGenerator().new())
    storage.jobs.enqueue(parent)
    run(storage, Done("7"))
    child = NewJob("child", queue_name="child", after=[str(parent.job_id)])

    _, result = storage.jobs.enqueue_many([parent, child])

    assert is_due(storage, result.id)
    assert storage.links.parents_of(result.id)[0].result == "7"


def test_what_cannot_be_waited_for(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobNotFoundError):
        wait_for(storage, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with pytest.raises(JobNotFoundError):
        wait_for(storage, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
    parent = enqueue(storage)
    with pytest.raises(InvalidInputError, match="is not the id of a job"):
        wait_for(storage, "x")
    with pytest.raises(InvalidInputError, match="exceed 100"):
        NewJob("child", after=["0" * 26] * (MAX_PARENTS + 1))
    with pytest.raises(InvalidInputError, match="sort behind"):
        NewJob("child", after=[parent], job_id=parent)
    with pytest.raises(InvalidInputError, match="cancel, run, hold"):
        NewJob("child", after=[parent], on_parent_dead="ignore")
    monkeypatch.setattr(tying, "MAX_WAITING", 1)
    wait_for(storage, parent)
    with pytest.raises(InvalidInputError, match="2 jobs would wait"):
        wait_for(storage, parent)


def test_an_id_of_a_clock_ahead_is_passed(storage: Storage) -> None:
    ahead = UlidGenerator(random_bits=lambda _: 0).new()
    ahead = "3" + ahead[1:]
    storage.jobs.enqueue(NewJob("noop", job_id=ahead))

    child = wait_for(storage, ahead)

    assert child > ahead
    run(storage, Done())
    assert is_due(storage, child)


def test_many_ends_in_one_write(storage: Storage) -> None:
    parents = [enqueue(storage) for _ in range(5)]
    children = [wait_for(storage, *parents[: n + 1]) for n in range(5)]
    claimed = storage.jobs.claim(QUEUE, OWNER, 5)

    outcomes: Sequence[Outcome] = [Done(), Done(), Done(), Dead("no"), Done()]
    storage.jobs.finish(
        OWNER,
        [
            update_for(job, outcome, failure_delay_s=0, user_cancelled=False)
            for job, outcome in zip(claimed, outcomes, strict=True)
        ],
    )

    states = [storage.job_reader.get(child).status for child in children]
    assert states == [JobStatus.PENDING] * 3 + [JobStatus.DEAD] * 2
