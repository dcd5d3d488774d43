"""How many kinds requests may invent."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.kinds import KNOWN_KIND_S, KindLimit
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.clocks import MovingClock


@pytest.fixture
def limit(clock: MovingClock) -> KindLimit:
    registry = TaskRegistry()
    registry.add(NoopEcho())
    return KindLimit(2, registry, clock)


def store(storage: Storage, *kinds: str) -> list[str]:
    jobs = storage.jobs.enqueue_many([NewJob(kind) for kind in kinds])
    return [job.id for job in jobs]


def test_one_kind_too_many_is_refused(storage: Storage, limit: KindLimit) -> None:
    store(storage, "a")
    limit.check(storage, ["a", "b"])
    store(storage, "b")

    limit.check(storage, ["b", "a"])
    with pytest.raises(InvalidInputError, match="FORGE_JOBS_MAX_KINDS allows 2") as one:
        limit.check(storage, ["c"])
    with pytest.raises(InvalidInputError) as many:
        limit.check(storage, ["a", "c"])
    assert (one.value.field, many.value.field) == ("kind", "items[1].kind")


def test_a_limited_caller_learns_nothing_of_the_kinds_of_other_queues(
    storage: Storage, limit: KindLimit
) -> None:
    """Nor does it lose its room to them"""
    store(storage, *(f"kind-{number}" for number in range(77)))
    limit.check(storage, ["kind-1"])
    storage.jobs.enqueue(NewJob("mine", queue_name="mine"))

    limit.check(storage, ["kind-1"], {"mine", "empty"})
    storage.jobs.enqueue(NewJob("other", queue_name="mine"))
    refusals = []
    for guess in ("kind-2", "kind-x"):
        with pytest.raises(InvalidInputError) as refused:
            limit.check(storage, [guess], {"mine", "empty"})
        refusals.append(str(refused.value).replace(guess, ""))

    assert refusals[0] == refusals[1]
    assert "7" not in refusals[0]


def test_a_kind_of_a_schedule_counts(storage: Storage, limit: KindLimit) -> None:
    store(storage, "a")
    storage.cron.create(ScheduleDefinition("nightly", "b", "0 6 * * *"))

    limit.check(storage, ["b"])
    with pytest.raises(InvalidInputError):
        limit.check(storage, ["c"])


def test_a_kind_of_a_task_is_never_refused(storage: Storage, limit: KindLimit) -> None:
    store(storage, "a", "b", "c")

    limit.check(storage, [NoopEcho.kind, "a"])


def test_a_kind_without_jobs_is_free_again(
    storage: Storage, limit: KindLimit, clock: MovingClock
) -> None:
    first, _ = store(storage, "a", "b")
    limit.check(storage, ["a", "b"])
    storage.job_admin.delete(first)

    limit.check(storage, ["c"])
    store(storage, "c")
    clock.move(KNOWN_KIND_S)
    with pytest.raises(InvalidInputError):
        limit.check(storage, ["a"])


def test_a_kind_is_looked_up_once_in_a_while(
    storage: Storage, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = KindLimit(2, None, clock)
    asked: list[object] = []

    def named_kinds(queue_names: object = None) -> set[str]:
        asked.append(queue_names)
        return {"a"}

    monkeypatch.setattr(storage.job_reader, "named_kinds", named_kinds)
    for _ in range(3):
        limit.check(storage, ["a"])
    assert len(asked) == 1
    clock.move(KNOWN_KIND_S)
    limit.check(storage, ["a"])
    assert len(asked) == 2


def test_kinds_that_were_admitted_but_not_stored_are_looked_up_again(
    storage: Storage, limit: KindLimit
) -> None:
    """Else a caller gets any number past it, first in requests that are refused."""
    limit.check(storage, ["a", "b"])
    limit.check(storage, ["c", "d"])
    store(storage, "a", "b")

    with pytest.raises(InvalidInputError):
        limit.check(storage, ["c"])
