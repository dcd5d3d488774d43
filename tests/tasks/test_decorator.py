from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import (
    MAX_ERROR_BYTES,
    MAX_RESULT_BYTES,
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Throttled,
    ThrottleScope,
)
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.tasks.context import TaskContext, current_job
from flask_forge_jobs.tasks.coroutines import run_coroutine
from flask_forge_jobs.tasks.decorator import Task, TaskHome
from flask_forge_jobs.tasks.options import JobOptions
from flask_forge_jobs.tasks.routing import DefaultRouter, KindPrefixRouter, Router
from tests.tasks.conftest import Outbox

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

MakeTask = Callable[..., Task[..., Any]]
Run = Callable[..., Outcome]


@pytest.fixture
def make_task(outbox: Outbox) -> MakeTask:
    def make(
        function: Callable[..., Any],
        *,
        kind: str | None = None,
        router: Router | None = None,
        aliases: Any = (),
        **options: Any,
    ) -> Task[..., Any]:
        return Task(
            function,
            kind=kind,
            aliases=aliases,
            options=JobOptions(**options),
            home=TaskHome(router or DefaultRouter(), outbox.store, outbox.store_many),
        )

    return make


@pytest.fixture
def run(make_task: MakeTask, context: TaskContext) -> Run:
    """Runs a function once as a task."""

    def run_once(function: Callable[..., Any], payload: str = "{}") -> Outcome:
        return make_task(function, kind="send").run(context, payload)

    return run_once


def send(user_id: int, name: str = "Ann", *, loud: bool = False) -> str:
    """Send a welcome."""
    return f"{user_id} {name} {loud}"


