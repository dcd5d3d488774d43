"""A whole worker whose application raises where nobody expects it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from collections.abc import Iterator

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Throttled
from flask_forge_jobs.runtime.run.execution import Runner
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from tests.support.runtimes import (
    LIMIT_S,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_status,
)
from tests.support.waiting import wait_until


class TooFast(Throttled):
    """Forgets to call the class that it comes from."""

    def __init__(self, response: str) -> None:
        self.response = response


class NeedsRequest(logging.Filter):
    """A filter that works in the web process only."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        raise RuntimeError("working outside of request context")


@pytest.fixture
def broken_logging() -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.addFilter(NeedsRequest())
    logging.getLogger("flask_forge_jobs").addHandler(handler)
    yield
    logging.getLogger("flask_forge_jobs").removeHandler(handler)


@pytest.mark.usefixtures("broken_logging")
def test_an_outcome_that_cannot_be_used_holds_up_no_other(storage: Storage) -> None:
    """They end at one moment, so that one transaction has to write them all."""
    together = threading.Barrier(4)

    def throttle(_: TaskContext) -> object:
        together.wait(LIMIT_S)
        raise TooFast("429")

    def work(_: TaskContext) -> object:
        together.wait(LIMIT_S)
        return Done()

    good, bad = QuickTask("good", work), QuickTask("bad", throttle)
    good_ids = [add(storage, "good") for _ in range(3)]
    bad_id = add(storage, "bad", max_attempts=1)
    with running(storage, registry_of(good, bad), threads=4):
        jobs = [wait_for_status(storage, job_id, JobStatus.DONE) for job_id in good_ids]
        failed = wait_for_status(storage, bad_id, JobStatus.DEAD)

    assert [job.attempts for job in jobs] == [1, 1, 1]
    assert (sorted(good.job_ids), bad.job_ids) == (sorted(good_ids), [bad_id])
    assert "retry_after_s" in (failed.last_error or "")


@pytest.mark.usefixtures("broken_logging")
def test_work_that_is_done_stands_whatever_the_clean_up_and_its_log_raise(
    storage: Storage,
) -> None:
    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        yield
        raise OSError("the database of the application is away")

    ids = [add(storage, "quick") for _ in range(3)]
    with running(storage, registry_of(QuickTask()), threads=1, scope=scope):
        jobs = [wait_for_status(storage, job_id, JobStatus.DONE) for job_id in ids]

    assert [job.attempts for job in jobs] == [1, 1, 1]


def test_a_run_whose_thread_dies_has_failed_and_the_slot_is_replaced(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its process would renew the job for ever."""
    begun: list[object] = []
    run = Runner.run

    def die_once(*arguments: object) -> object:
        begun.append(arguments)
        if len(begun) == 1:
            raise SystemExit("raised by somebody else")
        return run(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Runner, "run", die_once)
    first, second = add(storage, "quick", max_attempts=1), add(storage, "quick")
    with running(storage, registry_of(QuickTask()), threads=1) as handle:
        failed = wait_for_status(storage, first, JobStatus.DEAD)
        wait_for_status(storage, second, JobStatus.DONE)
        wait_until(lambda: not handle.running(), "no run goes on")

    assert failed.last_error == "SystemExit: raised by somebody else"


def test_an_idle_thread_that_is_ended_is_replaced(storage: Storage) -> None:
    """A time limit of the application's own that comes after the task's end."""
    threads: list[int] = []
    task = QuickTask("quick", lambda _: threads.append(threading.get_ident()))
    with running(storage, registry_of(task), threads=1):
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        raised = ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(threads[0]), ctypes.py_object(SystemExit)
        )
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)

    assert raised == 1
    assert len(threads) == 2
