from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.outcomes import (
    MAX_ERROR_BYTES,
    Dead,
    Done,
    Failed,
    Outcome,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.progress import report_of
from flask_forge_jobs.runtime.run.execution import (
    MAX_WARNED,
    WARN_PERIOD_S,
    Execution,
    Runner,
    TaskEnvironment,
    TaskScope,
)
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.failures import describe_failure
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.clocks import MovingClock
from tests.support.runtimes import (
    NO_CONCURRENCY,
    NO_RATE_LIMITS,
    QuickTask,
    claimed,
    registry_of,
)


def no_enqueue(job: NewJob) -> EnqueueResult:
    raise AssertionError(job)


def runner_of(
    registry: TaskRegistry,
    *,
    scope: TaskScope = contextlib.nullcontext,
    clock: MovingClock | None = None,
) -> Runner:
    return Runner(
        registry,
        environment=TaskEnvironment(
            "host-1", clock or MovingClock(), no_enqueue, NO_RATE_LIMITS
        ),
        scope=scope,
        concurrency=NO_CONCURRENCY,
    )


def outcome_of(function: Callable[[TaskContext], object]) -> Outcome:
    """Run a custom task class; nothing but its own care protects it."""
    registry = registry_of(QuickTask("quick", function))
    return runner_of(registry).run(Execution(claimed(kind="quick"), 0.0))


def failing(error: BaseException) -> Callable[[TaskContext], object]:
    def function(_: TaskContext) -> object:
        raise error

    return function


def recurse(depth: int) -> int:
    return recurse(depth + 1) + 1


FATAL = [
    SystemExit(3),
    KeyboardInterrupt("stop"),
    GeneratorExit("over"),
    ZeroDivisionError("division by zero"),
    BaseException("bare"),
]


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_run_makes_a_failure_of_any_exception(error: BaseException) -> None:
    """A9: whatever a task raises ends its job and not its worker."""
    outcome = outcome_of(failing(error))

    assert outcome == Failed(describe_failure(error))
    assert error.__traceback__ is None


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_run_makes_a_failure_of_what_a_decorated_task_raises(
    error: BaseException,
) -> None:
    forge = ForgeJobs()

    @forge.task
    def raises() -> None:
        raise error

    outcome = runner_of(forge.registry).run(Execution(claimed(kind="raises"), 0.0))

    assert outcome == Failed(describe_failure(error))


def test_run_makes_a_failure_of_endless_recursion() -> None:
    outcome = outcome_of(lambda _: recurse(0))

    assert isinstance(outcome, Failed)
    assert "recursion" in outcome.message
    assert sys.getrecursionlimit() > 0


def test_run_joins_the_chain_of_causes() -> None:
    def function(_: TaskContext) -> object:
        rows: dict[str, int] = {}
        try:
            return rows["row 7"]
        except KeyError as error:
            raise RuntimeError("no such order") from error

    assert outcome_of(function) == Failed(
        "RuntimeError: no such order: KeyError: 'row 7'"
    )


@pytest.mark.parametrize("value", [False, 7, "done", object, Outcome])
def test_run_refuses_what_is_no_outcome(value: object) -> None:
    """A batch of outcomes is stored as one; a stranger in it would block them all."""
    outcome = outcome_of(lambda _: value)

    assert isinstance(outcome, Failed)
    assert "not an outcome" in outcome.message


@pytest.mark.parametrize("make", [Failed, Dead])
def test_run_makes_every_message_storable(make: Callable[[str], Outcome]) -> None:
    text = "\x00\ud800" + "x" * 2 * MAX_ERROR_BYTES

    outcome = outcome_of(lambda _: make(text))

    assert isinstance(outcome, (Failed, Dead))
    assert "\x00" not in outcome.message
    assert len(outcome.message.encode()) <= MAX_ERROR_BYTES


def test_run_refuses_a_result_that_could_not_be_read_again() -> None:
    """SQLite would store half of a surrogate pair and fail each read of the job."""
    assert isinstance(outcome_of(lambda _: Done('"\udcff.txt"')), Failed)


def test_run_passes_outcomes_on() -> None:
    assert outcome_of(lambda _: Done("7")) == Done("7")


class OwnThrottle(Throttled):
    """One of an application, which may set what it likes."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Throttled(2.0, scope="job"), (Throttled, 2.0, "job")),
        (Snooze(3.0), (Snooze, 3.0, "job")),
        (OwnThrottle(retry_after_s=1e30, scope="queue"), (Throttled, 86400.0, "queue")),
    ],
)
def test_run_passes_a_throttle_on(
    given: Throttled, kept: tuple[type, float, str]
) -> None:
    outcome = outcome_of(lambda _: given)

    assert isinstance(outcome, Throttled)
    assert (type(outcome), outcome.retry_after_s, outcome.scope) == kept


def test_a_throttle_that_lacks_what_it_should_have_is_a_failure() -> None:
    """Its class did not call ours; a batch of outcomes must not come to grief."""
    outcome = outcome_of(lambda _: OwnThrottle())

    assert isinstance(outcome, Failed)
    assert "retry_after_s" in outcome.message


@pytest.mark.parametrize("error", [LookupError("a bug"), SystemExit("enough")])
def test_run_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever escapes is a failure, for nobody else would end the job."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(TaskRegistry, "get", fail)

    assert outcome_of(lambda _: Done()) == Failed(describe_failure(error))


def test_run_keeps_the_delay_of_a_failure() -> None:
    assert outcome_of(lambda _: Failed("later", 9.0)) == Failed("later", 9.0)


def test_run_opens_a_scope_around_every_run() -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        events.append("in")
        yield
        events.append("out")

    runner = runner_of(
        registry_of(QuickTask("quick", lambda _: events.append("run"))), scope=scope
    )
    runner.run(Execution(claimed(kind="quick"), 0.0))

    assert events == ["in", "run", "out"]


def test_a_scope_that_cannot_be_opened_fails_the_job() -> None:
    task = QuickTask()

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        if task.timeout_s is None:
            raise LookupError("no database session")
        yield

    outcome = runner_of(registry_of(task), scope=scope).run(
        Execution(claimed(kind="quick"), 0.0)
    )

    assert outcome == Failed("LookupError: no database session")
    assert task.job_ids == []


def test_a_scope_that_fails_at_its_end_leaves_the_outcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F10: the work is done, whatever the clean-up of the application says."""

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        yield
        raise LookupError("teardown")

    outcome = runner_of(registry_of(QuickTask()), scope=scope).run(
        Execution(claimed(kind="quick"), 0.0)
    )

    assert outcome == Done()
    assert "the context of job job-1 failed" in caplog.text


@pytest.mark.parametrize("is_scope", [True, False])
def test_sec_S41_what_cannot_be_run_is_logged_masked_and_on_one_line(
    caplog: pytest.LogCaptureFixture, *, is_scope: bool
) -> None:
    error = LookupError("no session\nERROR forged \x1b[1m password=hunter2")

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        if is_scope:
            raise error
        yield

    registry = registry_of(QuickTask("quick", failing(error)))
    outcome = runner_of(registry, scope=scope).run(
        Execution(claimed(kind="quick"), 0.0)
    )

    escaped = "no session\\nERROR forged \\x1b[1m password=[redacted]"
    assert outcome == Failed(f"LookupError: {escaped}")
    assert caplog.records
    for record in caplog.records:
        assert record.exc_info is None
        assert escaped in record.getMessage()
        assert "hunter2" not in record.getMessage()
        assert record.getMessage().isprintable()


@pytest.mark.parametrize("kind", [Failed, Dead])
def test_a_message_is_masked_before_it_is_cut(kind: type[Failed | Dead]) -> None:
    text = "x" * (MAX_ERROR_BYTES - 20) + " token=" + "hunter2" * 100

    outcome = outcome_of(lambda _: kind(text))

    assert isinstance(outcome, Failed | Dead)
    assert "hunter" not in outcome.message
    assert len(outcome.message.encode()) <= MAX_ERROR_BYTES


@pytest.mark.parametrize(("before", "wait_s"), [(0, 1), (3, 8), (6, 60), (10**6, 60)])
def test_a_missing_task_puts_the_job_off(before: int, wait_s: float) -> None:
    """Another worker may know it, or a deploy is under way; no attempt is spent."""
    job = claimed(kind="gone")._replace(throttle_attempts=before)

    outcome = runner_of(TaskRegistry()).run(Execution(job, 0.0))

    assert isinstance(outcome, Snooze)
    assert outcome.retry_after_s == wait_s
    assert outcome.reason == "no task registered for kind: gone"


def test_a_missing_task_is_logged_once_a_minute_for_each_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = MovingClock()
    runner = runner_of(TaskRegistry(), clock=clock)

    def log_count(kind: str) -> int:
        caplog.clear()
        runner.run(Execution(claimed(kind=kind), 0.0))
        return len(caplog.records)

    assert [log_count("gone"), log_count("gone"), log_count("other")] == [1, 0, 1]
    clock.move(WARN_PERIOD_S)
    assert log_count("gone") == 1


def test_kinds_without_a_task_take_little_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anybody who may enqueue chooses them."""
    runner = runner_of(TaskRegistry())

    for number in range(3 * MAX_WARNED):
        runner.run(Execution(claimed(kind=f"gone{number}"), 0.0))

    assert len(runner._warned_at) <= MAX_WARNED
    warnings = [each for each in caplog.messages if "no task registered" in each]
    assert len(warnings) == 3 * MAX_WARNED


def test_the_time_limit_of_a_job_comes_before_its_task_s() -> None:
    runner = runner_of(registry_of(QuickTask("limited", timeout_s=9.0), QuickTask()))

    limits = [
        runner.timeout_of(claimed(kind="limited", timeout_s=2.0)),
        runner.timeout_of(claimed(kind="limited")),
        runner.timeout_of(claimed(kind="quick")),
        runner.timeout_of(claimed(kind="unknown")),
    ]

    assert limits == [2.0, 9.0, None, None]


def test_a_task_learns_what_it_runs_for() -> None:
    seen: list[TaskContext] = []
    task = QuickTask("quick", seen.append)
    execution = Execution(claimed("job-7", "quick", attempts=5), 0.0, timeout_s=9.0)

    runner_of(registry_of(task)).run(execution)
    (context,) = seen
    context.set_progress({"done": 1})

    assert (context.job_id, context.kind, context.queue_name) == (
        "job-7",
        "quick",
        "default",
    )
    assert (context.worker_id, context.attempt, context.is_last_attempt) == (
        "host-1",
        5,
        True,
    )
    assert context.deadline == 9.0
    assert context.cancel is execution.token
    assert execution.progress is not None
    assert report_of(execution.progress.take() or "") == {"done": 1}
