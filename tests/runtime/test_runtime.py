"""A whole worker in this process, on each backend."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, cast

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    ConfigurationError,
    InvalidInputError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.claims import ClaimBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.outcomes import Done, Failed, Throttled
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE, CancelReason, JobUpdate
from flask_forge_jobs.reentry import one_call
from flask_forge_jobs.runtime import claim_schedule
from flask_forge_jobs.runtime.loop import rounds
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.loop.rounds import GIVE_BACK_AFTER_S
from flask_forge_jobs.runtime.prefetch import MAX_BYTES_AHEAD
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.deadlines import left_s
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import KindPrefixRouter
from tests.support.backends import each_backend, sqlite_first
from tests.support.costs import no_hang
from tests.support.jobs import having, rescue_all
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import in_child
from tests.support.runtimes import (
    LIMIT_S,
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    threads_named,
    wait_for_error,
    wait_for_status,
)
from tests.support.sql import UNDER_TEST, Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

# Short leases are for tests that need one to pass.
LEASE_S = 1.5
# Far below the poll of 5 s, far above what a push takes.
GRACE_S = 20.0


@pytest.fixture
def elsewhere(database_settings: DatabaseSettings) -> Iterator[Storage]:
    """The same database as another process opens it."""
    with contextlib.closing(open_storage(database_settings)) as storage:
        yield storage


def status_of(storage: Storage, job_id: str) -> JobStatus:
    return storage.job_reader.get(job_id).status


# -- declaring and starting ----------------------------------------------------------


def test_start_without_declared_queues_errors(storage: Storage) -> None:
    with pytest.raises(ConfigurationError, match="declare at least one queue"):
        QueueRuntime(storage, TaskRegistry()).with_queues(["", " "]).start()


def test_start_with_comma_in_queue_name_errors(storage: Storage) -> None:
    """All names are checked before the first queue is registered."""
    with pytest.raises(InvalidInputError):
        QueueRuntime(storage, TaskRegistry()).with_queues(["fine", "a,b"]).start()

    assert storage.queues.all() == []


def test_start_with_a_name_without_end_errors(storage: Storage) -> None:
    runtime = QueueRuntime(storage, TaskRegistry()).with_queues(["fine"])

    with pytest.raises(InvalidInputError, match="1 to 255 characters, not 256"):
        runtime.with_worker_name("w" * 256).start()

    assert storage.queues.all() == []


def test_with_queues_drops_blanks_and_repetitions(storage: Storage) -> None:
    runtime = QueueRuntime(storage, TaskRegistry())

    runtime.with_queues(["b", " a ", "", "b"]).with_worker_name("  ")

    assert runtime.plan.worker.queue_names == ("b", "a")
    assert runtime.plan.worker.name is None


def test_start_registers_the_declared_queues(storage: Storage) -> None:
    storage.queues.ensure("old", 3)

    with running(storage, TaskRegistry(), queues=["old", "new"]):
        workers = {each.name: each.max_workers for each in storage.queues.all()}

    assert workers == {"old": 3, "new": 64}


def test_a_runtime_starts_once_and_each_start_has_its_own_id(storage: Storage) -> None:
    runtime = QueueRuntime(storage, TaskRegistry()).with_queues(["default"])
    handle = runtime.start()
    with pytest.raises(ConfigurationError, match="started before"):
        runtime.start()
    handle.shutdown_graceful(0.0)

    with running(storage, TaskRegistry()) as other:
        assert other.worker_id != handle.worker_id


def test_start_names_the_kinds_nobody_can_run(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    add(storage, "quick")
    add(storage, "renamed")

    with running(storage, registry_of(QuickTask())):
        pass

    assert "queue default has jobs without a task: renamed" in caplog.text


def test_a_start_that_fails_leaves_nothing_behind(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("no listener")

    runtime = QueueRuntime(storage, TaskRegistry()).with_queues(["default"])
    with monkeypatch.context() as patched:
        patched.setattr(type(storage.database), "listen", refuse)
        with pytest.raises(StorageUnavailableError, match="no listener"):
            runtime.start()

    wait_until(lambda: not new_threads(before), "its threads have ended")
    assert storage.workers.all() == []
    assert storage.workers.slots() == []
    # What was wrong may be right now; nothing of the first try is in the way.
    runtime.start().shutdown_graceful(0.0)


@pytest.mark.parametrize("failing", ["supervisor", "heartbeat", "upkeep", "leader"])
def test_a_thread_that_cannot_start_stops_the_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = set(threading.enumerate())
    start = Service.start

    def start_or_refuse(service: Service) -> None:
        if service.name == failing:
            raise RuntimeError("can't start new thread")
        start(service)

    monkeypatch.setattr(Service, "start", start_or_refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        QueueRuntime(storage, TaskRegistry()).with_queues(["default"]).start()

    wait_until(lambda: not new_threads(before), "its threads have ended")
    assert storage.workers.all() == []


def new_threads(before: set[threading.Thread]) -> list[str]:
    """Our threads that were not there; a pool's watchdog belongs to the storage."""
    return [
        each.name
        for each in threads_named("forge-jobs")
        if each not in before and each.name != "forge-jobs-watchdog"
    ]


def test_an_idle_worker_has_few_threads_besides_its_slots(storage: Storage) -> None:
    """With the main thread and the watchdog of a pool they are eight at most."""
    before = set(threading.enumerate())

    with running(storage, registry_of(QuickTask()), threads=4):
        names = sorted(new_threads(before))

    assert names == [
        "forge-jobs-dispatcher", "forge-jobs-heartbeat", "forge-jobs-leader",
        "forge-jobs-supervisor", "forge-jobs-upkeep", "forge-jobs-wake",
    ]  # fmt: skip


# -- running -------------------------------------------------------------------------


def test_runtime_runs_one_noop_echo_job_to_done(storage: Storage) -> None:
    registry = TaskRegistry()
    registry.add(NoopEcho())
    job_id = storage.jobs.enqueue(NewJob("noop_echo", '{"sleep_ms":1}')).id

    with running(storage, registry) as handle:
        job = wait_for_status(storage, job_id, JobStatus.DONE)
        has_ended = handle.shutdown_graceful(5.0)

    assert has_ended
    assert (job.attempts, job.slot_id, job.last_error) == (1, None, None)


