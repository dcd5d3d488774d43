from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    EndedJob,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE, CancelReason, JobUpdate
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.outcome import (
    UNSTORABLE_MESSAGE,
    UNUSABLE_MESSAGE,
    OutcomeMapper,
)
from flask_forge_jobs.tasks.decorator import Task
from tests.support.runtimes import claimed


def mapper(**settings: bool) -> OutcomeMapper:
    return OutcomeMapper(lambda name: QueueSettings(name, **settings), None)  # type: ignore[arg-type]  # flags only


def updated(
    outcome: Outcome, reason: CancelReason | None = None, **job: int
) -> JobUpdate:
    execution = Execution(claimed(**job), 0.0, timeout_s=2.0)  # type: ignore[arg-type]  # numbers only
    if reason is not None:
        execution.token.cancel(reason)
    update = mapper().update(execution, outcome)
    assert update is not None
    return update


NOT_DONE = [Failed("oops"), Dead("no use"), Throttled(5.0)]


def test_it_keeps_the_result_of_a_task() -> None:
    update = updated(Done("7"))

    assert (update.status, update.result) == (JobStatus.DONE, "7")


class Bare(Throttled):
    """Forgets to call the class that it comes from."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("attempts", "status"), [(1, JobStatus.FAILED), (5, JobStatus.DEAD)]
)
def test_what_cannot_be_used_is_a_failure(attempts: int, status: JobStatus) -> None:
    execution = Execution(claimed(attempts=attempts), 0.0, concurrency_key="its key")

    update = mapper().update(execution, Bare())

    assert update is not None
    assert (update.status, update.concurrency_key) == (status, "its key")
    assert str(update.error).startswith(f"{UNUSABLE_MESSAGE}: ")


@pytest.mark.parametrize(
    ("reason", "ending"), [(None, Ending.DEAD), (CancelReason.USER, Ending.CANCELLED)]
)
def test_what_cannot_be_used_in_the_last_attempt_has_its_follow_up(
    reason: CancelReason | None, ending: Ending
) -> None:
    forge = ForgeJobs()

    @forge.task
    def mourn(job: EndedJob) -> None: ...

    forge.task(kind="held", on_dead=mourn, on_cancelled=mourn)(lambda: None)
    own = OutcomeMapper(QueueSettings, None, task_of=forge.registry.get)
    execution = Execution(claimed(attempts=5), 0.0)
    if reason is not None:
        execution.token.cancel(reason)

    update = own.update(execution, Bare())

    assert update is not None
    follow_up = update.follow_up()
    assert follow_up is not None
    assert (follow_up.kind, ending.value in follow_up.payload) == ("mourn", True)


def test_a_follow_up_that_cannot_be_made_changes_no_outcome(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge = ForgeJobs()
    forge.task(kind="held")(lambda: None)

    def fail(_: object) -> object:
        raise LookupError("the router has a bug")

    monkeypatch.setattr(Task, "follow_ups", property(fail))
    own = OutcomeMapper(QueueSettings, None, task_of=forge.registry.get)

    update = own.update(Execution(claimed(), 0.0), Dead("no use"))

    assert update is not None
    assert (update.status, update.error) == (JobStatus.DEAD, "no use")
    assert "no follow-ups for kind held: " in caplog.text
    assert "the router has a bug" in caplog.text


class Telling(Throttled):
    """Quotes a secret and forges a line."""

    @property  # type: ignore[override]
    def scope(self) -> str:
        raise LookupError("first\nERROR second password=hunter2")

    @scope.setter
    def scope(self, _: object) -> None:
        pass


def test_what_cannot_be_used_is_told_masked_and_on_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    update = mapper().update(Execution(claimed(), 0.0), Telling(1.0))

    assert update is not None
    told = [str(update.error), *(each.getMessage() for each in caplog.records)]
    assert len(told) > 1
    for text in told:
        assert r"first\nERROR second password=[redacted]" in text
        assert "hunter2" not in text
    assert not any(record.exc_info for record in caplog.records)


def test_settings_that_cannot_be_read_hold_up_no_outcome() -> None:
    def fail(_: str) -> QueueSettings:
        raise ZeroDivisionError("a bug")

    update = OutcomeMapper(fail, None).update(Execution(claimed(), 0.0), Failed("oops"))

    assert update is not None
    assert update.status is JobStatus.FAILED


def test_it_retries_a_failure_after_a_delay_that_grows() -> None:
    update = updated(Failed("oops"))

    assert update.status is JobStatus.FAILED
    assert (update.error, update.delay_s) == ("oops", 15.0)


def test_it_uses_the_curve_when_backoff_is_enabled() -> None:
    execution = Execution(claimed(attempts=2), 0.0)

    update = mapper(backoff_enabled=True).update(execution, Failed("oops"))

    assert update is not None
    assert update.delay_s == 240.0


@pytest.mark.parametrize(
    ("options", "outcome", "delays_s"),
    [
        ({}, Failed("oops"), [15, 60, 240, 960]),
        ({"retry": [10, 20]}, Failed("oops"), [10, 20, 20, 20]),
        ({"retry": 7}, Failed("oops", retry_after_s=3), [3, 3, 3, 3]),
        ({"retry": lambda *_: 3}, Failed("killed"), [15, 60, 240, 960]),
    ],
)
def test_it_asks_the_policy_of_the_task(
    options: dict[str, Any], outcome: Outcome, delays_s: list[float]
) -> None:
    """A function is not asked for what did not come as an exception of the task."""
    forge = ForgeJobs()
    forge.task(kind="held", **options)(lambda: None)
    own = OutcomeMapper(QueueSettings, None, task_of=forge.registry.get)

    def delay_s(mapper: OutcomeMapper, attempt: int) -> float | None:
        update = mapper.update(Execution(claimed(attempts=attempt), 0.0), outcome)
        assert update is not None
        return update.delay_s

    assert [delay_s(own, attempt) for attempt in (1, 2, 3, 4)] == delays_s
    enabled = OutcomeMapper(
        lambda name: QueueSettings(name, backoff_enabled=True),
        None,
        task_of=forge.registry.get,
    )
    assert delay_s(enabled, 1) == 120


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, JobStatus.FAILED),
        ({"dead_on": OSError}, JobStatus.DEAD),
        ({"retry_on": ConnectionError}, JobStatus.DEAD),
        ({"retry_on": (ConnectionError, TimeoutError)}, JobStatus.FAILED),
    ],
)
def test_a_time_limit_counts_as_a_timeout_error(
    options: dict[str, Any], status: JobStatus
) -> None:
    forge = ForgeJobs()
    forge.task(kind="held", **options)(lambda: None)
    execution = Execution(claimed(), 0.0, timeout_s=2.0)
    execution.token.cancel(CancelReason.TIMEOUT)

    update = OutcomeMapper(QueueSettings, None, task_of=forge.registry.get).update(
        execution, Failed("cancelled: timeout")
    )

    assert update is not None
    assert (update.status, update.error) == (status, "timed out after 2s")


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.DEAD])
def test_it_keeps_the_traceback(status: JobStatus) -> None:
    """Also of a task that stopped at its time limit: it tells where it was."""
    outcome = Failed("oops", traceback="in send")
    attempts = 1 if status is JobStatus.FAILED else 5

    assert updated(outcome, attempts=attempts).traceback == "in send"
    assert updated(outcome, CancelReason.TIMEOUT).traceback == "in send"
    assert updated(Dead("no use", "in send")).traceback == "in send"


def test_it_ends_the_job_at_its_last_attempt() -> None:
    update = updated(Failed("oops"), attempts=5, max_attempts=5)

    assert (update.status, update.error) == (JobStatus.DEAD, "oops")


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_it_makes_a_release_of_what_a_shutdown_stopped(outcome: Outcome) -> None:
    """The attempt is given back, and no error is noted."""
    update = updated(outcome, CancelReason.SHUTDOWN, attempts=5, max_attempts=5)

    assert update.status is JobStatus.PENDING
    assert update.uncount
    assert (update.error, update.delay_s) == (None, 0.0)


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_it_names_the_time_limit(outcome: Outcome) -> None:
    update = updated(outcome, CancelReason.TIMEOUT)

    assert update.status is JobStatus.FAILED
    assert update.error == "timed out after 2s"


@pytest.mark.parametrize("outcome", NOT_DONE)
def test_it_ends_a_job_that_a_user_cancelled(outcome: Outcome) -> None:
    update = updated(outcome, CancelReason.USER)

    assert (update.status, update.error) == (JobStatus.DEAD, CANCELLED_MESSAGE)
    assert update.is_cancelled


@pytest.mark.parametrize(
    "reason", [CancelReason.USER, CancelReason.TIMEOUT, CancelReason.SHUTDOWN]
)
def test_it_lets_finished_work_stand(reason: CancelReason) -> None:
    assert updated(Done(), reason).status is JobStatus.DONE


@pytest.mark.parametrize("outcome", [Done(), *NOT_DONE])
def test_it_writes_nothing_for_a_lost_job(
    outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    """It belongs to somebody else."""
    execution = Execution(claimed(), 0.0)
    execution.token.cancel(CancelReason.LOST)

    update = mapper().update(execution, outcome)

    assert update is None
    assert "job-1 was lost" in caplog.text


def test_an_unstorable_outcome_is_replaced_once() -> None:
    once = updated(Done("whatever the database refuses"))

    (replacement,) = mapper().replacements(once)
    then = mapper().replacements(replacement)

    assert replacement.status is JobStatus.FAILED
    assert (replacement.error, replacement.result) == (UNSTORABLE_MESSAGE, None)
    assert then == []


def test_times_come_from_the_database_and_from_one_monotonic_clock() -> None:
    job = claimed()._replace(
        enqueued_at_us=1_000_000, scheduled_at_us=3_000_000, claimed_at_us=4_000_000
    )
    execution = Execution(job, 100.0, started_at=100.5, ended_at=102.5)

    update = mapper().update(execution, Done())

    assert update is not None
    assert update.wait_us == 1_500_000
    assert update.run_us == 2_000_000
    assert update.total_us == 5_500_000


def test_a_start_that_is_counted_has_no_wait_to_count() -> None:
    execution = Execution(
        claimed(), 100.0, started_at=100.5, ended_at=102.5, is_start_counted=True
    )

    update = mapper().update(execution, Done())

    assert update is not None
    assert (update.wait_us, update.run_us) == (None, 2_000_000)


def test_what_never_started_has_no_times() -> None:
    update = mapper().update(Execution(claimed(), 100.0), Released())

    assert update is not None
    assert (update.wait_us, update.run_us) == (None, None)


@pytest.mark.parametrize(
    ("is_start_counted", "run_us"), [(False, None), (True, 1_000_000)]
)
def test_it_counts_no_run_of_a_job_that_was_put_off(
    is_start_counted: bool, run_us: int | None
) -> None:
    """Unless its start is counted already, or the two would not add up."""
    execution = Execution(claimed(), 1.0)
    execution.started_at, execution.ended_at = 2.0, 3.0
    execution.is_start_counted = is_start_counted

    update = mapper().update(execution, Snooze(5))

    assert update is not None
    assert (update.delay_s, update.run_us) == (5.0, run_us)


def test_the_log_of_an_outcome_that_cannot_be_stored_shows_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    update = JobUpdate(claimed(), JobStatus.DONE)
    error = ValueError("DETAIL:  Failing row contains (1, c4n4ry).")

    OutcomeMapper(QueueSettings, None).log_unstorable(update, error)

    assert "Failing row contains [redacted]" in caplog.text
    assert "c4n4ry" not in caplog.text
