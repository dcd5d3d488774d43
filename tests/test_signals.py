"""What an application hears of its jobs and workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from blinker import NamedSignal
from flask import Flask, current_app

from flask_forge_jobs import (
    CancelReason,
    Dead,
    ForgeJobs,
    NewJob,
    TaskContext,
    Throttled,
    signals,
)
from flask_forge_jobs.runtime.inline import InlineWorker
from flask_forge_jobs.state import state_of
from flask_forge_jobs.testing import JobsKit

ALL = [value for value in vars(signals).values() if isinstance(value, NamedSignal)]
forge = ForgeJobs()


@forge.task
def work(value: int = 1) -> int:
    return value


@forge.task(max_attempts=2)
def lose(key: str) -> None:
    raise KeyError(key)


@forge.task
def give_up() -> None:
    raise Dead("no use")


@forge.task
def later() -> None:
    raise Throttled(5)


@forge.task
def stop(context: TaskContext, reason: str) -> None:
    context.cancel.cancel(CancelReason(reason))
    context.check()


@forge.task(dead_on=TimeoutError, timeout_s=3)
def last_too_long(context: TaskContext) -> None:
    context.cancel.cancel(CancelReason.TIMEOUT)
    context.check()


@forge.task
def finish_late(context: TaskContext, reason: str) -> None:
    context.cancel.cancel(CancelReason(reason))


@forge.task
def again() -> None:
    forge.enqueue("work")


@pytest.fixture
def kit() -> Iterator[JobsKit]:
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    forge.init_app(app)
    with JobsKit(app) as kit, app.app_context():
        yield kit


class Told:
    """What was sent, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def listening(self, app: Flask) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for signal in ALL:
                stack.enter_context(
                    signal.connected_to(self._receiver(signal.name), sender=app)
                )
            yield

    def _receiver(self, name: str) -> Any:
        def receive(sender: Flask, **values: Any) -> None:
            assert sender is not current_app
            self.names.append(name.removeprefix("forge-"))
            self.values.append(values)

        return receive


@pytest.fixture
def told(kit: JobsKit) -> Iterator[Told]:
    told = Told()
    with told.listening(kit.app):
        yield told


def test_a_job_is_told_of_from_beginning_to_end(kit: JobsKit, told: Told) -> None:
    job = work.enqueue(7)

    kit.drain()

    assert told.names == ["job-enqueued", "job-started", "job-succeeded"]
    assert told.values[0]["job"].id == job.id
    assert told.values[0]["job"].kind == "work"
    assert [told.values[n]["context"].job_id for n in (1, 2)] == [job.id, job.id]


def test_a_failure_has_its_exception_with_its_frames(kit: JobsKit, told: Told) -> None:
    lose.enqueue("id")
    tracebacks: list[object] = []

    def look(_: Flask, error: BaseException, **_more: object) -> None:
        tracebacks.append(error.__traceback__)

    with (
        signals.job_failed.connected_to(look, kit.app),
        signals.job_dead.connected_to(look, kit.app),
    ):
        kit.drain(raise_errors=False)
        kit.clock.move(3600)
        kit.drain(raise_errors=False)

    assert told.names[1:] == ["job-started", "job-failed", "job-started", "job-dead"]
    failed, dead = told.values[2], told.values[4]
    assert (type(failed["error"]), failed["message"]) == (KeyError, "KeyError: 'id'")
    assert dead["context"].attempt == 2
    assert all(tracebacks)


def test_the_frames_go_once_everybody_has_seen_them(kit: JobsKit, told: Told) -> None:
    lose.enqueue("id")
    (job,) = kit.app.extensions["forge_jobs"].storage.jobs.claim("default", "01OWNER")

    signals.SignalObserver(kit.app).run(lose, kit.context(lose), job)

    assert told.names[-1] == "job-failed"
    assert told.values[-1]["error"].__traceback__ is None


@pytest.mark.parametrize(
    ("kind", "arguments", "names"),
    [
        ("give_up", {}, ["job-dead"]),
        ("later", {}, ["job-put-back"]),
        ("stop", {"reason": "user"}, ["job-cancelled"]),
        ("stop", {"reason": "shutdown"}, ["job-put-back"]),
        ("stop", {"reason": "lost"}, ["job-put-back"]),
        ("stop", {"reason": "timeout"}, ["job-failed"]),
        ("last_too_long", {}, ["job-dead"]),
        ("finish_late", {"reason": "lost"}, ["job-put-back"]),
        ("finish_late", {"reason": "shutdown"}, ["job-succeeded"]),
        ("finish_late", {"reason": "timeout"}, ["job-succeeded"]),
        ("again", {}, ["job-enqueued", "job-succeeded"]),
    ],
)
def test_each_way_to_end_has_its_signal(
    kit: JobsKit, told: Told, kind: str, arguments: dict[str, str], names: list[str]
) -> None:
    job = forge.enqueue(kind, arguments)

    InlineWorker(state_of(kit.app).runtime(1).plan).run_one(job.id)

    assert told.names == ["job-enqueued", "job-started", *names]


def test_a_job_that_took_too_long_is_told_of_as_it_is_stored(
    kit: JobsKit, told: Told
) -> None:
    job = last_too_long.enqueue()

    InlineWorker(state_of(kit.app).runtime(1).plan).run_one(job.id)

    assert job.error == "timed out after 3s"
    assert told.values[-1]["message"] == job.error
    assert "in last_too_long" in str(job.traceback)


def test_only_a_new_job_is_told_of(kit: JobsKit, told: Told) -> None:
    client = kit.app.test_client()
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    for _ in range(2):
        work.options(dedupe_key="once").enqueue(1)
        forge.enqueue_many([work.job(2), work.options(dedupe_key="once").job(1)])
        job = {"kind": "work", "payload": {}, "dedupe_key": "request"}
        client.post("/forge-jobs/v1/jobs", json=job)
        client.post("/forge-jobs/v1/jobs/bulk", json={"items": [job]})
        client.post("/forge-jobs/jobs/enqueue", json=job)
    state_of(kit.app).runtime(1).enqueue(NewJob("work"))

    assert told.names == ["job-enqueued"] * 5


def test_a_receiver_that_fails_changes_nothing(
    kit: JobsKit, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Flask, **_more: object) -> None:
        raise RuntimeError("of the receiver")

    with contextlib.ExitStack() as stack:
        for signal in ALL:
            stack.enter_context(signal.connected_to(fail, kit.app))
        job = work.enqueue()
        kit.drain()

    assert job.is_successful
    assert told.names == ["job-enqueued", "job-started", "job-succeeded"]
    assert caplog.text.count("of the receiver") >= 3


def test_a_worker_tells_of_its_start_and_its_end(kit: JobsKit, told: Told) -> None:
    runtime = state_of(kit.app).runtime(1).with_queues(["mail"])

    handle = runtime.start()
    handle.shutdown_graceful(5)

    assert told.names == ["worker-started", "worker-stopped"]
    assert told.values[0] == {"worker_id": handle.worker_id, "queues": ("mail",)}


def test_nobody_is_told_of_another_application(kit: JobsKit) -> None:
    told = Told()
    with told.listening(Flask("other")):
        work.enqueue()
        kit.drain()

    assert told.names == []