def test_workers_only_run_their_declared_queues(storage: Storage) -> None:
    """Two runtimes with disjoint queues: each job ran on the host of its queue."""
    hosts: dict[str, set[str]] = {"left": set(), "right": set()}
    task = QuickTask(
        "quick", lambda context: hosts[context.queue_name].add(context.worker_id)
    )
    with (
        running(storage, registry_of(task), queues=["left"]) as left,
        running(storage, registry_of(task), queues=["right"]) as right,
    ):
        ids = [add(storage, "quick", queue=name) for name in ("left", "right") * 10]
        for job_id in ids:
            wait_for_status(storage, job_id, JobStatus.DONE)

    assert hosts == {"left": {left.worker_id}, "right": {right.worker_id}}


def test_a_raising_task_ends_failed_and_its_slot_is_reused(storage: Storage) -> None:
    """A9: one slot, and each of these would have taken it down."""

    def recurse() -> None:
        recurse()

    def chain() -> None:
        raise RuntimeError("top") from KeyError("bottom")

    def raising(error: BaseException) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    works: dict[str, Callable[[], None]] = {
        "exit": raising(SystemExit(1)),
        "interrupt": raising(KeyboardInterrupt()),
        "generator": raising(GeneratorExit()),
        "bare": raising(BaseException("bare")),
        "recursion": recurse,
        "chain": chain,
    }
    forge = ForgeJobs()
    for kind, work in works.items():
        forge.task(kind=kind, max_attempts=1)(work)
    forge.task(kind="fine")(lambda: None)

    with running(storage, forge.registry, threads=1) as handle:
        ids = {kind: add(storage, kind, max_attempts=1) for kind in works}
        fine = wait_for_status(storage, add(storage, "fine"), JobStatus.DONE)
        ended = {
            kind: wait_for_status(storage, job_id, JobStatus.DEAD)
            for kind, job_id in ids.items()
        }
        assert handle.running() == []

    assert fine.attempts == 1
    assert {kind: job.last_error for kind, job in ended.items()} == {
        "exit": "SystemExit: 1",
        "interrupt": "KeyboardInterrupt",
        "generator": "GeneratorExit",
        "bare": "BaseException: bare",
        "recursion": ended["recursion"].last_error,
        "chain": "RuntimeError: top: KeyError: 'bottom'",
    }
    assert "recursion" in (ended["recursion"].last_error or "")
    assert all(job.heartbeat_at is None for job in ended.values())


