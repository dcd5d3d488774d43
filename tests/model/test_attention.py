from __future__ import annotations

from dataclasses import replace

from flask_forge_jobs.model.attention import (
    DatabaseFacts,
    Facts,
    KindFacts,
    LimitFacts,
    QueueFacts,
    ScheduleFacts,
    WorkerFacts,
)
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.workers import ServiceAge
from tests.support.facts import AT

SERVICES = (ServiceAge("cron", 99.0, 5.0),)
WHOLE = Facts(
    AT,
    queues=[QueueFacts("mail"), QueueFacts("bank")],
    kinds=[KindFacts("mail", "send"), KindFacts("bank", "send")],
    workers=[
        WorkerFacts("W1", "bank-worker", ("bank",)),
        WorkerFacts("W2", None, ("bank", "mail"), services=SERVICES),
        WorkerFacts("W3", None, ("bank", "bills"), silent_s=61.0),
    ],
    schedules=[
        ScheduleFacts("a", "send", "bank", AT, None),
        ScheduleFacts("b", "send", None, AT, None),
        ScheduleFacts("c", "send", "mail", AT, None),
    ],
    limits=[LimitFacts("api", 1.0, 99.0, 99)],
    database=DatabaseFacts(
        "old", 1, 2, write_locked_s=70.0, hazards=["an engine of the bank"]
    ),
)


def test_live_workers_and_what_they_serve() -> None:
    assert [worker.id for worker in WHOLE.live] == ["W1", "W2"]
    assert WHOLE.served == {"bank", "mail"}


def test_a_worker_runs_no_more_jobs_than_it_has_threads_or_slots() -> None:
    """The queues of a worker share its threads; a slot is of one queue."""
    queues = [
        QueueFacts(name, slots=4, busy_slots=3, counts=QueueCounts(in_progress=jobs))
        for name, jobs in (("mail", 99), ("bank", 1))
    ]
    shared = WorkerFacts("W1", None, ("mail", "bank"), threads=5, slots=8)
    few = WorkerFacts("W2", None, ("mail", "bank"), threads=9, slots=2)
    facts = Facts(AT, queues, workers=[shared, few])

    assert (shared.capacity, few.capacity, facts.capacity) == (5, 2, 7)
    assert WorkerFacts("W3", slots=2).capacity == 2
    assert WorkerFacts("W4", threads=1, slots=2, busy_slots=2).capacity == 2
    assert facts.running == 6
    ended = [replace(each, counts=QueueCounts()) for each in queues[:1]]
    assert Facts(AT, [*ended, queues[1]]).running == 1
    assert facts.limited_to(["mail"]).capacity == 4


def test_a_limited_caller_learns_of_its_queues_only() -> None:
    facts = WHOLE.limited_to(["mail", "missing"])

    assert facts == Facts(
        AT,
        queues=[QueueFacts("mail")],
        kinds=[KindFacts("mail", "send")],
        workers=[WorkerFacts("W2", None, ("mail",))],
        schedules=[ScheduleFacts("c", "send", "mail", AT, None)],
        database=DatabaseFacts("old", 1, 2, write_locked_s=70.0),
        held=[],
        is_whole=False,
    )
    assert WHOLE.limited_to([]).queues == []


def test_a_queue_is_behind_for_all_callers_alike() -> None:
    facts = replace(WHOLE, behind_s=60.0)

    assert facts.limited_to(["mail"]).behind_s == facts.behind_s


def test_jobs_that_wait() -> None:
    counts = QueueCounts(
        pending=1, scheduled=2, in_progress=4, done=8, failed=16, dead=32
    )
    queue = QueueFacts("mail", counts=counts, max_pending=19)

    assert queue.waiting == 17
    assert queue.is_full
