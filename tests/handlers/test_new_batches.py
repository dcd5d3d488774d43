from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.errors import (
    BatchEndedError,
    BatchNotFoundError,
    InvalidInputError,
    JobNotFoundError,
    QueueFullError,
    QueueNotFoundError,
    RequestKeyReusedError,
)
from flask_forge_jobs.handlers import new_batches
from flask_forge_jobs.handlers.job_actions import Admission, new_jobs
from flask_forge_jobs.handlers.kinds import KindLimit
from flask_forge_jobs.model.batches import BatchEvent, CreatedBatch, NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.routing import DefaultRouter
from tests.support.sql import Sql

ROUTER = DefaultRouter()


def create(storage: Storage, *requests: dict[str, Any], **options: Any) -> CreatedBatch:
    """Create a batch of jobs as a request describes them."""
    placed, ids = new_batches.placed(storage, requests)
    jobs = new_jobs(placed, router=ROUTER, field="jobs", least=0)
    new = new_batches.new_batch(name="report", follow_ups={})
    return new_batches.create(storage, new, jobs, ids=ids, **options)


def part(**options: Any) -> dict[str, Any]:
    return {"kind": "part", "payload": {}, **options}


def key(operation: str = "create 7") -> RequestKey:
    return RequestKey("caller", "k", operation)


def test_jobs_wait_for_earlier_ones_of_their_request(storage: Storage) -> None:
    before = storage.jobs.enqueue(NewJob("first")).id

    made = create(storage, part(), part(), part(after=[0, before, 1]))

    ids = [each.id for each in made.results]
    parents = storage.links.parents_of(ids[2])
    assert [each.id for each in parents] == [before, *ids[:2]]


@pytest.mark.parametrize(
    ("after", "message"),
    [([1], "1 is not the place"), ([-1], "-1 is not"), (["x"], "not the id of a")],
)
def test_a_job_waits_for_no_later_one(
    storage: Storage, after: list[object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        create(storage, part(), part(after=after))

    assert caught.value.field == "jobs[1].after"


def test_a_repeated_request_makes_one_batch(storage: Storage, sql: Sql) -> None:
    first = create(storage, part(), part(after=[0]), key=key())
    again = create(storage, part(), part(after=[0]), key=key())

    assert first.id == again.id
    assert [each.id for each in first.results] == [each.id for each in again.results]
    assert [each.is_replayed for each in again.results] == [True, True]
    assert sql.value("SELECT COUNT(*) FROM forge_batch") == 1
    with pytest.raises(RequestKeyReusedError):
        create(storage, part(), key=key("create 8"))


def test_a_repeated_request_makes_one_empty_batch(storage: Storage) -> None:
    ids = {create(storage, key=key()).id for _ in range(2)}

    assert len(ids) == 1
    assert storage.batches.get(ids.pop()).total == 0


def test_a_repeated_request_adds_jobs_once(storage: Storage) -> None:
    batch_id = create(storage, is_sealed=False).id
    for _ in range(2):
        report = new_batches.add_jobs(
            storage, batch_id, [NewJob("part")], key=key("add")
        )
    storage.batches.cancel(batch_id)
    replayed = new_batches.add_jobs(storage, batch_id, [NewJob("part")], key=key("add"))

    assert (report.is_replayed, report.enqueued) == (True, 1)
    assert replayed.results == report.results
    assert storage.batches.get(batch_id).total == 1
    with pytest.raises(BatchEndedError):
        new_batches.add_jobs(storage, batch_id, [NewJob("part")])


def test_limits_hold_for_the_jobs_of_a_batch(storage: Storage) -> None:
    at_end = NewBatch(
        "report", follow_ups={BatchEvent.SUCCESS: FollowUp("send", "ended", "x", 0, 5)}
    )
    kinds = KindLimit(1)

    with pytest.raises(QueueNotFoundError):
        create(storage, part(), admission=Admission(strict_queues=True))
    with pytest.raises(QueueNotFoundError):
        new_batches.create(storage, at_end, (), Admission(strict_queues=True))
    with pytest.raises(QueueFullError):
        create(storage, part(), part(), admission=Admission(max_queue_depth=1))
    for new, jobs, field in (
        (NewBatch("report"), [NewJob("part"), NewJob("other")], "jobs[0].kind"),
        (at_end, [NewJob("part")], "jobs[0].kind"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            new_batches.create(storage, new, jobs, Admission(kinds=kinds))
        assert caught.value.field == field


def test_what_a_limited_caller_does_not_know_takes_no_jobs(storage: Storage) -> None:
    batch_id = create(storage, part(queue_name="bank")).id
    limited = Admission(queues=frozenset({"mail"}))
    mail = NewJob("part", queue_name="mail")

    with pytest.raises(BatchNotFoundError):
        new_batches.add_jobs(storage, batch_id, [mail], limited)
    inner = NewBatch("inner", within=batch_id)
    with pytest.raises(BatchNotFoundError):
        new_batches.create(storage, inner, [mail], limited)
    with pytest.raises(JobNotFoundError):
        create(storage, part(after=["7ZZZZZZZZZZZZZZZZZZZZZZZZZ"]))


# -- jobs at events --------------------------------------------------------------------


def test_the_job_at_an_event_has_defaults() -> None:
    made = new_batches.follow_up("on_dead", kind="warn", router=ROUTER)
    changed = new_batches.follow_up(
        "on_dead", kind="warn", router=ROUTER, queue_name="mail", parameter="batch",
        priority=3, max_attempts=1,
    )  # fmt: skip

    assert made == FollowUp("warn", "ended", "default", 0, 5)
    assert changed == FollowUp("warn", "batch", "mail", 3, 1)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kind": ""}, "on_dead.kind"),
        ({"queue_name": "a,b"}, "on_dead.queue_name"),
        ({"parameter": ""}, "on_dead.parameter"),
        ({"priority": 2**31}, "on_dead.priority"),
        ({"max_attempts": 0}, "on_dead.max_attempts"),
    ],
)
def test_the_job_at_an_event_is_checked(given: dict[str, Any], field: str) -> None:
    asked: dict[str, Any] = {"kind": "warn", "router": ROUTER, **given}
    with pytest.raises(InvalidInputError) as caught:
        new_batches.follow_up("on_dead", **asked)

    assert caught.value.field == field
