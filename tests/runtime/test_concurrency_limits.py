"""Workers that run only so many jobs of a task at once."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.errors import StorageOutcomeUnknownError, StorageUnavailableError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import Done, Postponed, Snooze
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.run.execution import Execution, Runner, TaskEnvironment
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.limits import ConcurrencyLimits
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.backends import each_backend
from tests.support.clocks import MovingClock
from tests.support.jobs import finish
from tests.support.runtimes import (
    NO_RATE_LIMITS,
    WORKER_ID,
    HeldTask,
    QuickTask,
    add,
    claimed,
    registry_of,
    running,
    wait_for_status,
)
from tests.support.waiting import wait_until


class Meter:
    """A task that notes how many of its runs are under way for each account."""

    kind = "metered"
    timeout_s = None

    def __init__(self, concurrency: ConcurrencyLimit) -> None:
        self.concurrency = concurrency
        self.most: Counter[int] = Counter()
        self._now: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._pause = threading.Event()

    def run(self, context: object, payload: str) -> Done:
        del context
        account = cast("dict[str, int]", load_text(payload))["account_id"]
        with self._lock:
            self._now[account] += 1
            self.most[account] = max(self.most[account], self._now[account])
        self._pause.wait(0.005)
        with self._lock:
            self._now[account] -= 1
        return Done()


def test_each_account_has_its_own_permits_over_all_workers(storage: Storage) -> None:
    task = Meter(ConcurrencyLimit(2, "account_id"))
    ids = [
        add(storage, "metered", payload=f'{{"account_id":{number % 3}}}')
        for number in range(90)
    ]

    with contextlib.ExitStack() as stack:
        for _ in range(3):
            registry = registry_of(cast("Any", task))
            stack.enter_context(running(storage, registry, threads=6))
        for job_id in ids:
            wait_for_status(storage, job_id, JobStatus.DONE)

    assert task.most == {0: 2, 1: 2, 2: 2}
    assert {storage.job_reader.get(each).attempts for each in ids} == {1}


def test_a_job_without_a_permit_leaves_its_slot_and_comes_back_when_one_is_free(
    storage: Storage,
) -> None:
    held = HeldTask(concurrency=ConcurrencyLimit(1))
    with running(storage, registry_of(held, QuickTask("free")), threads=2):
        first = add(storage, "held")
        held.wait_for_start()
        second = add(storage, "held")
        wait_until(
            lambda: storage.job_reader.get(second).throttle_attempts, "turned away"
        )
        wait_for_status(storage, add(storage, "free"), JobStatus.DONE)
        assert len(held.contexts) == 1
        held.release.set()
        for job_id in (first, second):
            wait_for_status(storage, job_id, JobStatus.DONE)

    job = storage.job_reader.get(second)
    assert (job.attempts, job.throttle_attempts, job.error_history) == (1, 0, ())


def test_a_task_without_a_limit_asks_for_no_permit(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        ConcurrencyLimits, "acquire", lambda *given: asked.append(given)
    )

    with running(storage, registry_of(QuickTask())):
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)

    assert asked == []


def runner_of(registry: TaskRegistry, limits: ConcurrencyLimits) -> Runner:
    return Runner(
        registry,
        environment=TaskEnvironment(
            WORKER_ID, MovingClock(), cast("Any", None), NO_RATE_LIMITS
        ),
        scope=contextlib.nullcontext,
        concurrency=limits,
    )


class BrokenLimits:
    """Cannot tell whether another job may run."""

    def acquire(self, *given: object) -> bool:
        del given
        raise StorageUnavailableError("gone")


def test_a_job_waits_when_nobody_knows_whether_there_is_a_permit() -> None:
    """It neither runs beside too many others nor loses an attempt."""
    task = QuickTask(concurrency=ConcurrencyLimit(1))
    runner = runner_of(registry_of(task), cast("ConcurrencyLimits", BrokenLimits()))

    outcome = runner.run(Execution(claimed(kind="quick"), 0.0))

    assert isinstance(outcome, Snooze)
    assert task.job_ids == []


class ForgetfulLimits:
    """Admits a job, and loses the answer."""

    def __init__(
        self, limits: ConcurrencyLimits, meanwhile: Callable[[], object]
    ) -> None:
        self._limits = limits
        self._meanwhile = meanwhile

    def acquire(self, *given: Any) -> bool:
        assert self._limits.acquire(*given)
        self._meanwhile()
        raise StorageOutcomeUnknownError


@each_backend
def test_a_permit_whose_answer_was_lost_goes_to_the_next_job(storage: Storage) -> None:
    registry = registry_of(QuickTask(concurrency=ConcurrencyLimit(1)))
    for _ in range(2):
        add(storage, "quick")
    first, second = storage.jobs.claim("default", WORKER_ID, 2)

    def turn_away() -> None:
        assert not storage.concurrency.acquire(second, WORKER_ID, "quick", 1)
        assert finish(storage, second, Postponed(60.0), owner=WORKER_ID)

    limits = ForgetfulLimits(storage.concurrency, turn_away)
    runner = runner_of(registry, cast("ConcurrencyLimits", limits))
    execution = Execution(first, 0.0)
    update = OutcomeMapper(QueueSettings, None).update(execution, runner.run(execution))
    assert update is not None
    assert storage.jobs.finish(WORKER_ID, [update]) == []

    assert [job.id for job in storage.jobs.claim("default", WORKER_ID)] == [second.id]


def test_a_damaged_payload_is_the_task_s_to_refuse(storage: Storage) -> None:
    forge = ForgeJobs()

    @forge.task(max_concurrent=1, key="account_id")
    def sync(account_id: int) -> None:
        raise AssertionError(account_id)

    with running(storage, forge.registry):
        job = wait_for_status(
            storage, add(storage, "sync", payload="[]"), JobStatus.DEAD
        )

    assert job.last_error == "bad arguments: the payload is not a JSON object"