class HostileError(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


# -- the function itself ---------------------------------------------------------------


def test_the_function_stays_callable(make_task: MakeTask) -> None:
    assert make_task(send)(7, loud=True) == "7 Ann True"


def test_a_task_looks_like_its_function(make_task: MakeTask) -> None:
    task = make_task(send)

    assert (task.kind, vars(task)["__name__"], task.__doc__) == (
        "send",
        "send",
        "Send a welcome.",
    )
    assert task.__module__ == __name__
    assert task.__wrapped__ is send  # type: ignore[attr-defined]  # set by functools
    assert repr(task) == "<Task send>"


def test_attributes_of_the_function_do_not_hide_those_of_the_task(
    make_task: MakeTask,
) -> None:
    def odd() -> None: ...

    odd.__dict__.update(kind="other", defaults=None, enqueue=None)

    assert make_task(odd).kind == "odd"


def test_calling_a_task_with_a_context_needs_a_running_one(make_task: MakeTask) -> None:
    def attempt_of(context: TaskContext) -> int:
        return context.attempt

    with pytest.raises(RuntimeError, match="no task is running here"):
        make_task(attempt_of)()


def test_a_task_may_call_another_inline(make_task: MakeTask, run: Run) -> None:
    def attempt_of(context: TaskContext) -> int:
        return context.attempt

    inner = make_task(attempt_of)

    def outer() -> int:
        return int(inner())

    assert run(outer) == Done("1")


def test_a_task_can_be_registered_under_a_second_kind(
    make_task: MakeTask, context: TaskContext
) -> None:
    def attempt_of(own: TaskContext) -> int:
        return own.attempt

    second = make_task(make_task(attempt_of), kind="second")

    assert second.function is attempt_of
    assert second.run(context, "{}") == Done("1")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": ""}, "kind"),
        ({"kind": "x" * 129}, "kind"),
        ({"aliases": 5}, "aliases"),
        ({"queue": "a,b"}, "queue_name"),
        ({"queue": ""}, "queue_name"),
        ({"priority": 2**31}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
    ],
)
def test_wrong_options_are_refused_at_registration(
    make_task: MakeTask, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_task(send, **options)

    assert caught.value.field == field


@pytest.mark.parametrize("function", [lambda: None, functools.partial(send, 7)])
def test_a_function_without_a_name_needs_a_kind(
    make_task: MakeTask, function: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match="give the task a kind"):
        make_task(function)

    assert make_task(function, kind="send").kind == "send"


# -- enqueueing ------------------------------------------------------------------------


def test_enqueue_stores_the_arguments_by_name(
    make_task: MakeTask, outbox: Outbox
) -> None:
    result = make_task(send).enqueue(7, loud=True)

    assert result.id == "job-1"
    assert outbox.jobs == [NewJob("send", '{"user_id":7,"loud":true}', "default")]


def test_an_argument_may_be_named_self(make_task: MakeTask, outbox: Outbox) -> None:
    def send(self: int) -> int:
        return self

    task = make_task(send)

    task.enqueue(self=7)
    task.options(priority=1).enqueue(self=7)
    assert [job.payload for job in outbox.jobs] == ['{"self":7}'] * 2
    assert task.job(self=7) == outbox.jobs[0]
    assert task(self=7) == 7


def test_enqueue_takes_the_defaults_of_the_task(
    make_task: MakeTask, outbox: Outbox
) -> None:
    task = make_task(send, queue="mail", priority=-1, max_attempts=2, timeout_s=30)

    task.enqueue(user_id=7)

    assert outbox.jobs == [NewJob("send", '{"user_id":7}', "mail", -1, 2, timeout_s=30)]
    assert task.timeout_s == 30


def test_options_change_one_enqueue_and_not_the_task(
    make_task: MakeTask, outbox: Outbox
) -> None:
    task = make_task(send, queue="mail", max_attempts=2)

    task.options(priority=0, run_at=NOON, dedupe_key="k", timeout_s=5).enqueue(7)
    task.enqueue(7)

    text = '{"user_id":7}'
    assert outbox.jobs == [
        NewJob("send", text, "mail", 0, 2, "k", NOON, 5),
        NewJob("send", text, "mail", 0, 2),
    ]


def test_a_router_that_answers_others_meanwhile_changes_no_job(
    make_task: MakeTask,
) -> None:
    """As another thread does, which enqueues for another tenant at the same moment."""
    tenants = ["ann"]

    def router(_kind: str) -> str:
        tenant = tenants[-1]
        if tenant == "ann":
            tenants.append("bob")
            assert task.job(7).queue_name == "bob"
            tenants.pop()
        return tenant

    task = make_task(send, router=router)

    assert [task.job(7).queue_name for _ in range(2)] == ["ann", "ann"]


def test_router_is_asked_only_without_a_queue(
    make_task: MakeTask, outbox: Outbox
) -> None:
    task = make_task(send, kind="gh_send", router=KindPrefixRouter())

    task.enqueue(7)
    task.options(queue="mail").enqueue(7)

    assert [job.queue_name for job in outbox.jobs] == ["gh", "mail"]


def test_job_is_what_enqueue_would_store(make_task: MakeTask, outbox: Outbox) -> None:
    task = make_task(send)
    job = task.job(user_id=7)
    chosen = task.options(priority=3).job(user_id=7)

    assert outbox.jobs == []
    task.enqueue(user_id=7)
    task.options(priority=3).enqueue(user_id=7)
    assert outbox.jobs == [job, chosen]


@pytest.mark.parametrize(
    ("args", "kwargs", "fault"),
    [
        ((), {}, "arguments of `send`: `user_id` is missing; it takes"),
        (
            (1,),
            {"age": 2},
            "arguments of `send`: there is no `age`; it takes `user_id`",
        ),
        (({1},), {}, "argument `user_id` of `send`: a set is not a whole number"),
        ((NOON,), {}, "argument `user_id` of `send`: a datetime is not a whole number"),
        ((1,), {"name": "\x00"}, "argument `name` of `send`: contains a NUL"),
        (
            (float("nan"),),
            {},
            "argument `user_id` of `send`: nan is not a whole number",
        ),
        ((1,), {"name": "x" * MAX_PAYLOAD_BYTES}, "arguments of `send`: 1048599 bytes"),
    ],
)
def test_wrong_arguments_are_refused_in_the_caller(
    make_task: MakeTask,
    outbox: Outbox,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    fault: str,
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_task(send).enqueue(*args, **kwargs)

    assert str(caught.value).startswith(fault)
    assert outbox.jobs == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"queue": ""}, "queue"),
        ({"priority": 2**31}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"run_at": NOON.replace(tzinfo=None)}, "run_at"),
        ({"dedupe_key": ""}, "dedupe_key"),
        ({"timeout_s": float("inf")}, "timeout_s"),
    ],
)
def test_wrong_options_are_refused_at_enqueue(
    make_task: MakeTask, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_task(send).options(**options).enqueue(7)

    assert caught.value.field == field


def test_stored_arguments_are_those_at_the_call(
    make_task: MakeTask, outbox: Outbox
) -> None:
    ids = [1]
    task = make_task(lambda ids: ids, kind="send")

    task.enqueue(ids)
    ids.append(2)
    task.enqueue(ids)

    assert [job.payload for job in outbox.jobs] == ['{"ids":[1]}', '{"ids":[1,2]}']


def test_job_for_checks_what_came_by_name(make_task: MakeTask) -> None:
    task = make_task(send, queue="mail")

    job = task.job_for({"user_id": 7}, task.defaults)

    assert job == NewJob("send", '{"user_id":7}', "mail")
    refused: tuple[object, ...] = (
        [],
        None,
        {},
        {"user_id": 7, "age": 1},
        {"user_id": {1}},
        {1: 2},
    )
    for wrong in refused:
        with pytest.raises(InvalidInputError):
            task.job_for(wrong, task.defaults)


def test_a_task_may_make_its_keys_of_the_arguments(
    make_task: MakeTask, outbox: Outbox
) -> None:
    task = make_task(send, dedupe_by_args=True, dedupe_for=timedelta(hours=1))

    task.enqueue(7, "Bob")
    task.enqueue(name="Bob", user_id=7)
    task.enqueue(8, "Bob")
    task.options(dedupe_key="k", replace="payload").enqueue(7, "Bob")

    keys = [job.dedupe_key for job in outbox.jobs]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == "k"
    assert outbox.jobs[3].replace == ("payload",)
    assert {job.dedupe_for for job in outbox.jobs} == {timedelta(hours=1)}


@pytest.mark.parametrize(
    "options", [{"dedupe_for": timedelta(hours=1)}, {"replace": ("run_at",)}]
)
def test_what_goes_with_a_key_is_refused_at_a_task_without_one(
    make_task: MakeTask, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match="needs a dedupe_key"):
        make_task(send, **options)


def test_the_connection_goes_to_the_store_and_not_into_the_payload(
    make_task: MakeTask, outbox: Outbox
) -> None:
    task = make_task(send)
    connection = object()

    task.options(connection=connection, priority=1).enqueue(7)
    task.options(priority=1).enqueue(7)
    task.enqueue(7)

    assert outbox.connections == [connection, None, None]
    assert {job.payload for job in outbox.jobs} == {'{"user_id":7}'}


def test_a_parameter_named_connection_is_one(
    make_task: MakeTask, outbox: Outbox
) -> None:
    task = make_task(lambda connection: connection, kind="send")

    task.enqueue(connection="abc")

    assert outbox.connections == [None]
    assert outbox.jobs[0].payload == '{"connection":"abc"}'


# -- running ---------------------------------------------------------------------------


def test_run_calls_the_function_with_the_payload(run: Run) -> None:
    assert run(send, '{"user_id":7,"loud":true}') == Done('"7 Ann True"')


def test_run_injects_the_context(run: Run, context: TaskContext) -> None:
    def task(own: TaskContext, user_id: int) -> list[object]:
        assert own is context
        return [own.job_id, user_id, current_job.job_id, bool(current_job)]

    assert run(task, '{"user_id":7}') == Done('["01JOB",7,"01JOB",true]')
    assert bool(current_job) is False


def test_context_is_left_when_the_task_raises(run: Run) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    run(fail)

    assert bool(current_job) is False


def test_a_cancelled_task_fails_with_the_reason(run: Run, context: TaskContext) -> None:
    context.cancel.cancel(CancelReason.SHUTDOWN)

    assert run(context.cancel.raise_if_cancelled) == Failed(
        "CancelledError: cancelled: shutdown"
    )


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, None),
        (0, "0"),
        ({"sent": [1, 2]}, '{"sent":[1,2]}'),
        ("x" * (MAX_RESULT_BYTES - 2), f'"{"x" * (MAX_RESULT_BYTES - 2)}"'),
        (Done(), None),
        (Done('{"a": 1}'), '{"a":1}'),
    ],
)
def test_returned_value_is_the_result(
    run: Run, value: object, result: str | None
) -> None:
    assert run(lambda: value) == Done(result)


