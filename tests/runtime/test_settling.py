from __future__ import annotations

import logging

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import (
    CANCELLED_MESSAGE,
    Dead,
    Done,
    Failed,
    Outcome,
    PutOff,
    Released,
    Settlement,
    Throttled,
)
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.settling import (
    UNSETTLED_MESSAGE,
    UNSTORABLE_MESSAGE,
    Settler,
)
from flask_forge_jobs.tasks.cancellation import CancelReason
from tests.support.runtimes import claimed


def settler(**settings: bool) -> Settler:
    return Settler(lambda name: QueueSettings(name, **settings), None)  # type: ignore[arg-type]  # flags only


def settled(
    outcome: Outcome, reason: CancelReason | None = None, **job: int
) -> Settlement:
    execution = Execution(claimed(**job), 0.0, timeout_s=2.0)  # type: ignore[arg-type]  # numbers only
    if reason is not None:
        execution.token.cancel(reason)
    settlement = settler().settle(execution, outcome)
    assert settlement is not None
    return settlement


NOT_DONE = [Failed("oops"), Dead("no use"), Throttled(5.0)]


def test_settle_keeps_the_result_of_a_task() -> None:
    settlement = settled(Done("7"))

    assert (settlement.status, settlement.result) == (JobStatus.DONE, "7")


class Bare(Throttled):
    """Forgets to call the class that it comes from."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("attempts", "status"), [(1, JobStatus.FAILED), (5, JobStatus.DEAD)]
)
def test_what_cannot_be_settled_is_a_failure(attempts: int, status: JobStatus) -> None:
    execution = Execution(claimed(attempts=attempts), 0.0, seat="its seat")

    settlement = settler().settle(execution, Bare())

    assert settlement is not None
    assert (settlement.status, settlement.seat) == (status, "its seat")
    assert str(settlement.error).startswith(f"{UNSETTLED_MESSAGE}: ")


class Telling(Throttled):
    """Quotes a secret and forges a line."""

    @property  # type: ignore[override]
    def scope(self) -> str:
        raise LookupError("first\nERROR second password=hunter2")

    @scope.setter
    def scope(self, _: object) -> None:
        pass


def test_what_cannot_be_settled_is_told_masked_and_on_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settlement = settler().settle(Execution(claimed(), 0.0), Telling(1.0))

    assert settlement is not None
    told = [str(settlement.error), *(each.getMessage() for each in caplog.records)]
    assert len(told) > 1
    for text in told:
        assert r"first\nERROR second password=[redacted]" in text
        assert "hunter2" not in text
    assert not any(record.exc_info for record in caplog.records)


def test_settings_that_cannot_be_read_hold_up_no_outcome() -> None:
    def fail(_: str) -> QueueSettings:
        raise ZeroDivisionError("a bug")

    settlement = Settler(fail, None).settle(Execution(claimed(), 0.0), Failed("oops"))

    assert settlement is not None
    assert settlement.status is JobStatus.FAILED


def test_settle_retries_a_failure_after_the_queue_s_delay() -> None:
    settlement = settled(Failed("oops"))

    assert settlement.status is JobStatus.FAILED
    assert (settlement.error, settlement.delay_s) == ("oops", 1.0)


def test_settle_uses_the_curve_when_back_off_is_enabled() -> None:
    execution = Execution(claimed(attempts=2), 0.0)

    settlement = settler(backoff_enabled=True).settle(execution, Failed("oops"))

    assert settlement is not None
    assert settlement.delay_s == 240.0


def test_settle_ends_the_job_at_its_last_attempt() -> None:
    settlement = settled(Failed("oops"), attempts=5, max_attempts=5)

    assert (settlement.status, settlement.error) == (JobStatus.DEAD, "oops")


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_settle_makes_a_release_of_what_a_shutdown_stopped(outcome: Outcome) -> None:
    """The attempt is given back, and no error is noted."""
    settlement = settled(outcome, CancelReason.SHUTDOWN, attempts=5, max_attempts=5)

    assert settlement.status is JobStatus.PENDING
    assert settlement.uncount
    assert (settlement.error, settlement.delay_s) == (None, 0.0)


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_settle_names_the_time_limit(outcome: Outcome) -> None:
    settlement = settled(outcome, CancelReason.TIMEOUT)

    assert settlement.status is JobStatus.FAILED
    assert settlement.error == "timed out after 2s"


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_settle_ends_a_job_that_a_user_cancelled(outcome: Outcome) -> None:
    settlement = settled(outcome, CancelReason.USER)

    assert (settlement.status, settlement.error) == (JobStatus.DEAD, CANCELLED_MESSAGE)


@pytest.mark.parametrize(
    "reason", [CancelReason.USER, CancelReason.TIMEOUT, CancelReason.SHUTDOWN]
)
def test_settle_lets_finished_work_stand(reason: CancelReason) -> None:
    assert settled(Done(), reason).status is JobStatus.DONE


@pytest.mark.parametrize("outcome", [Done(), *NOT_DONE])
def test_settle_writes_nothing_for_a_lost_job(
    outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    """It belongs to somebody else."""
    execution = Execution(claimed(), 0.0)
    execution.token.cancel(CancelReason.LOST)
    lost = settler()

    settlement = lost.settle(execution, outcome)

    assert settlement is None
    assert lost.lost_count == 1
    assert "job-1 was lost" in caplog.text


def test_settle_logs_failures_as_warnings_and_deaths_as_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settled(Failed("first"))
    settled(Dead("second"))
    settled(Done())

    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.ERROR]
    assert "kind=held queue=default attempt=1/5 delay_s=1.0 error=first" in caplog.text


def test_an_unstorable_outcome_is_replaced_once() -> None:
    once = settled(Done("whatever the database refuses"))

    (replacement,) = settler().replacements(once)
    then = settler().replacements(replacement)

    assert replacement.status is JobStatus.FAILED
    assert (replacement.error, replacement.result) == (UNSTORABLE_MESSAGE, None)
    assert then == []


def test_times_come_from_the_database_and_from_one_monotonic_clock() -> None:
    job = claimed()._replace(
        enqueued_at_us=1_000_000, scheduled_at_us=3_000_000, claimed_at_us=4_000_000
    )
    execution = Execution(job, 100.0, started_at=100.5, ended_at=102.5)

    settlement = settler().settle(execution, Done())

    assert settlement is not None
    assert settlement.wait_us == 1_500_000
    assert settlement.run_us == 2_000_000
    assert settlement.total_us == 5_500_000


def test_a_start_that_is_counted_has_no_wait_to_count() -> None:
    execution = Execution(
        claimed(), 100.0, started_at=100.5, ended_at=102.5, is_start_counted=True
    )

    settlement = settler().settle(execution, Done())

    assert settlement is not None
    assert (settlement.wait_us, settlement.run_us) == (None, 2_000_000)


def test_what_never_started_has_no_times() -> None:
    settlement = settler().settle(Execution(claimed(), 100.0), Released())

    assert settlement is not None
    assert (settlement.wait_us, settlement.run_us) == (None, None)


@pytest.mark.parametrize(
    ("is_start_counted", "run_us"), [(False, None), (True, 1_000_000)]
)
def test_settle_counts_no_run_of_who_was_put_off(
    is_start_counted: bool, run_us: int | None
) -> None:
    """Unless its start is counted already, or the two would not add up."""
    execution = Execution(claimed(), 1.0)
    execution.started_at, execution.ended_at = 2.0, 3.0
    execution.is_start_counted = is_start_counted

    settlement = settler().settle(execution, PutOff(5))

    assert settlement is not None
    assert (settlement.delay_s, settlement.run_us) == (5.0, run_us)
