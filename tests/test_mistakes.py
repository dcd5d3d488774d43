"""What a stranger gets wrong in the first week, and the message that answers it."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask, current_app
from flask.cli import FlaskGroup

import flask_forge_jobs
from flask_forge_jobs import (
    ForgeJobs,
    InvalidInputError,
    StorageUnavailableError,
    TaskContext,
    current_job,
)
from flask_forge_jobs.storage.sqlite import process
from flask_forge_jobs.testing import JobsKit

PUBLIC: Any = flask_forge_jobs  # untyped, as in an application without mypy


@dataclass
class User:
    name: str


class Stranger:
    """Somebody with an application and a habit from elsewhere, untyped."""

    def __init__(self, forge: ForgeJobs) -> None:
        self.forge: Any = forge

        @forge.task
        def add(a: int, b: int = 0) -> int:
            return a + b

        @forge.task
        def greet(user: User) -> None: ...

        @forge.task
        def tag(items: list[object]) -> None: ...

        @forge.task
        def bound(self, a): ...  # type: ignore[no-untyped-def]

        @forge.task
        def look(context: TaskContext) -> str:
            return context.job_id

        @forge.task
        def free(row): ...  # type: ignore[no-untyped-def]  # as many are

        self.add: Any = add
        self.free: Any = free
        self.greet: Any = greet
        self.tag: Any = tag
        self.look: Any = look
        self.bound: Any = bound

    @property
    def job(self) -> Any:
        return self.forge.job("01ARZ3NDEKTSV4RRFFQ69G5FAV")

    def task(self, **options: Any) -> None:
        self.forge.task(**options)

    def cron(self) -> None:
        def report(region: str) -> None: ...

        self.forge.cron("@daily")(report)

    def method(self) -> None:
        class Basket:
            def send(self, user_id: int) -> None: ...

        self.forge.task(Basket.send)

    def class_method(self) -> None:
        class Basket:
            @classmethod
            def send(cls, user_id: int) -> None: ...

        self.forge.task(vars(Basket)["send"])


def plain() -> None: ...


# -- calls -----------------------------------------------------------------------------

NOT_A_DELAY = (
    "is no delay; give seconds (30), a timedelta, a list of them ([10, 60]), "
    "exponential(30), or a function of attempt and exception"
)
ATTEMPTS = "write max_attempts=, which counts the first run, too"
TABLE: list[tuple[str, Callable[[Stranger], object], str]] = [
    # Options among the arguments.
    (
        "delay",
        lambda its: its.add.enqueue(1, delay=5),
        (
            "arguments of `add`: `delay` is an option; "
            "write add.options(delay=5).enqueue(1)"
        ),
    ),
    (
        "queue",
        lambda its: its.add.enqueue(a=1, queue="mail", priority=3),
        (
            "arguments of `add`: `queue`, `priority` are options; "
            "write add.options(queue=..., priority=3).enqueue(a=1)"
        ),
    ),
    (
        "countdown",
        lambda its: its.add.enqueue(1, countdown=5),
        (
            "arguments of `add`: `delay` is an option; "
            "write add.options(delay=5).enqueue(1)"
        ),
    ),
    (
        "connection",
        lambda its: its.add.job(1, connection=object()),
        (
            "arguments of `add`: `connection` is an option; "
            "write add.options(connection=...).enqueue(1)"
        ),
    ),
    (
        "an option and a misfit",
        lambda its: its.add.enqueue(c=1, delay=5),
        (
            "arguments of `add`: `delay` is an option; write "
            "add.options(delay=5).enqueue(c=1); `a` is missing, there is no `c`; "
            "it takes `a`, `b` (optional)"
        ),
    ),
    (
        "retries at the call",
        lambda its: its.add.enqueue(1, max_retries=3),
        f"arguments of `add`: there is no `max_retries`; {ATTEMPTS}",
    ),
    # Arguments.
    (
        "missing and unknown",
        lambda its: its.add.enqueue(c=1),
        (
            "arguments of `add`: `a` is missing, there is no `c`; "
            "it takes `a`, `b` (optional)"
        ),
    ),
    (
        "misspelt",
        lambda its: its.greet.enqueue(usr="Ann"),
        (
            "arguments of `greet`: `user` is missing, there is no `usr` (did you mean "
            "`user`?); it takes `user`"
        ),
    ),
    (
        "too many",
        lambda its: its.add.enqueue(1, 2, 3),
        (
            "arguments of `add`: 3 by position are more than 2; "
            "it takes `a`, `b` (optional)"
        ),
    ),
    (
        "twice",
        lambda its: its.add.enqueue(1, a=2),
        "arguments of `add`: `a` is given twice; it takes `a`, `b` (optional)",
    ),
    (
        "the context as an argument",
        lambda its: its.look.enqueue(context=current_job),
        (
            "arguments of `look`: there is no `context`, which is the task's context; "
            "it takes none"
        ),
    ),
    (
        "wrong type",
        lambda its: its.add.enqueue("7"),
        "argument `a` of `add`: '7' is not a whole number",
    ),
    (
        "wrong type within",
        lambda its: its.greet.enqueue(User(7)),  # type: ignore[arg-type]
        "argument `user.name` of `greet`: 7 is not text",
    ),
    (
        "an object",
        lambda its: its.tag.enqueue([{"at": object()}]),
        "argument `items[0].at` of `tag`: an object is not JSON",
    ),
    (
        "an object by name",
        lambda its: its.forge.enqueue("tag", {"items": [{1}]}),
        "argument `items[0]` of `tag`: a set is not JSON",
    ),
    (
        "arguments by name",
        lambda its: its.forge.enqueue("add", {"b": 1, "c": 2}),
        (
            "arguments of `add`: `a` is missing, there is no `c`; "
            "it takes `a`, `b` (optional)"
        ),
    ),
    (
        "a payload that is no object",
        lambda its: its.forge.enqueue("add", [1, 2]),
        (
            "payload: add takes a JSON object of parameter name to value, "
            'such as {"a": ...}'
        ),
    ),
    (
        "a row",
        lambda its: its.free.enqueue(its),
        (
            "argument `row` of `free`: a Stranger is not JSON; pass what "
            "identifies it, such as its id"
        ),
    ),
    # Other ways to enqueue.
    (
        "enqueue a task",
        lambda its: its.forge.enqueue(its.add, 1),
        "kind: is a task; write add.enqueue(...)",
    ),
    (
        "enqueue a function",
        lambda its: its.forge.enqueue(plain),
        "kind: is a function; put @forge.task above it and write plain.enqueue(...)",
    ),
    (
        "arguments as options",
        lambda its: its.forge.enqueue("add", a=1),
        (
            "there is no option 'a'; arguments go into the payload: "
            "forge.enqueue('add', {'a': ...})"
        ),
    ),
    (
        "many jobs that are none",
        lambda its: its.forge.enqueue_many([its.add.job(1), {"a": 1}]),
        (
            "jobs[1]: a dict is not a job; make one with task.job(...), or pass the "
            "arguments to task.enqueue_many()"
        ),
    ),
    (
        "many tasks",
        lambda its: its.forge.enqueue_many([its.add]),
        (
            "jobs[0]: a Task is not a job; make one with add.job(...), or pass the "
            "arguments to add.enqueue_many()"
        ),
    ),
    (
        "one job as many",
        lambda its: its.forge.enqueue_many(its.add.job(1)),
        "jobs: is one job; put it into a list, or enqueue it with add.enqueue(...)",
    ),
    (
        "many arguments",
        lambda its: its.add.enqueue_many([1, 2]),
        (
            "calls[0]: 1 is neither a dict nor a tuple of arguments; write "
            "add.enqueue_many([{'a': ...}, ...])"
        ),
    ),
    (
        "many jobs of a task",
        lambda its: its.add.enqueue_many([its.add.job(1)]),
        "calls[0]: is a job; pass jobs to forge.enqueue_many()",
    ),
    (
        "a call by other names than text",
        lambda its: its.add.enqueue_many([{1: 1}]),
        "arguments of `add`: 1 is no name; it takes `a`, `b` (optional)",
    ),
    (
        "no calls",
        lambda its: its.add.enqueue_many(None),
        "calls: None is no list; write add.enqueue_many([{'a': ...}, ...])",
    ),
    (
        "a function as jobs",
        lambda its: its.forge.enqueue_many(plain),
        ("jobs: a function is no list; write forge.enqueue_many([task.job(...), ...])"),
    ),
    # Options.
    (
        "an option of another queue",
        lambda its: its.add.options(countdown=5),
        "there is no option 'countdown'; write delay=",
    ),
    (
        "a misspelt option",
        lambda its: its.add.options(priorty=5),
        "there is no option 'priorty'; did you mean priority=?",
    ),
    (
        "an option that we lack",
        lambda its: its.add.options(expires=5),
        (
            "there is no option 'expires'; there is no expiry; compare times at the "
            "start of the task"
        ),
    ),
    (
        "retries of a task",
        lambda its: its.task(max_retries=3),
        f"there is no option 'max_retries'; {ATTEMPTS}",
    ),
    (
        "bind",
        lambda its: its.task(bind=True),
        (
            "there is no option 'bind'; annotate the task's first parameter with "
            "TaskContext"
        ),
    ),
    (
        "acks_late",
        lambda its: its.task(acks_late=True),
        (
            "there is no option 'acks_late'; leave it out: a job always stays stored "
            "until its run has ended"
        ),
    ),
    (
        "a delay of a task",
        lambda its: its.task(delay=5),
        (
            "there is no option 'delay' of a task; write it where the job is enqueued: "
            "task.options(delay=...).enqueue(...)"
        ),
    ),
    (
        "Celery's countdown at the task",
        lambda its: its.task(countdown=5),
        (
            "there is no option 'countdown' of a task; write it where the job is "
            "enqueued: task.options(delay=...).enqueue(...)"
        ),
    ),
    (
        "RQ's dependencies",
        lambda its: its.add.options(depends_on=its.job),
        "there is no option 'depends_on'; write after=",
    ),
    (
        "Celery's link",
        lambda its: its.add.options(link=its.look),
        (
            "there is no option 'link'; enqueue the next job with after=: "
            "next_task.options(after=job).enqueue()"
        ),
    ),
    (
        "an option of the task, by its name elsewhere",
        lambda its: its.add.options(on_failure=its.look),
        (
            "there is no option 'on_failure'; "
            "write it at the task: @forge.task(on_dead=...)"
        ),
    ),
    (
        "RQ's retry where a job is enqueued",
        lambda its: its.add.enqueue(1, retry=3),
        (
            "arguments of `add`: there is no `retry`; "
            "write it at the task: @forge.task(retry=...)"
        ),
    ),
    (
        "an isolation by name",
        lambda its: its.forge.enqueue("add", {"a": 1}, isolation="process"),
        (
            "there is no option 'isolation'; "
            "write it at the task: @forge.task(isolation=...)"
        ),
    ),
    (
        "a list as a queue",
        lambda its: its.add.options(queue=["mail"]),
        "queue: a list is not text",
    ),
    (
        "a number as a queue of a task",
        lambda its: its.task(queue=7),
        "queue: 7 is not text",
    ),
    ("retry", lambda its: its.task(retry="fast"), f"retry: 'fast' {NOT_A_DELAY}"),
    (
        "retry with a switch",
        lambda its: its.task(retry=True),
        f"retry: True {NOT_A_DELAY}",
    ),
    (
        "retry in a list",
        lambda its: its.task(retry=[10, "slow"]),
        f"retry[1]: 'slow' {NOT_A_DELAY}",
    ),
    (
        "the name of an exception",
        lambda its: its.task(retry_on="ValueError"),
        "retry_on: 'ValueError' is not a type of exception",
    ),
    # Declarations.
    (
        "RQ's queue by position",
        lambda its: its.forge.task("mail"),
        "a queue is an option; write @forge.task(queue='mail')",
    ),
    ("a number", lambda its: its.forge.task(5), "function: 5 is not a function"),
    (
        "cron with a word as a switch",
        lambda its: its.forge.cron("@daily", dedupe="yes"),
        "dedupe: must be True or False",
    ),
    (
        "cron with a list",
        lambda its: its.forge.cron("@daily", arguments=[1]),
        "arguments: a list is not a dict of arguments by name",
    ),
    (
        "cron with a text",
        lambda its: its.forge.cron("@daily", arguments=""),
        "arguments: '' is not a dict of arguments by name",
    ),
    (
        "cron with a number as a name",
        lambda its: its.forge.cron("@daily", arguments={1: 1})(its.add),
        (
            "arguments of `add`: 1 is no name; it takes `a`, `b` (optional); "
            "@forge.cron passes what its arguments= holds, such as "
            "arguments={'a': ...}"
        ),
    ),
    (
        "Celery's name of the application",
        lambda its: type(its.forge)("shop"),
        "app= takes the Flask application, not 'shop'",
    ),
    (
        "a URL as the database",
        lambda its: type(its.forge)(database="postgresql://shop:secret@db/shop"),
        (
            "database= takes a DatabaseConfig, not str; "
            "a URL goes into FORGE_JOBS_DATABASE_URL"
        ),
    ),
    (
        "Celery's routes",
        lambda its: type(its.forge)(router={"add": "mail"}),
        "router= takes a function of a kind, not a dict",
    ),
    (
        "cron without arguments",
        lambda its: its.cron(),
        (
            "arguments of `report`: `region` is missing; it takes `region`; "
            "@forge.cron passes what its arguments= holds, "
            "such as arguments={'region': ...}"
        ),
    ),
    (
        "a method",
        lambda its: its.method(),
        (
            "Basket.send is a method, and a job has no object to call it on; make it a "
            "function that takes what identifies the object, such as its id"
        ),
    ),
    (
        "a class method",
        lambda its: its.class_method(),
        (
            "Basket.send is a method, and a job has no object to call it on; make it a "
            "function that takes what identifies the object, such as its id"
        ),
    ),
    (
        "forge.job as a decorator",
        lambda its: its.forge.job(plain),
        "a job's id is text; to make a function a task, write @forge.task",
    ),
    (
        "an id that is missing",
        lambda its: its.forge.job(None),
        "a job's id is text, not None",
    ),
    (
        "a handle to cancel",
        lambda its: its.forge.cancel(its.forge.job("x")),
        "a job's id is text, not a JobHandle; pass its id",
    ),
    (
        "a handle on a batch",
        lambda its: its.forge.batch_of(its.forge.batch_of("x")),
        "a batch's id is text, not a BatchHandle; pass its id",
    ),
    (
        "calls without end",
        lambda its: its.add.enqueue_many({"a": n} for n in itertools.count()),
        "calls: more than 10000 at once",
    ),
    (
        "jobs without end",
        lambda its: its.forge.enqueue_many(map(its.add.job, itertools.count())),
        "jobs: more than 10000 at once",
    ),
    # Keywords and positions of declarations.
    (
        "Celery's crontab",
        lambda its: its.forge.cron(minute=0),
        (
            "there is no option 'minute'; "
            "write an expression, such as @forge.cron('0 3 * * *')"
        ),
    ),
    (
        "args of a schedule",
        lambda its: its.forge.cron("@daily", args=(1,)),
        "there is no option 'args'; write arguments=",
    ),
    (
        "a misspelt time zone",
        lambda its: its.forge.cron("@daily", timzone="UTC"),
        "there is no option 'timzone'; did you mean timezone=?",
    ),
    (
        "a rate by position",
        lambda its: its.forge.rate_limit("crm", 10, 60),
        "3 by position are more than 1; write capacity=, refill_per_sec=",
    ),
    (
        "jobs of a batch",
        lambda its: its.forge.batch(jobs=[its.add.job(1)]),
        "there is no option 'jobs'; add them in its block: batch.add(task.job(...))",
    ),
    (
        "a broker",
        lambda its: type(its.forge)(broker="redis://"),
        "there is no option 'broker'; set FORGE_JOBS_DATABASE_URL",
    ),
    (
        "Flask-Migrate's database by position",
        lambda its: its.forge.init_app(Flask(__name__), object()),
        "2 by position are more than 1; write db=",
    ),
    (
        "a pause by the name of the HTTP header",
        lambda _: PUBLIC.Throttled(retry_after=3),
        "there is no option 'retry_after'; write retry_after_s=",
    ),
    (
        "a pause by the name of another option",
        lambda _: PUBLIC.Snooze(delay=3),
        "there is no option 'delay'; write retry_after_s=",
    ),
    (
        "the reason of an end",
        lambda _: PUBLIC.Dead(reason="gone"),
        "there is no option 'reason'; write message=",
    ),
    (
        "the base of delays",
        lambda _: PUBLIC.exponential(base=3),
        "there is no option 'base'; write first_s=, and factor= for the growth",
    ),
    (
        "a time-out of waiting",
        lambda its: its.job.wait(timeout=5),
        "there is no option 'timeout'; write timeout_s=",
    ),
    (
        "a time-out of waiting for a batch",
        lambda its: its.forge.batch_of(its.job.id).wait(timeout=5),
        "there is no option 'timeout'; write timeout_s=",
    ),
    (
        "Celery's terminate",
        lambda its: its.forge.cancel(its.job.id, terminate=True),
        (
            "there is no option 'terminate'; "
            "leave it out: a running job is asked to stop"
        ),
    ),
    (
        "the delay of a retry by hand",
        lambda its: its.job.retry(countdown=5),
        "there is no option 'countdown'; leave it out: the job runs again now",
    ),
    (
        "the queue of many",
        lambda its: its.add.enqueue_many([(1,)], queue="mail"),
        ("there is no option 'queue'; write task.options(queue=...).enqueue_many(...)"),
    ),
    (
        "the delay of many jobs",
        lambda its: its.forge.enqueue_many([its.add.job(1)], countdown=5),
        "there is no option 'countdown'; write task.options(delay=...).job(...)",
    ),
    (
        "an option where there is one",
        lambda its: its.job.cancel(why="late"),
        "there is no option 'why'; there is reason",
    ),
    (
        "Celery's group",
        lambda its: its.forge.batch(its.add.job(1), its.add.job(2)),
        (
            "2 by position are more than 1; add them in its block: "
            "batch.add(task.job(...))"
        ),
    ),
    (
        "a list of jobs as a batch",
        lambda its: its.forge.batch([its.add.job(1)]),
        "name: a list is not text; add them in its block: batch.add(task.job(...))",
    ),
    (
        "Celery's chain, whose results are arguments",
        lambda its: its.add.options(after=its.job).enqueue(),
        (
            "arguments of `add`: `a` is missing; it takes `a`, `b` (optional); "
            "results of the jobs before it are in context.parents"
        ),
    ),
    (
        "Celery's self",
        lambda its: its.bound.enqueue(1),
        (
            "arguments of `bound`: `a` is missing; it takes `self`, `a`; "
            "annotate `self` with TaskContext if it is the context"
        ),
    ),
    (
        "a job that is not stored before another",
        lambda its: its.add.options(after=[its.job, its.add.job(1)]),
        "after: a NewJob is not stored; pass what enqueue() or batch.add() returns",
    ),
    (
        "exponential without its brackets",
        lambda its: its.task(retry=PUBLIC.exponential),
        f"retry: a type {NOT_A_DELAY}",
    ),
    (
        "a retry function of the attempt alone",
        lambda its: its.task(retry=lambda attempt: attempt),
        "retry: must take an attempt and an exception",
    ),
    (
        "cron without its brackets",
        lambda its: its.forge.cron(plain),
        (
            "cron_expr: a function is not text; write an expression, such as "
            "@forge.cron('0 3 * * *')"
        ),
    ),
    # Words of other queues.
    (
        "Celery's chord",
        lambda its: its.forge.chord([]),
        "ForgeJobs has no 'chord'; use forge.batch(on_success=task)",
    ),
    (
        "Celery's delay",
        lambda its: its.add.delay(1),
        "Task has no 'delay'; use add.enqueue(...)",
    ),
    (
        "Celery's apply_async",
        lambda its: its.add.apply_async((1,), countdown=5),
        (
            "Task has no 'apply_async'; use add.enqueue(...), with options "
            "add.options(delay=60).enqueue(...)"
        ),
    ),
    (
        "Dramatiq's send",
        lambda its: its.add.send(1),
        "Task has no 'send'; use add.enqueue(...)",
    ),
    (
        "Huey's schedule",
        lambda its: its.add.schedule((1,), delay=5),
        "Task has no 'schedule'; use add.options(delay=60).enqueue(...)",
    ),
    (
        "AsyncResult",
        lambda its: its.forge.AsyncResult("x"),
        "ForgeJobs has no 'AsyncResult'; use forge.job(id)",
    ),
    (
        "the results of a block",
        lambda its: its.forge.batch().results(),
        "BatchBlock has no 'results'; use forge.batch_of(batch.id), after its block",
    ),
    (
        "send_task",
        lambda its: its.forge.send_task("add", [1]),
        "ForgeJobs has no 'send_task'; use forge.enqueue(kind, {...})",
    ),
    (
        "Celery's get",
        lambda its: its.job.get(timeout=5),
        "JobHandle has no 'get'; use job.wait(timeout_s=10) and then job.result",
    ),
    (
        "RQ's return_value",
        lambda its: its.job.return_value(),
        "JobHandle has no 'return_value'; use job.result",
    ),
    (
        "RQ's get_status",
        lambda its: its.job.get_status(),
        "JobHandle has no 'get_status'; use job.status",
    ),
]


@pytest.fixture
def its() -> Iterator[Stranger]:
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    forge = ForgeJobs(app)
    with app.app_context(), contextlib.closing(forge.storage):
        yield Stranger(forge)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [pytest.param(mistake, message, id=name) for name, mistake, message in TABLE],
)
def test_a_mistake_is_answered(
    its: Stranger, mistake: Callable[[Stranger], object], message: str
) -> None:
    with pytest.raises((TypeError, AttributeError, InvalidInputError)) as caught:
        mistake(its)

    assert str(caught.value) == message
    assert its.forge.storage.job_reader.statistics() == {}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            lambda kit, task: kit.assert_enqueued(task, kwargs={"a": 1}),
            "there is no option 'kwargs'; write args=, a dict by name",
        ),
        (
            lambda kit, task: kit.assert_not_enqueued(task, 1),
            "2 by position are more than 1; write args=, queue=, at=",
        ),
        (
            lambda kit, _: kit.drain(queues=["mail"]),
            (
                "there is no option 'queues'; write the names of queues by position, "
                "such as drain('mail')"
            ),
        ),
        (
            lambda kit, task: kit.context(task).logger,
            "TaskContext has no 'logger'; use logging.getLogger(__name__)",
        ),
    ],
)
def test_a_mistake_in_a_test_or_task_is_answered(
    its: Stranger, mistake: Callable[[Any, Any], object], message: str
) -> None:
    with (
        JobsKit(current_app) as kit,
        pytest.raises((TypeError, AttributeError)) as caught,
    ):
        mistake(kit, its.add)

    assert str(caught.value) == message


def test_a_word_of_another_queue_is_no_attribute(its: Stranger) -> None:
    for thing in (its.add, its.add.options(), its.forge, its.job):
        assert not hasattr(thing, "AsyncResult")
        assert not hasattr(thing, "get_status")
        assert not hasattr(thing, "delay")


def test_an_argument_that_is_named_like_an_option_is_an_argument(its: Stranger) -> None:
    def move(queue: str, delay: int = 0) -> None: ...

    job = its.forge.task(move).job(queue="x", delay=5)

    assert job.payload == '{"queue":"x","delay":5}'


# -- where the application lives -------------------------------------------------------


def test_a_circular_import_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "circular_shop.py").write_text(
        "import circular_tasks\n"
        "from flask import Flask\n"
        "from flask_forge_jobs import ForgeJobs\n"
        "forge = ForgeJobs(Flask(__name__))\n"
    )
    (tmp_path / "circular_tasks.py").write_text("from circular_shop import forge\n")
    monkeypatch.syspath_prepend(tmp_path)

    arguments = ["--app", "circular_shop", "forge-jobs", "worker", "--burst"]
    result = CliRunner().invoke(FlaskGroup(), arguments)

    assert result.exit_code != 0
    last = result.output.split("\n\n")[-1].replace("\n", " ")
    assert last == (
        "The application and a module with tasks import each other. Put "
        "`forge = ForgeJobs()` into a module of its own, such as extensions.py, let "
        "the tasks import it from there, and call `forge.init_app(app)` where you make "
        "the application; import the tasks there. "
    )


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (None, "by default; FORGE_JOBS_DATABASE_URL names another"),
        ("sqlite:///jobs.sqlite", "from FORGE_JOBS_DATABASE_URL"),
    ],
)
def test_a_folder_that_cannot_be_written_to_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, source: str
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(process, "create_privately", refuse)
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["FORGE_JOBS_DATABASE_URL"] = url
    forge = ForgeJobs(app)
    name = "queue.sqlite" if url is None else "jobs.sqlite"

    with app.app_context(), pytest.raises(StorageUnavailableError) as caught:
        forge.enqueue("send")

    assert str(caught.value) == (
        f"{tmp_path / name} ({source}): Permission denied; the database needs a folder "
        "that this user can write to"
    )


# -- jobs that would wait --------------------------------------------------------------


def test_a_misspelt_kind_and_a_queue_without_a_worker_are_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask(__name__, instance_path=str(tmp_path))
    forge = ForgeJobs(app)

    @forge.task
    def send_welcome() -> None: ...

    with app.app_context(), contextlib.closing(forge.storage):
        for _ in range(3):
            forge.enqueue("send_wellcome")
            send_welcome.enqueue()

    assert [each for each in caplog.messages if not each.startswith("database ")] == [
        (
            "no task of this application has the kind send_wellcome (did you mean "
            "send_welcome?); its jobs wait for a worker that has one"
        ),
        (
            "no worker has ever served queue default, its jobs wait; start one with "
            "`flask forge-jobs worker --queues default`"
        ),
    ]