def test_an_error_that_cannot_be_changed_ends_its_job_as_chosen(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    @dataclasses.dataclass(frozen=True)
    class RefusedError(Exception):
        code: str

    forge = ForgeJobs()

    @forge.task(kind="charge", dead_on=RefusedError)
    def charge() -> None:
        raise RefusedError("insufficient_funds")

    with running(storage, forge.registry):
        job = wait_for_status(storage, add(storage, "charge"), JobStatus.DEAD)

    assert (job.attempts, job.last_error) == (1, "RefusedError: insufficient_funds")
    assert "a slot thread died" not in caplog.text


def test_a_failed_job_is_tried_again_after_its_delay(storage: Storage) -> None:
    outcomes: Iterator[Any] = iter([Failed("first", retry_after_s=0), Done()])
    task = QuickTask("quick", lambda _: next(outcomes))
    with running(storage, registry_of(task)):
        job_id = add(storage, "quick")
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert job.attempts == 2
    assert [entry.message for entry in job.error_history] == ["first"]


@each_backend
def test_a_job_that_becomes_due_starts_whichever_queue_it_is_in(
    storage: Storage,
) -> None:
    """Also behind a queue that is asked first, for all free slots."""
    options: dict[str, Any] = {"queues": ("a", "b"), "threads": 1}
    with running(storage, registry_of(QuickTask()), **options):
        for name in "aabb":
            job_id = add(storage, "quick", queue=name, delay=0.2)
            wait_for_status(storage, job_id, JobStatus.DONE)


NO_TASKS = (
    "os.system", "os:system", "subprocess.run", "builtins.eval", "__import__('os')",
    "tests.support.jobs.run", "noop_echo\u2028INFO fake", "\u202eohce_poon",
    "flask_forge_jobs.tasks.bundled.noop_echo:NoopEcho",
)  # fmt: skip


def test_sec_S33_S41_a_kind_is_looked_up_and_nothing_else(
    storage: Storage, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever code a row names; and it stays within one line of the log."""
    ids = {
        kind: storage.jobs.enqueue(NewJob("k", '["touch /tmp/x"]')).id
        for kind in NO_TASKS
    }
    for kind, job_id in ids.items():
        # Some of them nobody could enqueue.
        sql.run("UPDATE forge_job SET kind = ? WHERE id = ?", kind, job_id)
    registry = TaskRegistry()
    registry.add(NoopEcho())

    with running(storage, registry):
        for kind, job_id in ids.items():
            job = wait_for_error(storage, job_id)
            assert job.last_error == one_line(f"no task registered for kind: {kind}")

    said = [text for text in caplog.messages if "task" in text]
    assert len(said) > len(NO_TASKS)
    assert [text for text in caplog.messages if len(text.splitlines()) > 1] == []
    assert "\u202e" not in caplog.text


def test_a_kind_that_no_worker_knows_waits_and_spends_no_attempt(
    storage: Storage,
) -> None:
    job_id = add(storage, "gone", max_attempts=1)
    with running(storage, TaskRegistry()):
        job = wait_for_error(storage, job_id)

    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)
    assert job.last_error == "no task registered for kind: gone"
    assert job.error_history == ()
    assert job.scheduled_at > job.enqueued_at


def test_a_task_can_enqueue_follow_up_jobs(storage: Storage) -> None:
    followers: list[str] = []

    def work(context: Any) -> Done:
        followers.append(context.enqueue(NewJob("next")).id)
        return Done()

    tasks = registry_of(QuickTask("first", work), QuickTask("next"))
    with running(storage, tasks):
        wait_for_status(storage, add(storage, "first"), JobStatus.DONE)
        wait_for_status(storage, followers[0], JobStatus.DONE)


def test_the_router_is_asked_for_jobs_that_name_no_queue(storage: Storage) -> None:
    followers: list[str] = []

    def work(context: Any) -> Done:
        followers.append(context.enqueue(NewJob("gh_follow")).id)
        return Done()

    runtime = QueueRuntime(
        storage,
        registry_of(QuickTask("slack_ask", work), QuickTask("gh_follow")),
        router=KindPrefixRouter(),
        threads=1,
    ).with_queues(["slack", "gh"])
    first = runtime.enqueue(NewJob("slack_ask"))
    assert first.queue_name == "slack"
    assert runtime.enqueue(NewJob("slack_ask", queue_name="idle")).queue_name == "idle"
    handle = runtime.start()
    try:
        assert handle.enqueue(NewJob("gh_follow")).queue_name == "gh"
        wait_for_status(storage, first.id, JobStatus.DONE)
        follower = wait_for_status(storage, followers[0], JobStatus.DONE)
    finally:
        handle.shutdown_graceful()

    assert follower.queue_name == "gh"


@sqlite_first
def test_the_registry_shows_what_a_slot_does(storage: Storage, held: HeldTask) -> None:
    with running(storage, registry_of(held), threads=1, name="left") as handle:
        job_id = add(storage, "held")
        held.wait_for_start()
        wait_until(
            lambda: (
                [each.current_job_id for each in storage.workers.slots()] == [job_id]
            ),
            "the slot shows its job",
        )
        (slot,) = storage.workers.slots()
        (worker,) = storage.workers.all()
        assert storage.job_reader.get(job_id).slot_id == slot.slot_id

    assert slot.slot_id == f"default-0-{handle.worker_id}-0"
    assert (worker.worker_id, worker.worker_name) == (handle.worker_id, "left")


# -- waking up -----------------------------------------------------------------------


@pytest.fixture
def _nobody_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not woken does not see a job before the test has failed."""
    for name in ("POLL_WITH_PUSH_S", "POLL_WITHOUT_PUSH_S"):
        monkeypatch.setattr(claim_schedule, name, 10 * LIMIT_S)


@pytest.mark.usefixtures("_nobody_polls")
def test_a_job_from_elsewhere_is_picked_up_without_polling(
    storage: Storage, elsewhere: Storage
) -> None:
    with running(storage, registry_of(QuickTask())) as handle:
        wait_until(handle._parts.schedule.is_pushing, "wake-ups arrive by themselves")
        for _ in range(5):
            wait_for_status(storage, add(elsewhere, "quick"), JobStatus.DONE)


@pytest.mark.usefixtures("_nobody_polls")
def test_every_queue_of_a_worker_is_woken(storage: Storage, elsewhere: Storage) -> None:
    """None of several queues has to wait for the poll because of the others."""
    queues = ["a", "b", "c", "d"]
    with running(storage, registry_of(QuickTask()), queues=queues, threads=1) as handle:
        wait_until(handle._parts.schedule.is_pushing, "wake-ups arrive by themselves")
        for _ in range(3):
            for name in queues:
                job_id = add(elsewhere, "quick", queue=name)
                wait_for_status(storage, job_id, JobStatus.DONE)


# -- settings at run time ------------------------------------------------------------


def test_max_workers_is_followed_at_run_time(storage: Storage, held: HeldTask) -> None:
    storage.queues.ensure("default", 1)
    with running(storage, registry_of(held)) as handle:
        ids = [add(storage, "held") for _ in range(3)]
        held.wait_for_start()
        before = len(handle.running())

        storage.queues.change("default", {"max_workers": 2})
        held.wait_for_start()
        after = len(handle.running())
        held.release.set()
        for job_id in ids:
            wait_for_status(storage, job_id, JobStatus.DONE)

    assert (before, after) == (1, 2)


def test_shrinking_leaves_running_jobs_alone(storage: Storage, held: HeldTask) -> None:
    """They finish; nothing new starts above the limit."""
    with running(storage, registry_of(held), grace_s=GRACE_S) as handle:
        ids = [add(storage, "held") for _ in range(2)]
        held.wait_for_start(2)
        storage.queues.change("default", {"max_workers": 1})
        wait_until(
            lambda: (
                handle._parts.handover.demand({"default"}) == {}
                and handle._parts.settings["default"].max_workers == 1
            ),
            "the limit has arrived",
        )

        cancelled = [context.cancel.is_cancelled for context in held.contexts]
        held.release.set()
        jobs = [wait_for_status(storage, job_id, JobStatus.DONE) for job_id in ids]

    assert cancelled == [False, False]
    assert [job.attempts for job in jobs] == [1, 1]


@sqlite_first
def test_pausing_leaves_the_running_job_and_starts_no_other(
    storage: Storage, held: HeldTask
) -> None:
    with running(storage, registry_of(held, QuickTask()), grace_s=GRACE_S) as handle:
        job_id = add(storage, "held")
        held.wait_for_start()
        storage.queues.change("default", {"paused": True})
        wait_until(
            lambda: handle._parts.settings["default"].paused, "the pause has arrived"
        )
        waiting = add(storage, "quick")

        held.release.set()
        job = wait_for_status(storage, job_id, JobStatus.DONE)
        still = storage.job_reader.get(waiting)
        storage.queues.change("default", {"paused": False})
        wait_for_status(storage, waiting, JobStatus.DONE)

    assert job.attempts == 1
    assert (still.status, still.attempts) == (JobStatus.PENDING, 0)


# -- prefetch ------------------------------------------------------------------------


def buffered(handle: RuntimeHandle) -> int:
    """Claimed jobs that have not started."""
    return sum(
        len(queue.buffer) for queue in handle._parts.handover._slots.queues.values()
    )


def claimed_ahead(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[str]]:
    """Have a worker with one thread claim quick jobs behind one that holds it."""
    # However long they take on a busy machine.
    monkeypatch.setattr("flask_forge_jobs.runtime.prefetch.HORIZON_S", 1000.0)
    for _ in range(20):
        add(storage, "quick")
    wait_until(
        lambda: storage.job_reader.statistics()["default"].counts.done >= 20,
        "the run time of quick jobs is known",
    )
    jobs = [NewJob("held"), *[NewJob("quick") for _ in range(10)]]
    blocking, *behind = [each.id for each in storage.jobs.enqueue_many(jobs)]
    held.wait_for_start()
    return blocking, behind


def test_jobs_claimed_behind_a_slow_one_go_back_unspent(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(storage, registry_of(held, QuickTask()), threads=1):
        _, behind = claimed_ahead(storage, held, monkeypatch)

        jobs = [
            wait_for_status(storage, job_id, JobStatus.PENDING) for job_id in behind
        ]
        # Somebody else can run them, long before the slow job ends.
        with running(storage, registry_of(QuickTask()), threads=1):
            done = [
                wait_for_status(storage, job_id, JobStatus.DONE) for job_id in behind
            ]

    assert {job.attempts for job in jobs} == {0}
    assert {job.attempts for job in done} == {1}
    assert {len(job.error_history) for job in done} == {0}


def test_large_payloads_are_claimed_ahead_in_part(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker would hold more than a hundred of them."""
    monkeypatch.setattr(
        "flask_forge_jobs.runtime.loop.rounds.GIVE_BACK_AFTER_S", 1000.0
    )
    # However long they take on a busy machine: only their size keeps them back.
    monkeypatch.setattr("flask_forge_jobs.runtime.prefetch.HORIZON_S", 1000.0)
    payload = dump({"text": "x" * (MAX_PAYLOAD_BYTES - 20)})
    large = [NewJob("quick", payload)] * 24
    with running(storage, registry_of(held, QuickTask()), threads=1) as handle:
        storage.jobs.enqueue_many(large[:8])
        wait_until(
            lambda: storage.job_reader.statistics()["default"].counts.done == 8,
            "the run time and the size of the jobs are known",
        )
        storage.jobs.enqueue_many([NewJob("held"), *large])
        held.wait_for_start()
        wait_until(
            lambda: buffered(handle) and not handle._parts.handover.demand({"default"}),
            "no more jobs are claimed ahead",
        )
        count = buffered(handle)

    assert count * len(payload) <= MAX_BYTES_AHEAD


@pytest.mark.parametrize("way", ["stop", "pause"])
def test_jobs_claimed_ahead_go_back_at_a_stop_and_a_pause(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(
        "flask_forge_jobs.runtime.loop.rounds.GIVE_BACK_AFTER_S", 1000.0
    )
    assert GIVE_BACK_AFTER_S < 1.0
    tasks = registry_of(held, QuickTask())
    with running(storage, tasks, threads=1, grace_s=GRACE_S) as handle:
        blocking, behind = claimed_ahead(storage, held, monkeypatch)
        wait_until(lambda: buffered(handle), "jobs are claimed ahead")

        if way == "pause":
            storage.queues.change("default", {"paused": True})
        else:
            handle._parts.stop_claiming()
        jobs = [
            wait_for_status(storage, job_id, JobStatus.PENDING) for job_id in behind
        ]
        held.release.set()
        wait_for_status(storage, blocking, JobStatus.DONE)

    assert {job.attempts for job in jobs} == {0}


# -- cancelling ----------------------------------------------------------------------


def test_request_cancel_stops_running_handler_in_process(
    storage: Storage, held: HeldTask
) -> None:
    with running(storage, registry_of(held)) as handle:
        job_id = add(storage, "held")
        held.wait_for_start()

        was_found = handle.request_cancel(job_id)
        job = wait_for_status(storage, job_id, JobStatus.DEAD)

    assert was_found
    assert job.last_error == CANCELLED_MESSAGE


def test_request_cancel_returns_false_for_unknown_job(storage: Storage) -> None:
    with running(storage, TaskRegistry()) as handle:
        assert not handle.request_cancel("nobody")


def test_a_cancel_from_elsewhere_arrives_within_about_a_second(
    storage: Storage, elsewhere: Storage, held: HeldTask
) -> None:
    with running(storage, registry_of(held)):
        job_id = add(storage, "held")
        held.wait_for_start()

        elsewhere.job_admin.delete(job_id)
        job = wait_for_status(storage, job_id, JobStatus.DEAD, 8.0)  # before a beat

    assert job.last_error == CANCELLED_MESSAGE
    assert held.contexts[0].cancel.reason is CancelReason.USER


def test_work_that_is_done_stands_although_it_was_cancelled(
    storage: Storage, stubborn: HeldTask
) -> None:
    with running(storage, registry_of(stubborn)) as handle:
        job_id = add(storage, "stubborn")
        stubborn.wait_for_start()
        handle.request_cancel(job_id)

        stubborn.release.set()

        wait_for_status(storage, job_id, JobStatus.DONE)


# -- time limits ---------------------------------------------------------------------


def test_a_task_that_obeys_its_limit_fails(storage: Storage, held: HeldTask) -> None:
    with running(storage, registry_of(held)):
        job_id = add(storage, "held", timeout_s=0.1, max_attempts=1)
        job = wait_for_status(storage, job_id, JobStatus.DEAD)

    assert job.last_error == "timed out after 0.1s"
    assert held.contexts[0].cancel.reason is CancelReason.TIMEOUT


def test_a_task_that_ignores_its_limit_is_fenced_and_replaced(
    storage: Storage, stubborn: HeldTask
) -> None:
    """The late result changes nothing, and the slot goes on working."""
    tasks = registry_of(stubborn, QuickTask())
    with running(storage, tasks, threads=1, cancel_grace_s=0.1) as handle:
        job_id = add(storage, "stubborn", timeout_s=0.1, max_attempts=1)
        job = wait_for_status(storage, job_id, JobStatus.DEAD)
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        blocked = handle.abandoned_count

        stubborn.release.set()
        wait_until(lambda: not handle.abandoned_count, "the late result came")
        late = storage.job_reader.get(job_id)

    assert blocked == 1
    assert job.last_error == "timed out after 0.1s"
    assert (late.status, late.attempts) == (JobStatus.DEAD, 1)


def test_the_log_says_how_long_a_task_ran_that_ignored_its_limit(
    storage: Storage, stubborn: HeldTask, caplog: pytest.LogCaptureFixture
) -> None:
    with running(storage, registry_of(stubborn), cancel_grace_s=0.1):
        job_id = add(storage, "stubborn", timeout_s=0.1, max_attempts=1)
        wait_for_status(storage, job_id, JobStatus.DEAD)

        (line,) = [text for text in caplog.messages if text.startswith("job dead")]
        stubborn.release.set()

    (run_ms,) = re.findall(r"run_ms=(\S+)", line)
    assert 200 <= float(run_ms) < LIMIT_S * 1000


def test_a_time_limit_at_the_moment_of_success_leaves_one_end(storage: Storage) -> None:
    """B9."""
    task = QuickTask("edge", lambda context: (context.cancel.wait(0.02), Done())[1])
    with running(storage, registry_of(task), cancel_grace_s=0.0):
        ids = [
            add(storage, "edge", timeout_s=0.02 + ms / 1000, max_attempts=1)
            for ms in range(-2, 3)
            for _ in range(10)
        ]
        for job_id in ids:
            wait_until(
                lambda: (
                    status_of(storage, job_id)  # noqa: B023  # called at once
                    in (JobStatus.DONE, JobStatus.DEAD)
                ),
                "the job has ended",
            )
        jobs = [storage.job_reader.get(job_id) for job_id in ids]

    assert all(job.attempts == 1 for job in jobs)
    assert all((job.status is JobStatus.DEAD) == bool(job.last_error) for job in jobs)


# -- ownership -----------------------------------------------------------------------


def test_a_lost_job_is_not_finalised(
    storage: Storage, held: HeldTask, caplog: pytest.LogCaptureFixture
) -> None:
    """B2: the result of the second run is the one that stays."""
    with running(storage, registry_of(held), lease_s=LEASE_S):
        job_id = add(storage, "held")
        first = held.wait_for_start()
        wait_until(lambda: rescue_all(storage), "no beat came in between")

        wait_until(lambda: first.cancel.is_cancelled, "the loss was noticed")
        held.wait_for_start()
        held.release.set()
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert first.cancel.reason is CancelReason.LOST
    assert job.attempts == 2
    assert f"job {job_id} was lost to another worker" in caplog.text
    assert refused_runs(storage, "held") == 1


def refused_runs(storage: Storage, kind: str) -> int:
    """Return what ``/metrics`` shows of runs that had lost their jobs."""
    storage.flusher.flush()
    return storage.metrics.counters().jobs["default", kind].refused


def test_a_late_finish_is_refused_and_counted(
    storage: Storage, stubborn: HeldTask
) -> None:
    """I5: whoever finishes before the loss was noticed changes nothing either."""
    with running(storage, registry_of(stubborn), lease_s=3600.0):
        job_id = add(storage, "stubborn", max_attempts=1)
        stubborn.wait_for_start()
        rescue_all(storage)

        stubborn.release.set()
        wait_until(lambda: refused_runs(storage, "stubborn") == 1, "it was refused")
        job = storage.job_reader.get(job_id)

    assert job.status is JobStatus.DEAD
    assert job.last_error == "reaped after stale heartbeat"


def test_an_earlier_run_of_a_requeued_job_is_not_taken_for_the_later(
    storage: Storage, held: HeldTask
) -> None:
    """B4: both have the same owner and, as a requeue counts anew, the same attempt."""
    with running(storage, registry_of(held), lease_s=3600.0, threads=2):
        job_id = add(storage, "held", max_attempts=1)
        first = held.wait_for_start()
        rescue_all(storage)
        assert storage.job_admin.requeue(job_id)
        second = held.wait_for_start()

        wait_until(lambda: held.ended_count == 1, "the first run was told to stop")
        meanwhile = status_of(storage, job_id)
        held.release.set()
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert first.cancel.reason is CancelReason.LOST
    assert not second.cancel.is_cancelled
    assert meanwhile is JobStatus.IN_PROGRESS
    assert (job.attempts, refused_runs(storage, "held")) == (1, 1)


def test_a_crash_counts_again_only_against_what_really_ran(
    storage: Storage, sql: Sql, held: HeldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A10: jobs that a worker died under are never claimed before they can start."""
    monkeypatch.setattr(rounds, "GIVE_BACK_AFTER_S", 3600.0)
    ids = [add(storage, "held", max_attempts=10) for _ in range(5)]
    storage.jobs.claim("default", "died", len(ids))
    rescue_all(storage)
    sql.age(60.0)
    # A quick one comes first, so that there is a reason to claim ahead.
    add(storage, "quick", priority=-1)
    tasks = registry_of(held, QuickTask())
    with running(storage, tasks, threads=1, lease_s=LEASE_S) as handle:
        held.wait_for_start()
        wait_until(lambda: len(storage.jobs.running()) == 1, "the others went back")
        handle._parts.stop_claiming()  # else the next one starts when this is lost
        # As if the process had been killed now.
        wait_until(lambda: rescue_all(storage), "no beat came in between")
        jobs = [storage.job_reader.get(job_id) for job_id in ids]

    assert sorted(job.crashes for job in jobs) == [1, 1, 1, 1, 2]
    assert sorted(job.attempts for job in jobs) == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("failures", [0, 2])
def test_no_job_dies_without_its_last_run(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """In its last attempt, perhaps its only one, it waits in the queue for a slot."""
    monkeypatch.setattr(rounds, "GIVE_BACK_AFTER_S", 3600.0)
    ids = [add(storage, "held", max_attempts=failures + 1) for _ in range(5)]
    for _ in range(failures):
        failed = [
            JobUpdate(job, JobStatus.FAILED, delay_s=0.0, error="no")
            for job in storage.jobs.claim("default", "before", len(ids))
        ]
        storage.jobs.finish("before", failed)
    add(storage, "quick", priority=-1)
    with running(storage, registry_of(held, QuickTask()), threads=1, lease_s=LEASE_S):
        running_id = held.wait_for_start().job_id
        wait_until(lambda: len(storage.jobs.running()) == 1, "the others went back")
        # As if the process had been killed now.
        wait_until(lambda: rescue_all(storage), "no beat came in between")
        dead = {each for each in ids if status_of(storage, each) is JobStatus.DEAD}

    assert dead == {running_id}


def test_a_backlog_of_quick_jobs_holds_up_no_other_queue(storage: Storage) -> None:
    """What is claimed ahead of one queue takes no thread from another."""
    backlog = QuickTask("backlog", lambda _: time.sleep(0.001))
    other = QuickTask("other")
    storage.jobs.enqueue_many([NewJob("backlog", queue_name="busy")] * 10_000)
    options: dict[str, Any] = {"queues": ("busy", "calm"), "threads": 2}
    storage.queues.ensure("busy", 2)
    with running(storage, registry_of(backlog, other), **options):
        wait_until(lambda: len(backlog.job_ids) > 100, "the backlog is under way")
        job_id = add(storage, "other", queue="calm")
        wait_for_status(storage, job_id, JobStatus.DONE)
        left = storage.job_reader.total(having(JobStatus.PENDING, queue_name="busy"))

    assert left


@sqlite_first
def test_a_job_slower_than_the_lease_runs_once(
    storage: Storage, held: HeldTask
) -> None:
    """B1: nobody takes it while its process beats."""
    options: dict[str, Any] = {"lease_s": LEASE_S}
    with (
        running(storage, registry_of(held), **options) as first,
        running(storage, registry_of(held), **options),
    ):
        job_id = add(storage, "held")
        held.wait_for_start()
        started_at = time.monotonic()
        wait_until(
            lambda: (
                time.monotonic() - started_at > 2 * LEASE_S
                and first._parts.lease.is_fresh
            ),
            "two leases have passed",
        )
        held.release.set()
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert (job.attempts, job.crashes, len(held.contexts)) == (1, 0, 1)


class ForgetfulJobs:
    """The hot path, but the answer to the first claim is lost after its commit."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs
        self._has_forgotten = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    def exchange(self, *arguments: Any, **options: Any) -> ClaimBatch:
        if not self._has_forgotten:
            self._has_forgotten = True
            self._jobs.exchange(*arguments, **options)
        return self._jobs.exchange(*arguments, **options)


def test_a_claim_whose_answer_was_lost_comes_back(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """C4: nobody here knows of the jobs, and the database says that they are ours."""
    jobs = cast("JobQueue", ForgetfulJobs(storage.jobs))
    forgetful = copy(storage)
    forgetful.jobs = jobs
    ids = [add(storage, "quick") for _ in range(6)]
    task = QuickTask()
    with running(forgetful, registry_of(task), threads=3, lease_s=LEASE_S):
        ended = [wait_for_status(storage, job_id, JobStatus.DONE) for job_id in ids]

    assert caplog.text.count("the answer to the claim of") == 3
    assert sorted(task.job_ids) == sorted(ids)
    assert {job.attempts for job in ended} == {1}
    assert {job.crashes for job in ended} == {0}


@sqlite_first
def test_a_cool_down_longer_than_the_lease_leaves_the_rows_complete(
    storage: Storage,
) -> None:
    """A worker with nothing to do is not reaped by the others."""
    task = QuickTask("limited", lambda _: Throttled(120.0))
    options: dict[str, Any] = {"lease_s": LEASE_S, "threads": 1}
    with (
        running(storage, registry_of(task), name="left", **options),
        running(storage, registry_of(task), name="right", **options),
    ):
        job_id = add(storage, "limited")
        wait_until(lambda: task.job_ids, "the job was throttled")
        wait_for_status(storage, job_id, JobStatus.PENDING)
        first = {
            worker.worker_id: worker.heartbeat_at for worker in storage.workers.all()
        }
        wait_until(
            lambda: all(
                (worker.heartbeat_at - first[worker.worker_id]).total_seconds()
                > 2 * LEASE_S
                for worker in storage.workers.all()
            ),
            "two leases have passed",
        )
        workers, slots = storage.workers.all(), storage.workers.slots()

    assert {worker.worker_name for worker in workers} == {"left", "right"}
    assert {slot.worker_id for slot in slots} == set(first)
    assert {slot.queue_name for slot in slots} == {"default"}
    assert len(task.job_ids) == 1


@sqlite_first
def test_a_worker_with_a_short_lease_may_begin_slowly(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no job to lose yet, and a busy file is no reason to end."""
    left: list[float] = []
    beat = type(storage.workers).beat

    def noted(*arguments: Any, **named: Any) -> None:
        left.append(left_s(1000.0))
        beat(*arguments, **named)

    monkeypatch.setattr(type(storage.workers), "beat", noted)
    with running(storage, registry_of(QuickTask()), lease_s=LEASE_S):
        wait_until(lambda: len(left) > 1, "it beats again")

    assert left[0] == 1000.0
    assert left[1] < LEASE_S


@sqlite_first
def test_a_stuck_heartbeat_ends_the_claims(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: never a worker that others believe dead and that goes on claiming."""
    stuck, release = threading.Event(), threading.Event()
    beat = type(storage.workers).beat

    with running(storage, registry_of(QuickTask()), lease_s=LEASE_S) as handle:

        def hang(*arguments: Any, **named: Any) -> None:
            stuck.set()
            release.wait(LIMIT_S)
            beat(*arguments, **named)

        monkeypatch.setattr(type(storage.workers), "beat", hang)
        assert stuck.wait(LIMIT_S)
        wait_until(lambda: handle.is_stuck, "it is known to be stuck")
        wait_until(lambda: not handle._parts.lease.is_fresh, "the lease is over")
        # On a busy machine the healthy worker may win a race that should not be.
        assert not handle._parts.lease.is_in_force()
        job_id = add(storage, "quick")
        with running_after(storage, monkeypatch):
            wait_for_status(storage, job_id, JobStatus.DONE)
        release.set()


@contextlib.contextmanager
def running_after(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RuntimeHandle]:
    """Run a healthy worker that alone may take the job."""
    monkeypatch.undo()
    taken: list[str] = []

    def note(context: Any) -> Done:
        taken.append(context.worker_id)
        return Done()

    with running(storage, registry_of(QuickTask("quick", note))) as handle:
        yield handle
    assert taken == [handle.worker_id]


def test_nothing_is_claimed_without_the_parent(storage: Storage) -> None:
    """A6: the parent is process 1 by now."""
    runtime = QueueRuntime(storage, registry_of(QuickTask())).with_queues(["default"])
    handle = runtime.with_parent(os.getppid() + 1).start()
    job_id = add(storage, "quick")
    with running(storage, registry_of(QuickTask("other")), queues=["other"]):
        wait_for_status(storage, add(storage, "other", queue="other"), JobStatus.DONE)
    status = status_of(storage, job_id)
    handle.shutdown_graceful(0.0)

    assert status is JobStatus.PENDING


# -- a storage that fails ------------------------------------------------------------


@pytest.mark.parametrize("backend", ["postgres"])
def test_an_outcome_survives_dropped_connections(
    storage: Storage, database_settings: DatabaseSettings, held: HeldTask
) -> None:
    """Every session of the worker is ended under it."""
    sql = Sql(database_settings)
    with running(storage, registry_of(held)):
        job_id = add(storage, "held")
        held.wait_for_start()
        for _ in range(3):
            sql.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE {UNDER_TEST}"
            )
        held.release.set()
        job = wait_for_status(storage, job_id, JobStatus.DONE)
        # Wake-ups come back as well.
        wait_for_status(storage, add(storage, "held"), JobStatus.DONE)

    assert job.attempts == 1


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_outcome_survives_a_file_that_is_locked_for_long(
    database_settings: DatabaseSettings, held: HeldTask
) -> None:
    settings = dataclasses.replace(database_settings, busy_timeout_s=0.1)
    assert settings.path is not None
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(contextlib.closing(open_storage(settings)))
        job_id = add(storage, "held")  # first: a worker that starts writes, too
        handle = stack.enter_context(running(storage, registry_of(held)))
        held.wait_for_start()
        with contextlib.closing(sqlite3.connect(settings.path, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            held.release.set()
            wait_until(
                lambda: handle._parts.dispatcher._rounds.rest.is_resting,
                "the write has failed",
            )
            kept = {run.job_id for run in handle._parts.writer.runs()}
            other.rollback()
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert kept == {job_id}
    assert job.attempts == 1


# -- stopping ------------------------------------------------------------------------


def test_shutdown_lets_running_jobs_finish(storage: Storage, held: HeldTask) -> None:
    """The first phase waits; nothing waiting is begun."""
    with running(storage, registry_of(held), threads=1) as handle:
        first, second = add(storage, "held"), add(storage, "held")
        held.wait_for_start()
        stopping = threading.Thread(target=handle.shutdown_graceful, args=(GRACE_S,))
        stopping.start()
        wait_until(lambda: not handle._parts.lease.is_claiming, "the stop has begun")

        held.release.set()
        stopping.join(LIMIT_S)

    assert storage.job_reader.get(first).status is JobStatus.DONE
    waiting = storage.job_reader.get(second)
    assert (waiting.status, waiting.attempts) == (JobStatus.PENDING, 0)
    assert len(held.contexts) == 1


def test_shutdown_gives_back_what_stops_when_asked(
    storage: Storage, held: HeldTask
) -> None:
    """The attempt is unspent, there is no error, and it is due now."""
    with running(storage, registry_of(held)) as handle:
        job_id = add(storage, "held", max_attempts=1)
        held.wait_for_start()

        all_ended = handle.shutdown_graceful(0.0, last_call_s=LIMIT_S)

    job = storage.job_reader.get(job_id)
    assert all_ended
    assert held.contexts[0].cancel.reason is CancelReason.SHUTDOWN
    assert (job.status, job.attempts, job.last_error) == (JobStatus.PENDING, 0, None)
    assert job.error_history == ()


@sqlite_first
def test_shutdown_gives_back_what_does_not_stop(
    storage: Storage, stubborn: HeldTask
) -> None:
    with running(storage, registry_of(stubborn)) as handle:
        job_id = add(storage, "stubborn", max_attempts=1)
        stubborn.wait_for_start()

        all_ended = handle.shutdown_graceful(0.0)
        stubborn.release.set()

    job = storage.job_reader.get(job_id)
    assert not all_ended
    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)


def test_no_worker_claims_after_the_stop(storage: Storage, held: HeldTask) -> None:
    """Not even while the others of its slots still run."""
    with running(storage, registry_of(held, QuickTask()), threads=4) as handle:
        add(storage, "held")
        held.wait_for_start()
        stopping = threading.Thread(target=handle.shutdown_graceful, args=[LIMIT_S])
        stopping.start()
        wait_until(lambda: not handle._parts.lease.is_claiming, "it claims no more")

        late = [add(storage, "quick") for _ in range(5)]
        with running(storage, registry_of(QuickTask("x")), queues=["x"]):
            wait_for_status(storage, add(storage, "x", queue="x"), JobStatus.DONE)
        held.release.set()
        stopping.join()

    assert {status_of(storage, job_id) for job_id in late} == {JobStatus.PENDING}


def test_shutdown_leaves_no_trace(storage: Storage, held: HeldTask) -> None:
    """Rows, threads and descriptors."""
    with running(storage, registry_of(held)):
        pass
    threads = set(threading.enumerate())

    def work() -> None:
        with running(storage, registry_of(QuickTask()), grace_s=GRACE_S):
            wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)

    # The pool may grow meanwhile, but not by a connection for each of them.
    assert_leaks_nothing(work, 24)

    assert storage.workers.all() == []
    assert storage.workers.slots() == []
    wait_until(lambda: not new_threads(threads), "its threads have ended")


def test_a_forked_child_cannot_stop_the_worker(
    storage: Storage, held: HeldTask
) -> None:
    """As with ``try``/``finally`` around a fork: it would give back jobs that run."""
    with running(storage, registry_of(held)) as handle:
        job_id = add(storage, "held")
        wait_for_status(storage, job_id, JobStatus.IN_PROGRESS)

        def stop() -> None:
            assert not handle.shutdown_graceful(0.0)

        assert in_child(stop) == 0
        assert status_of(storage, job_id) is JobStatus.IN_PROGRESS
        assert storage.workers.all()
        held.release.set()
        wait_for_status(storage, job_id, JobStatus.DONE)

    assert storage.job_reader.get(job_id).attempts == 1


def test_shutdown_may_be_called_again_and_at_once(
    storage: Storage, held: HeldTask
) -> None:
    with running(storage, registry_of(held)) as handle:
        add(storage, "held")
        held.wait_for_start()

        results = run_together(
            [lambda: handle.shutdown_graceful(0.0, last_call_s=LIMIT_S)] * 4
        )
        again = handle.shutdown_graceful(0.0)

    assert results == [True] * 4
    assert again


def test_a_task_may_stop_its_own_worker(storage: Storage) -> None:
    """It cannot end before the stop does, so its job goes back."""
    told: list[bool] = []
    handles: list[RuntimeHandle] = []

    def stop(_: object) -> None:
        told.append(handles[0].shutdown_graceful(0.0))

    task = QuickTask("quick", stop)
    with running(storage, registry_of(task)) as handle:
        handles.append(handle)
        job_id = add(storage, "quick", max_attempts=1)
        wait_until(lambda: told, "it was told how the stop ended")

    job = storage.job_reader.get(job_id)
    assert told == [False]
    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)
    assert storage.workers.all() == []


def test_a_shutdown_that_failed_is_not_repeated(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has closed is closed, and its descriptors may be others' by now."""
    calls = []

    def fail(*arguments: object) -> None:
        calls.append(arguments)
        raise OSError("a bug")

    handle = QueueRuntime(storage, TaskRegistry()).with_queues(["default"]).start()
    with monkeypatch.context() as patched:
        patched.setattr(Handover, "close", fail)
        with pytest.raises(OSError, match="a bug"):
            handle.shutdown_graceful(0.0)
        again = handle.shutdown_graceful(0.0)
    handle._parts.handover.close(LIMIT_S)
    storage.workers.remove(handle.worker_id)

    assert again is False
    assert len(calls) == 1


def test_a_shutdown_that_a_signal_interrupts_may_be_repeated(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second Ctrl-C, for instance."""
    wait, close = Handover.wait_until_quiet, Handover.close
    interruptions = {wait, close}

    def interrupted(work: Callable[..., bool]) -> Callable[..., bool]:
        def interrupt(pool: Handover, timeout_s: float) -> bool:
            if work in interruptions:
                interruptions.remove(work)
                raise KeyboardInterrupt
            return work(pool, timeout_s)

        return interrupt

    handle = QueueRuntime(storage, registry_of(held)).with_queues(["default"]).start()
    job_id = add(storage, "held")
    held.wait_for_start()
    monkeypatch.setattr(Handover, "wait_until_quiet", interrupted(wait))
    monkeypatch.setattr(Handover, "close", interrupted(close))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            handle.shutdown_graceful(0.0)
    handle.shutdown_graceful(0.0)

    job = storage.job_reader.get(job_id)
    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)
    assert storage.workers.all() == []


def test_shutdown_ends_although_the_storage_is_gone(
    storage: Storage,
    held: HeldTask,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("flask_forge_jobs.runtime.worker._LONGEST_WRITE_S", 0.5)

    def refuse(*_: object, **__: object) -> None:
        raise StorageUnavailableError("gone")

    with running(storage, registry_of(held), lease_s=3600.0) as handle:
        job_id = add(storage, "held")
        held.wait_for_start()
        monkeypatch.setattr(type(storage.jobs), "exchange", refuse)
        monkeypatch.setattr(type(storage.workers), "remove", refuse)
        held.release.set()

        handle.shutdown_graceful(GRACE_S)

    assert (
        f"cannot store the outcomes of these jobs; they run again: {job_id}"
        in caplog.text
    )
    wait_until(
        lambda: not threads_named("forge-jobs-dispatcher"), "its thread has ended"
    )


def test_a_handler_that_stops_what_is_stopping_does_not_wait_for_itself(
    storage: Storage, held: HeldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a second SIGTERM, for instance; the first one goes on."""
    wait = Handover.wait_until_quiet
    answers: list[bool] = []

    def interrupted(pool: Handover, timeout_s: float) -> bool:
        if not answers:
            answers.append(handle.shutdown_graceful(LIMIT_S))
            held.release.set()
        return wait(pool, timeout_s)

    handle = QueueRuntime(storage, registry_of(held)).with_queues(["default"]).start()
    job_id = add(storage, "held")
    held.wait_for_start()
    monkeypatch.setattr(Handover, "wait_until_quiet", interrupted)
    with no_hang():
        answers.append(handle.shutdown_graceful(LIMIT_S))
    answers.append(handle.shutdown_graceful(0.0))

    assert answers == [False, True, True]
    assert status_of(storage, job_id) is JobStatus.DONE
    assert storage.workers.all() == []


def test_a_handler_amid_a_call_of_the_storage_leaves_the_stop_to_a_thread(
    storage: Storage, held: HeldTask
) -> None:
    """The outcomes could not be stored before that call has ended."""
    handle = QueueRuntime(storage, registry_of(held)).with_queues(["default"]).start()
    job_id = add(storage, "held")
    held.wait_for_start()

    with one_call():
        answer = handle.shutdown_graceful(LIMIT_S)
    held.release.set()

    assert answer is False
    assert handle.shutdown_graceful(LIMIT_S)  # waits for the other one
    assert status_of(storage, job_id) is JobStatus.DONE
