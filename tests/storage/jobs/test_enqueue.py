"""A producer whose key changes hands while it enqueues."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar, cast

import pytest

from flask_forge_jobs.errors import DuplicateJobError, QueueFullError, StorageBusyError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.database import Database, Parameter, Row
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.enqueue import Enqueuer
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.keyed import ROUNDS
from flask_forge_jobs.storage.jobs.known_queues import KNOWN_QUEUE_S, KnownQueues
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.ties.settlement import Settlement
from tests.support.clocks import MovingClock

T = TypeVar("T")
KEYED = NewJob("noop", dedupe_key="once")
HELD: list[Row] = [("holder", "mail", "noop", "in_progress", 7)]


class ScriptedDatabase:
    """Answers from a list, statement by statement."""

    backend = "scripted"
    attempt = 0

    def __init__(self) -> None:
        self.answers: dict[str, list[list[Row]]] = {}
        self.bounds: dict[str, int] = {}
        self.asked: list[str] = []
        self.woken: list[str] = []

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        self.asked.append(name)
        waiting = self.answers.get(name)
        if name == "queue_bounds":
            return [("default", self.bounds.get("default"))]
        return waiting.pop(0) if waiting else [(parameters.get("id"),)]

    def wake(self, queue_name: str) -> None:
        self.woken.append(queue_name)

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        return self.execute(name, **parameters)

    def write(
        self, work: Callable[[ScriptedDatabase], T], *, urgent: bool = False
    ) -> T:
        del urgent
        return work(self)


@pytest.fixture
def database() -> ScriptedDatabase:
    return ScriptedDatabase()


@pytest.fixture
def enqueuer(database: ScriptedDatabase, clock: MovingClock) -> Enqueuer:
    executor = StoreExecutor(cast("Database", database))  # as much of it as is used
    ids = UlidGenerator(clock)
    recorder = Recorder(clock)
    settlement = Settlement(executor, clock, FollowUpStore(executor, ids), recorder)
    queues = KnownQueues(clock)
    return Enqueuer(executor, ids, queues, settlement=settlement, recorder=recorder)


def test_a_key_that_is_given_back_meanwhile_is_tried_again(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    """The holder finishes between the insert and the look-up"""
    database.answers = {"enqueue": [[], []], "find_enqueued": [[], []]}

    result = enqueuer.enqueue(KEYED)

    assert not result.is_deduped
    assert database.asked[2:] == ["enqueue", "find_enqueued"] * 2 + ["enqueue"]
    assert database.woken == ["default"]


def test_a_key_that_never_rests_is_busy_in_the_end(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    database.answers = {"enqueue": [[]] * 9, "find_enqueued": [[]] * 9}

    with pytest.raises(
        StorageBusyError, match="'once' was taken and released repeatedly; retry"
    ):
        enqueuer.enqueue(KEYED)

    assert database.asked.count("enqueue") == ROUNDS


def test_a_held_key_is_described(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    database.answers = {"enqueue": [[]], "find_enqueued": [HELD]}

    result = enqueuer.enqueue(KEYED)

    assert (result.id, result.is_deduped) == ("holder", True)
    assert (result.queue_name, result.status) == ("mail", JobStatus.IN_PROGRESS)
    assert result.scheduled_at_us == 7
    assert database.woken == []


def test_a_key_of_another_kind_is_refused(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    database.answers = {
        "enqueue": [[]],
        "find_enqueued": [[("holder", "mail", "other", "pending", 7)]],
    }

    with pytest.raises(DuplicateJobError):
        enqueuer.enqueue(KEYED)


WINDOWED = NewJob("noop", dedupe_key="once", dedupe_for=timedelta(hours=1))
REPLACING = NewJob("noop", dedupe_key="once", replace=("payload",))


def test_a_job_that_came_and_ended_meanwhile_counts_in_the_window(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    """We find it while our own job holds the key; our job is then deleted."""
    done: list[Row] = [("earlier", "mail", "noop", "done", 7)]
    database.answers = {"find_recent": [[], done]}

    result = enqueuer.enqueue(WINDOWED)

    assert (result.id, result.is_deduped, result.status) == (
        "earlier", True, JobStatus.DONE,
    )  # fmt: skip
    assert database.asked[2:] == [
        "find_recent",
        "enqueue",
        "find_recent",
        "delete_jobs",
    ]
    assert database.woken == []


def test_a_window_is_looked_at_again_when_its_holder_ends(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    done: list[Row] = [("earlier", "mail", "noop", "done", 7)]
    database.answers = {
        "find_recent": [[], done], "enqueue": [[]], "find_enqueued": [[]],
    }  # fmt: skip

    assert enqueuer.enqueue(WINDOWED).id == "earlier"


def test_a_holder_that_becomes_pending_meanwhile_is_replaced(
    database: ScriptedDatabase, enqueuer: Enqueuer
) -> None:
    pending: list[Row] = [("holder", "mail", "noop", "pending", 7)]
    database.answers = {
        "replace_pending": [[], pending], "enqueue": [[]], "find_enqueued": [pending],
    }  # fmt: skip

    result = enqueuer.enqueue(REPLACING)

    assert (result.id, result.is_deduped, result.is_replaced) == ("holder", True, True)
    assert database.woken == ["mail"]


def test_a_known_queue_costs_one_statement(
    database: ScriptedDatabase, enqueuer: Enqueuer, clock: MovingClock
) -> None:
    enqueuer.enqueue(NewJob("noop"))
    assert database.asked == ["ensure_queue", "queue_bounds", "enqueue"]
    database.asked.clear()

    enqueuer.enqueue(NewJob("noop"))
    assert database.asked == ["enqueue_now"]
    clock.move(KNOWN_QUEUE_S + 1)
    enqueuer.enqueue(NewJob("noop"))

    assert database.asked == ["enqueue_now", "ensure_queue", "queue_bounds", "enqueue"]


def test_a_bound_that_was_set_meanwhile_is_seen_within_seconds(
    database: ScriptedDatabase, enqueuer: Enqueuer, clock: MovingClock
) -> None:
    database.answers = {"waiting_of_queue": [[(5,)]]}
    enqueuer.enqueue(NewJob("noop"))
    database.bounds["default"] = 5
    enqueuer.enqueue(NewJob("noop"))
    clock.move(KNOWN_QUEUE_S + 1)

    with pytest.raises(QueueFullError):
        enqueuer.enqueue(NewJob("noop"))

    assert KNOWN_QUEUE_S <= 10


def test_a_bound_that_was_taken_away_is_forgotten_within_seconds(
    database: ScriptedDatabase, enqueuer: Enqueuer, clock: MovingClock
) -> None:
    database.answers = {"waiting_of_queue": [[(4,)], [(5,)]]}
    database.bounds["default"] = 5
    enqueuer.enqueue(NewJob("noop"))
    database.bounds.clear()
    with pytest.raises(QueueFullError):
        enqueuer.enqueue(NewJob("noop"))
    clock.move(KNOWN_QUEUE_S + 1)

    for _ in range(2):
        enqueuer.enqueue(NewJob("noop"))

    assert database.asked[-1] == "enqueue_now"
    assert database.asked.count("lock_queue") == 2
