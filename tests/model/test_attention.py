from __future__ import annotations

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
        ScheduleFacts("a", "send", "bank", AT, 9.0, None),
        ScheduleFacts("b", "send", None, AT, 9.0, None),
        ScheduleFacts("c", "send", "mail", AT, 9.0, None),
    ],
    limits=[LimitFacts("api", 1.0, 99.0, 99)],
    database=DatabaseFacts(
        "old", 1, 2, write_locked_s=70.0, hazards=["an engine of the bank"]
    ),
)


def test_live_workers_and_what_they_serve() -> None:
    assert [worker.id for worker in WHOLE.live] == ["W1", "W2"]
    assert WHOLE.served == {"bank", "mail"}


def test_a_limited_caller_learns_of_its_queues_only() -> None:
    facts = WHOLE.limited_to(["mail", "missing"])

    assert facts == Facts(
        AT,
        queues=[QueueFacts("mail")],
        kinds=[KindFacts("mail", "send")],
        workers=[WorkerFacts("W2", None, ("mail",))],
        schedules=[ScheduleFacts("c", "send", "mail", AT, 9.0, None)],
        database=DatabaseFacts("old", 1, 2, write_locked_s=70.0),
        is_whole=False,
    )
    assert WHOLE.limited_to([]).queues == []


def test_jobs_that_wait() -> None:
    counts = QueueCounts(
        pending=1, scheduled=2, in_progress=4, done=8, failed=16, dead=32
    )
    queue = QueueFacts("mail", counts=counts, max_pending=19)

    assert queue.waiting == 17
    assert queue.is_full
