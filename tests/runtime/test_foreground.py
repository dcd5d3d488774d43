"""The foreground loop; with real signals and jobs in ``tests/cli/test_worker.py``."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.variables import PARENT_PIPE_VARIABLE
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.runtime.foreground import (
    EXIT_CHANGED,
    EXIT_TAINTED,
    MAX_ABANDONED,
    parent_pipe,
    run_in_foreground,
)
from flask_forge_jobs.runtime.loop.dispatcher import Dispatcher
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.worker import Parts, RuntimeHandle
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.reader import JobReader
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.runtimes import LIMIT_S, HeldTask, add, registry_of

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def runtime_of(
    storage: Storage, registry: TaskRegistry | None = None, **options: Any
) -> QueueRuntime:
    tasks = TaskRegistry() if registry is None else registry
    return QueueRuntime(storage, tasks, **options).with_queues(["default"])


def once_registered(storage: Storage, action: Callable[[], object]) -> threading.Thread:
    """Do something once the worker is there."""

    def watch() -> None:
        pause = threading.Event()
        while not storage.workers.all():
            pause.wait(0.01)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_sigterm_ends_it_with_status_0(storage: Storage) -> None:
    stopping = once_registered(storage, lambda: os.kill(os.getpid(), signal.SIGTERM))

    status = run_in_foreground(runtime_of(storage), grace_s=1.0, environ={})
    stopping.join()

    assert status == 0
    assert storage.workers.all() == []


@pytest.mark.parametrize(("is_told", "expected"), [(False, EXIT_CHANGED), (True, 0)])
def test_a_signal_while_it_waits_to_restart_ends_it(
    storage: Storage, *, is_told: bool, expected: int
) -> None:
    held = HeldTask()
    add(storage, "held")
    runtime = runtime_of(storage, registry_of(held))
    waits = threading.Event()
    stop_claiming = Parts.stop_claiming

    def end() -> None:
        waits.wait(LIMIT_S)
        if is_told:
            os.kill(os.getpid(), signal.SIGTERM)
        held.release.set()

    def note(parts: Parts) -> None:
        stop_claiming(parts)
        waits.set()

    helper = threading.Thread(target=end)
    helper.start()
    with mock.patch.object(Parts, "stop_claiming", note):
        status = run_in_foreground(
            runtime,
            grace_s=LIMIT_S,
            changed=lambda: "shop.py" if held.contexts else None,
            environ={},
        )
    helper.join()

    assert status == expected


def test_the_end_of_the_parent_ends_it(storage: Storage) -> None:
    """A6: nobody writes to the pipe; it closes when the parent stops or dies."""
    reader, writer = os.pipe()
    runtime = runtime_of(storage)
    closing = once_registered(storage, lambda: os.close(writer))

    status = run_in_foreground(
        runtime, grace_s=1.0, environ={PARENT_PIPE_VARIABLE: str(reader)}
    )
    closing.join()
    os.close(reader)

    assert status == 0
    assert runtime.plan.worker.parent_pid == os.getppid()


def test_a_parent_that_stops_meanwhile_lets_nothing_start(storage: Storage) -> None:
    job_id = add(storage, "quick")
    reader, writer = os.pipe()
    os.close(writer)
    runtime = runtime_of(storage)

    status = run_in_foreground(
        runtime, grace_s=1.0, environ={PARENT_PIPE_VARIABLE: str(reader)}
    )
    os.close(reader)

    assert status == 0
    assert not runtime._has_started
    assert storage.job_reader.get(job_id).attempts == 0


def test_too_many_stuck_tasks_end_it(storage: Storage, stubborn: HeldTask) -> None:
    ids = [
        add(storage, "stubborn", timeout_s=0.05, max_attempts=1)
        for _ in range(MAX_ABANDONED)
    ]
    runtime = runtime_of(storage, registry_of(stubborn), cancel_grace_s=0.05)

    status = run_in_foreground(runtime, grace_s=1.0, environ={})

    assert status == EXIT_TAINTED
    assert {storage.job_reader.get(job_id).status for job_id in ids} == {JobStatus.DEAD}


def test_a_stuck_heartbeat_ends_it_without_a_grace(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: its jobs run elsewhere by then."""
    release = threading.Event()
    beat = type(storage.workers).beat
    calls: list[object] = []

    def hang(*arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            release.wait(60)
        beat(*arguments, **named)

    graces: list[float] = []
    shut_down = RuntimeHandle.shutdown_graceful

    def note(handle: RuntimeHandle, grace_s: float) -> object:
        graces.append(grace_s)
        return shut_down(handle, 0.0)

    held = HeldTask()
    add(storage, "held")
    monkeypatch.setattr(type(storage.workers), "beat", hang)
    monkeypatch.setattr(RuntimeHandle, "shutdown_graceful", note)
    runtime = runtime_of(storage, registry_of(held), lease_s=1.0)

    status = run_in_foreground(runtime, grace_s=600.0, environ={})
    release.set()

    assert (status, graces) == (EXIT_TAINTED, [0.0])


def test_a_dispatcher_that_is_gone_ends_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat would renew jobs of which nobody writes how they end."""
    monkeypatch.setattr(Dispatcher, "_run", lambda _: None)

    status = run_in_foreground(runtime_of(storage), grace_s=600.0, environ={})

    assert status == EXIT_TAINTED
    assert storage.workers.all() == []


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("text", ["", "no number", "-1", "999999"])
def test_a_pipe_that_is_none_is_ignored(text: str) -> None:
    """A task may start a program that inherits the variable, but not the pipe."""
    assert parent_pipe({PARENT_PIPE_VARIABLE: text}) is None


@pytest.mark.usefixtures("backend")
def test_only_a_pipe_is_taken_for_one() -> None:
    with open(os.devnull, "rb") as file:  # noqa: PTH123  # its number is what counts
        assert parent_pipe({PARENT_PIPE_VARIABLE: str(file.fileno())}) is None
    assert parent_pipe({}) is None


def test_a_burst_ends_when_nothing_is_due_and_nothing_runs(storage: Storage) -> None:
    held, late = HeldTask(), from_micros(SystemClock().now_us()) + timedelta(hours=1)
    running_id, later_id = add(storage, "held"), add(storage, "held", run_at=late)

    def let_go() -> None:
        held.wait_for_start()
        follow_up_ids.append(add(storage, "held"))
        held.release.set()

    follow_up_ids: list[str] = []
    helper = once_registered(storage, let_go)
    status = run_in_foreground(
        runtime_of(storage, registry_of(held), threads=1), grace_s=0.0, burst=True
    )
    helper.join()

    read = storage.job_reader.get
    assert status == 0
    assert read(running_id).status is JobStatus.DONE
    assert read(follow_up_ids[0]).status is JobStatus.DONE
    assert (read(later_id).status, read(later_id).attempts) == (JobStatus.PENDING, 0)


def test_a_burst_waits_for_a_database_that_is_away(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool | Exception] = [
        StorageUnavailableError("away"),
        True,
        False,
        False,
    ]

    def has_work(*_: object) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(JobReader, "has_work", has_work)

    assert run_in_foreground(runtime_of(storage), grace_s=0.0, burst=True) == 0
    assert answers == []