@pytest.mark.parametrize(
    "value",
    [
        "x" * (MAX_RESULT_BYTES - 1),
        float("nan"),
        {1, 2},
        ValueError("x"),
        object(),
        Done("{"),
        Done(f'"{"x" * MAX_RESULT_BYTES}"'),
        Done({"a": 1}),  # type: ignore[arg-type]  # it is the text of a value
        Released(),
        Throttled,
    ],
    ids=lambda value: type(value).__name__,
)
def test_result_that_cannot_be_stored_is_dropped_with_a_warning(
    run: Run, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The work is done all the same."""
    outcome = run(lambda: value)

    assert isinstance(outcome, Done)
    assert outcome.result is None
    assert outcome.result_error
    assert "cannot store the result of job 01JOB" in caplog.text


async def generates_later() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("value", [(n for n in range(3)), generates_later()])
def test_a_generator_that_is_returned_did_not_run(run: Run, value: object) -> None:
    ended = run(lambda: value)

    assert isinstance(ended, Dead)
    assert "returned a generator" in ended.message


@pytest.mark.parametrize("is_raised", [True, False])
def test_throttled_may_be_raised_or_returned(run: Run, *, is_raised: bool) -> None:
    def task() -> Throttled:
        outcome = Throttled(5, scope="job")
        if is_raised:
            raise outcome
        return outcome

    ended = run(task)

    assert isinstance(ended, Throttled)
    assert (ended.retry_after_s, ended.scope) == (5, ThrottleScope.JOB)
    assert ended.__traceback__ is None


def test_throttle_without_a_number_fails_the_job(run: Run) -> None:
    ended = run(lambda: Throttled(float("nan")))

    assert isinstance(ended, Failed)
    assert ended.message.startswith("InvalidInputError: retry_after_s: ")


@pytest.mark.parametrize("is_raised", [True, False])
def test_dead_may_be_raised_or_returned(run: Run, *, is_raised: bool) -> None:
    def task() -> Dead:
        outcome = Dead("no such\x00user")
        if is_raised:
            raise outcome
        return outcome

    ended = run(task)

    assert isinstance(ended, Dead)
    assert ended.message == "no such\ufffduser"


def test_failed_may_be_returned(run: Run) -> None:
    ended = run(lambda: Failed("x" * 10_000, retry_after_s=9))

    assert ended == Failed("x" * MAX_ERROR_BYTES, retry_after_s=9)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("smtp timeout"), "ValueError: smtp timeout"),
        (KeyError("id"), "KeyError: 'id'"),
        (ValueError(), "ValueError"),
        (StopIteration(), "StopIteration"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (HostileError(), "HostileError"),
        (ValueError("a\x00\nb"), "ValueError: a\ufffd\nb"),
        (ValueError("x" * 5_000_000), "ValueError: ".ljust(MAX_ERROR_BYTES, "x")),
        (
            ExceptionGroup("two", [ValueError("a")]),
            "ExceptionGroup: two (1 sub-exception) [ValueError: a]",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_exception_fails_the_job(
    run: Run, error: BaseException, message: str
) -> None:
    def fail() -> None:
        raise error

    assert run(fail) == Failed(message)
    assert error.__traceback__ is None


@pytest.mark.parametrize("kind", [ValueError, Dead])
def test_what_a_task_raises_keeps_its_traceback_without_our_frames(
    run: Run, kind: type[Exception]
) -> None:
    def fail() -> None:
        raise kind("smtp timeout password=hunter2")

    ended = run(fail)

    assert isinstance(ended, Dead | Failed)
    assert ended.traceback is not None
    first, place, *_, last = ended.traceback.splitlines()
    assert first == "Traceback (most recent call last):"
    assert place.startswith(f'  File "{__file__}", line ')
    assert last.endswith("smtp timeout password=[redacted]")


def test_a_throttle_keeps_what_it_was_raised_from(run: Run) -> None:
    def refuse() -> None:
        raise ConnectionError("HTTP 429")

    def busy(reason: str | None) -> None:
        try:
            refuse()
        except ConnectionError as error:
            raise Throttled(5, reason=reason) from error

    ended, chosen = run(lambda: busy(None)), run(lambda: busy("try later"))

    assert isinstance(ended, Throttled)
    assert isinstance(chosen, Throttled)
    assert (ended.reason, chosen.reason) == ("ConnectionError: HTTP 429", "try later")
    assert run(lambda: Throttled(5)).reason is None  # type: ignore[union-attr]


def frames(outcome: Outcome) -> list[str]:
    """Return the functions of a traceback, the files of which are all of this test."""
    assert isinstance(outcome, Failed)
    lines = [each for each in str(outcome.traceback).split("\n") if "  File " in each]
    assert {line.split(",")[0] for line in lines} == {f'  File "{__file__}"'}
    return [line.rpartition(" ")[2] for line in lines]


def test_a_traceback_begins_with_the_task_and_has_no_frames_of_ours(run: Run) -> None:
    """Neither above the task nor below it, nor in a cause."""

    def fails() -> None:
        try:
            load_text("{")
        except InvalidInputError as error:
            raise KeyError("id") from error

    async def fails_later() -> None:
        load_text("{")

    assert frames(run(fails)) == ["fails", "fails"]
    assert frames(run(fails_later)) == ["fails_later"]


@pytest.mark.parametrize("payload", ["", "{", '{"user_id":NaN}', "[" * 100_000])
def test_damaged_payload_is_dead(run: Run, payload: str) -> None:
    ended = run(send, payload)

    assert isinstance(ended, Dead)
    assert ended.message.startswith("corrupt row: ")


@pytest.mark.parametrize(
    "payload",
    [
        "{}",
        "[7]",
        "null",
        '{"user_id":7,"age":1}',
        '{"user_id":7,"' + "x" * 100_000 + '":1}',
    ],
)
def test_payload_that_does_not_bind_is_dead_without_retries(
    run: Run, payload: str
) -> None:
    ended = run(send, payload)

    assert isinstance(ended, Dead)
    assert ended.message.startswith("bad arguments: ")
    assert len(ended.message) <= MAX_ERROR_BYTES


# -- async -----------------------------------------------------------------------------


def test_async_task_runs_to_its_end(run: Run) -> None:
    async def task(user_id: int) -> list[object]:
        await asyncio.sleep(0)
        return [user_id, current_job.job_id]

    assert run(task, '{"user_id":7}') == Done('[7,"01JOB"]')


def test_async_task_fails_like_any_other(run: Run) -> None:
    async def fail() -> None:
        raise ValueError("smtp timeout")

    async def throttle() -> None:
        raise Throttled(5)

    assert run(fail) == Failed("ValueError: smtp timeout")
    assert isinstance(run(throttle), Throttled)


def test_coroutine_from_an_ordinary_callable_is_run(run: Run) -> None:
    async def answer() -> int:
        return 42

    class Callable42:
        async def __call__(self) -> int:
            return 42

    assert run(lambda: [answer()][0]) == Done("42")
    assert run(functools.partial(answer)) == Done("42")
    assert run(Callable42()) == Done("42")


def test_a_task_knows_its_permits() -> None:
    forge = ForgeJobs()

    @forge.task(max_concurrent=2, key="account_id")
    def sync(account_id: int = 7, *, full: bool = False) -> None: ...

    @forge.task(max_concurrent=1)
    def export() -> None: ...

    @forge.task
    def free() -> None: ...

    assert sync.concurrency == ConcurrencyLimit(2, "account_id", default="7")
    assert export.concurrency == ConcurrencyLimit(1)
    assert free.concurrency is None


@pytest.mark.parametrize(
    ("most", "key", "field"),
    [
        (0, None, "max_concurrent"),
        (1025, None, "max_concurrent"),
        (1, "other", "key"),
        (1, "stamp", "key"),
        (None, "account_id", "key"),
    ],
)
def test_permits_that_make_no_sense_are_refused(
    most: int | None, key: str | None, field: str
) -> None:
    forge = ForgeJobs()

    with pytest.raises(InvalidInputError) as caught:

        @forge.task(max_concurrent=most, key=key)
        def sync(account_id: int, stamp: object = object()) -> None: ...

    assert caught.value.field == field
    assert forge.registry.kinds() == []


mark: ContextVar[str] = ContextVar("mark", default="none")


async def told() -> tuple[str, int]:
    await asyncio.sleep(0)
    return mark.get(), threading.get_ident()


async def fails() -> None:
    await asyncio.sleep(0)
    raise KeyError("id")


def test_it_runs_on_the_thread_of_the_caller() -> None:
    assert run_coroutine(told()) == ("none", threading.get_ident())


def test_within_a_running_loop_it_has_a_loop_of_its_own_and_the_same_context() -> None:
    async def view() -> object:
        mark.set("the view's")
        with pytest.raises(KeyError):
            run_coroutine(fails())
        return run_coroutine(told())

    seen = asyncio.run(view())

    assert isinstance(seen, tuple)
    assert seen[0] == "the view's"
    assert seen[1] != threading.get_ident()
