from __future__ import annotations

import pytest

from flask_forge_jobs.errors import CountDiffersError, InvalidInputError
from flask_forge_jobs.handlers import bulk
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from tests.support.clocks import MovingClock
from tests.support.jobs import having

LIMITS = BulkLimits()


class StrideClock(MovingClock):
    """Every look at it takes some seconds."""

    stride_s = 8.0

    def monotonic(self) -> float:
        self.move(self.stride_s)
        return super().monotonic()


def test_ten_thousand_ids_are_taken_and_one_more_is_not(storage: Storage) -> None:
    ids = [str(number) for number in range(10_000)]

    report = bulk.change_named(storage, JobAction.DELETE, ids, LIMITS)

    assert len(report.change.skipped) == 10_000
    with pytest.raises(InvalidInputError) as caught:
        bulk.change_named(storage, JobAction.RETRY, [*ids, "more"], LIMITS)
    assert caught.value.field == "ids"


def test_a_call_ends_after_its_time(storage: Storage) -> None:
    """The wall clock cuts between two batches"""
    storage.jobs.enqueue_many([NewJob("k") for _ in range(2 * BATCH + 50)])
    limits = BulkLimits(max_s=20.0, clock=StrideClock())

    cut = bulk.delete_by_status(storage, status="pending", limits=limits)

    assert (cut.change.changed, cut.is_complete) == (2 * BATCH, False)
    assert storage.job_reader.total(having(JobStatus.PENDING)) == 50
    rest = bulk.delete_by_status(storage, status="pending", limits=limits)
    assert (rest.change.changed, rest.is_complete) == (50, True)


@pytest.mark.parametrize(
    ("expected", "matched", "is_refused"),
    [
        (0, 0, False),
        (0, 10, False),
        (0, 11, True),
        (100, 110, False),
        (100, 111, True),
        (1000, 1100, False),
        (1000, 1101, True),
        (1000, 899, True),
    ],
)
def test_a_number_may_differ_a_little(
    expected: int, matched: int, *, is_refused: bool
) -> None:
    if not is_refused:
        bulk.check_expected(expected, matched)
        return
    with pytest.raises(CountDiffersError) as caught:
        bulk.check_expected(expected, matched)
    assert (caught.value.expected, caught.value.matched) == (expected, matched)
