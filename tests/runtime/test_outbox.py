from __future__ import annotations

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.outbox import Outbox
from flask_forge_jobs.runtime.settling import UNSTORABLE_MESSAGE, Settler
from flask_forge_jobs.tasks.cancellation import CancelReason
from tests.support.runtimes import claimed


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(Settler(QueueSettings, None))


def put(outbox: Outbox, *job_ids: str) -> None:
    for job_id in job_ids:
        outbox.put(Execution(claimed(job_id), 0.0), Done())


def waiting(outbox: Outbox) -> list[tuple[str, JobStatus]]:
    return [(each.job.id, each.status) for each in outbox.batch()]


def test_what_comes_during_a_write_waits_for_the_next(outbox: Outbox) -> None:
    put(outbox, "a", "b")
    batch = outbox.batch()
    put(outbox, "c")

    outbox.note_written(batch)

    assert waiting(outbox) == [("c", JobStatus.DONE)]


def test_what_a_write_failed_of_is_kept_and_marked(outbox: Outbox) -> None:
    put(outbox, "a")

    outbox.note_failure(outbox.batch())

    assert [each.was_tried for each in outbox.batch()] == [True]


def test_what_goes_back_counts_from_the_first_moment(outbox: Outbox) -> None:
    execution = Execution(claimed("a"), 0.0)
    empty = bool(outbox)
    outbox.give_back([execution])
    before = (bool(outbox), outbox.has_unwritten, outbox.runs())
    outbox.settle_returns()

    assert not empty
    assert before == (True, False, {execution.job.run_id})
    assert outbox.runs() == {execution.job.run_id}
    assert waiting(outbox) == [("a", JobStatus.PENDING)]


def test_a_lost_job_is_not_written(outbox: Outbox) -> None:
    execution = Execution(claimed("a"), 0.0)
    execution.token.cancel(CancelReason.LOST)

    outbox.put(execution, Done())

    assert not outbox


def test_an_outcome_that_is_refused_is_replaced_once(outbox: Outbox) -> None:
    put(outbox, "a", "b")
    outbox.replace(outbox.batch()[0])
    kept, replacement = outbox.batch()
    outbox.replace(replacement)

    assert (kept.job.id, replacement.error) == ("b", UNSTORABLE_MESSAGE)
    assert outbox.batch() == [kept]


def test_one_outcome_can_be_forgotten(outbox: Outbox) -> None:
    put(outbox, "a", "b")

    outbox.discard(outbox.batch()[0])

    assert waiting(outbox) == [("b", JobStatus.DONE)]
