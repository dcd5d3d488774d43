from __future__ import annotations

import pytest

from flask_forge_jobs.model.claims import ClaimedJob, may_be_claimed_ahead
from flask_forge_jobs.runtime.prefetch import MAX_BYTES_AHEAD
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.slots import LocalQueue, Slots
from tests.support.runtimes import claimed

QUICK_S = 0.01


def wait(queue: LocalQueue, job: ClaimedJob) -> None:
    queue.buffer.append(Execution(job, 0.0))
    queue.prefetch.take(len(job.payload))


def local_queue(*, limit: int, waiting: int, mean_s: float | None = None) -> LocalQueue:
    found = LocalQueue(limit=limit)
    for number in range(waiting):
        wait(found, claimed(f"job-{number}"))
    if mean_s is not None:
        found.prefetch.learn(mean_s)
    return found


def large_ones_wait() -> LocalQueue:
    """Two jobs that fill the memory for prefetched jobs, among small ones."""
    found = local_queue(limit=4, waiting=0, mean_s=QUICK_S)
    job = claimed()._replace(payload="x" * (MAX_BYTES_AHEAD // 2))
    for _ in range(2):
        wait(found, job)
    found.prefetch.take(100)
    found.prefetch.waiting_bytes -= 100
    return found


@pytest.mark.parametrize(
    ("job", "waits"),
    [
        (claimed(), True),
        (claimed(max_attempts=1), False),
        (claimed(attempts=4, max_attempts=5), True),
        (claimed(attempts=5, max_attempts=5), False),
        (claimed()._replace(crashes=1), False),
    ],
    ids=["fresh", "only run", "last but one", "last run", "crashed"],
)
def test_which_jobs_may_wait(job: ClaimedJob, *, waits: bool) -> None:
    assert may_be_claimed_ahead(job.attempts, job.max_attempts, job.crashes) is waits


def test_jobs_start_in_their_order_in_the_lowest_free_slot() -> None:
    found = local_queue(limit=3, waiting=4)

    runs = [found.start_next() for _ in range(3)]
    found.leave(runs[1])
    found.leave(runs[0])
    last = found.start_next()

    assert [(run.job.id, run.slot) for run in runs] == [
        ("job-0", 0), ("job-1", 1), ("job-2", 2),
    ]  # fmt: skip
    assert (last.job.id, last.slot) == ("job-3", 0)


def test_the_successor_of_an_abandoned_run_has_another_incarnation() -> None:
    found = local_queue(limit=1, waiting=2)
    run = found.start_next()

    found.abandon(run)
    successor = found.start_next()

    assert successor.slot == run.slot
    assert list(found.report(threads=8)) == [(run.slot, 1, successor.job.id)]


def test_a_slot_that_was_never_used_is_reported_too() -> None:
    assert list(local_queue(limit=3, waiting=0).report(threads=2)) == [
        (0, 0, None),
        (1, 0, None),
    ]


@pytest.mark.parametrize(
    ("waiting", "room", "startable"), [(0, 2, 0), (1, 1, 1), (5, 0, 2)]
)
def test_room_is_what_neither_runs_nor_waits(
    waiting: int, room: int, startable: int
) -> None:
    slots = Slots(["default"], 8)
    slots.queues["default"] = local_queue(limit=2, waiting=waiting)

    assert slots.queues["default"].demand(8, 8, 0, now=None) == (room, 0)
    assert slots.startable() == startable


@pytest.mark.parametrize(
    ("found", "share", "ahead"),
    [
        (local_queue(limit=4, waiting=0), 0, 0),
        (local_queue(limit=4, waiting=0), 2, 2),
        (local_queue(limit=1, waiting=0), 2, 1),
        (local_queue(limit=4, waiting=2), 2, 0),
        (local_queue(limit=4, waiting=0, mean_s=QUICK_S), 0, 20),
        (local_queue(limit=4, waiting=24, mean_s=QUICK_S), 0, 0),
        (local_queue(limit=64, waiting=24, mean_s=QUICK_S), 0, 0),
        (large_ones_wait(), 0, 0),
        (local_queue(limit=0, waiting=0, mean_s=QUICK_S), 2, 0),
    ],
    ids=[
        "unknown",
        "share",
        "limit",
        "has its share",
        "quick",
        "full",
        "slots of other workers",
        "bytes",
        "stopped",
    ],
)
def test_how_many_are_claimed_ahead(found: LocalQueue, share: int, ahead: int) -> None:
    assert found.demand(0, 4, share, now=0.0) == (0, ahead)


def test_what_waits_can_be_taken_back() -> None:
    slots = Slots(["default"], 8)
    slots.queues["default"] = found = local_queue(limit=1, waiting=3)
    slots.waiting = 3
    slots.start_next()

    taken = slots.take_back("default")

    assert [execution.job.id for execution in taken] == ["job-1", "job-2"]
    assert (slots.running, slots.waiting) == (1, 0)
    assert not found.buffer
    assert len(found.running) == 1


def test_a_claim_that_finds_a_free_slot_says_so() -> None:
    """Only then does the window of prefetching grow."""
    slots = Slots(["default"], 1)
    queue = slots.queues["default"]
    queue.limit = 1

    slots.take(Execution(claimed("first"), 0.0), 0.0)
    has_run_out = queue.prefetch.has_run_out
    slots.start_next()
    queue.prefetch.has_run_out = False
    slots.take(Execution(claimed("second"), 0.0), 0.0)

    assert (has_run_out, queue.prefetch.has_run_out) == (True, False)
