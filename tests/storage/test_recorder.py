"""A process counts every event once, in any number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.recorder import (
    MAX_COMBINATIONS,
    MAX_LISTED,
    OTHER_KINDS,
    Recorder,
)
from tests.support.clocks import SECOND_US, START_US, MovingClock
from tests.support.processes import fork_in_c, in_child
from tests.support.runtimes import claimed
from tests.support.threads import run_together


@pytest.fixture
def recorder(clock: MovingClock) -> Recorder:
    return Recorder(clock)


def update(
    status: JobStatus,
    *,
    run_us: int | None = 1000,
    wait_us: int | None = None,
    job_id: str = "job-1",
) -> JobUpdate:
    return JobUpdate(
        claimed(job_id, "send"), status, run_us=run_us, wait_us=wait_us, total_us=5000
    )


def taken(recorder: Recorder) -> Tally:
    [tally] = recorder.take().values()
    return tally


def test_events_are_counted_by_bucket_queue_and_kind(
    recorder: Recorder, clock: MovingClock
) -> None:
    recorder.enqueued("mail", "send")
    recorder.enqueued("mail", "send", 4)
    recorder.enqueued("mail", "fetch")
    clock.move(10)
    recorder.enqueued("bulk", "send")

    assert {key: tally.enqueued for key, tally in recorder.take().items()} == {
        (START_US, "mail", "send"): 5,
        (START_US, "mail", "fetch"): 1,
        (START_US + 10 * SECOND_US, "bulk", "send"): 1,
    }
    assert recorder.take() == {}


def test_bulk_is_counted_by_queue_and_kind(recorder: Recorder) -> None:
    recorder.enqueued_many([("mail", "send")] * 3 + [("bulk", "pack")])

    assert [tally.enqueued for tally in recorder.take().values()] == [3, 1]


def test_a_start_notes_the_wait(recorder: Recorder) -> None:
    recorder.started("mail", "send", 250_000)
    recorder.started("mail", "send", -3)

    tally = taken(recorder)

    assert (tally.started, tally.wait.count, tally.wait.sum_us) == (2, 2, 250_000)


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        (JobStatus.DONE, (1, 0, 0)),
        (JobStatus.DEAD, (0, 1, 0)),
        (JobStatus.FAILED, (0, 0, 1)),
        (JobStatus.PENDING, (0, 0, 1)),
    ],
)
def test_an_end_is_completed_failed_or_retried(
    recorder: Recorder, status: JobStatus, counts: tuple[int, int, int]
) -> None:
    recorder.ended([update(status)])

    tally = taken(recorder)

    assert (tally.completed, tally.dead, tally.retried) == counts
    assert (tally.run.sum_us, tally.total.sum_us) == (
        (1000, 5000) if status is JobStatus.DONE else (0, 0)
    )


def test_a_short_run_is_counted_whole_when_it_ends(recorder: Recorder) -> None:
    recorder.ended([update(JobStatus.DONE, wait_us=7)])

    tally = taken(recorder)

    assert (tally.started, tally.completed) == (1, 1)
    assert (tally.wait.sum_us, tally.run.sum_us) == (7, 1000)


def test_what_never_started_counts_for_nothing(recorder: Recorder) -> None:
    called: list[None] = []
    recorder.on_activity = lambda: called.append(None)
    recorder.ended([update(JobStatus.PENDING, run_us=None, job_id="lost")], ["lost"])

    assert recorder.take() == {}
    assert not called


def test_what_was_refused_counts_as_nothing_else(recorder: Recorder) -> None:
    called: list[None] = []
    recorder.on_activity = lambda: called.append(None)
    recorder.ended([update(JobStatus.DONE, job_id="lost", wait_us=7)], ["lost"])
    recorder.refused("default", "send")

    assert taken(recorder) == Tally(refused=2)
    assert len(called) == 1


def test_activity_is_told_once_until_the_figures_are_taken(recorder: Recorder) -> None:
    called: list[None] = []
    recorder.on_activity = lambda: called.append(None)

    recorder.enqueued("mail", "send")
    recorder.started("mail", "send", 0)
    recorder.ended([update(JobStatus.DONE)])
    assert len(called) == 1

    recorder.take()
    recorder.ended([update(JobStatus.DONE)])
    assert len(called) == 2


def test_times_of_the_storage_are_taken_once(recorder: Recorder) -> None:
    recorder.reads.add(0.002)
    recorder.writes.add(0.5)
    recorder.writes.add(0.25)

    operations = recorder.take_operations()

    assert (operations.reads.count, operations.reads.sum_us) == (1, 2000)
    assert (operations.writes.count, operations.writes.sum_us) == (2, 750_000)
    assert recorder.take_operations().writes.count == 0


def test_sec_S32_invented_kinds_are_counted_together(recorder: Recorder) -> None:
    for number in range(10 * MAX_COMBINATIONS):
        recorder.enqueued("mail", f"kind-{number}")
    recorder.enqueued("mail", "kind-7")

    found = recorder.take()

    assert len(found) == MAX_COMBINATIONS + 1
    assert sum(each.enqueued for each in found.values()) == 10 * MAX_COMBINATIONS + 1
    assert found[START_US, "mail", "kind-7"].enqueued == 2
    assert found[START_US, "mail", OTHER_KINDS].enqueued == 9 * MAX_COMBINATIONS


def test_a_hundred_thousand_events_of_many_threads_are_all_counted(
    recorder: Recorder, clock: MovingClock
) -> None:
    whole = Tally()

    def work() -> None:
        for number in range(12_500):
            recorder.enqueued("mail", "send")
            recorder.started("mail", "send", number)
            recorder.ended([update(JobStatus.DONE)])

    def take() -> None:
        for _ in range(200):
            for tally in recorder.take().values():
                whole.merge(tally)
            clock.move(0.1)

    run_together([work] * 8 + [take])
    for tally in recorder.take().values():
        whole.merge(tally)

    assert (whole.enqueued, whole.started, whole.completed) == (100_000,) * 3
    assert (whole.wait.count, whole.run.count, whole.total.count) == (100_000,) * 3


def test_times_do_not_pile_up_while_nobody_takes_them(recorder: Recorder) -> None:
    batch = [update(JobStatus.DONE, wait_us=1)] * 100
    for _ in range(3 * MAX_LISTED // 100):
        recorder.ended(batch)

    [held] = recorder._tallies.values()
    assert len(held.runs_us) <= MAX_LISTED + 100
    assert taken(recorder).run.count == 3 * MAX_LISTED


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
@pytest.mark.parametrize("is_run", [False, True])
def test_a_fork_leaves_the_figures_with_the_parent(
    recorder: Recorder, fork: Callable[[], int], *, is_run: bool
) -> None:
    recorder.enqueued("mail", "send")

    def count() -> None:
        if is_run:
            recorder.started("mail", "send", 5)
        else:
            recorder.enqueued("mail", "send")
        tally = taken(recorder)
        assert (tally.enqueued, tally.started) == (not is_run, is_run)

    with recorder._lock:  # another thread is counting
        assert in_child(count, fork) == 0

    assert taken(recorder).enqueued == 1
