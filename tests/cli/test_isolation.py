"""Isolated tasks under a real worker, which loads the same application twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.model.batches import BatchState, NewBatch
from flask_forge_jobs.model.jobs import Job, JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.process_groups import STOP_SIGNALS
from tests.cli.conftest import LEASE_S
from tests.support.backends import long, postgres_first, sqlite_first
from tests.support.commands import Application
from tests.support.processes import is_alive
from tests.support.programs import Program
from tests.support.runtimes import add, wait_for_status
from tests.support.waiting import wait_until

# A factory, as most applications have one; what is isolated tells its process.
SHOP = """
import os, re, subprocess, sys, time
from flask import Flask, current_app
from flask_forge_jobs import ForgeJobs, TaskContext, signals

forge = ForgeJobs()

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

@forge.task(isolation="process", timeout_s=30)
def who() -> dict[str, object]:
    return {
        "pid": os.getpid(), "worker": os.getppid(), "app": current_app.name,
        "color": current_app.config["COLOR"],
        "channels": [name for name in os.environ if "CHANNEL" in name],
    }

@forge.task(isolation="process")
def hold(*, hogs: bool) -> None:
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say("HOLDING", helper.pid, os.getpid())
    if hogs:  # one call of C code that holds the interpreter's lock for ever
        re.match("(a+)+$", "a" * 64 + "b")
    time.sleep(600)

@forge.task
def quick() -> int:
    return os.getpid()

@forge.task(isolation="process")
def grow(context: TaskContext) -> list[object]:
    context.batch.add(quick.job())
    return [context.batch.counts.total, *(each.result for each in context.parents)]

def note(sender, context, **extra):
    say("TOLD", context.kind, os.getpid(), dict(context.carried))

def wait_for_the_test() -> None:
    say("LOADING", os.getpid())
    while not os.path.exists(os.environ["TEST_RELEASE_FILE"]):
        time.sleep(0.02)

def create_app(color: str) -> Flask:
    if "FORGE_JOBS_TASK_CHANNEL" in os.environ and "TEST_LOADS_SLOWLY" in os.environ:
        wait_for_the_test()
    app = Flask("shop", instance_path=os.environ["TEST_INSTANCE"])
    app.config.from_prefixed_env()
    app.config["COLOR"] = color
    forge.init_app(app)
    signals.job_started.connect(note, app, weak=False)
    return app
"""


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Application:
    application = Application(tmp_path, database_url, lease_s=LEASE_S)
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    application.environ["FLASK_APP"] = "shop:create_app('green')"
    return application


# One that sleeps is easier to end, so only the full tier has it.
@pytest.fixture(params=[long(False), True], ids=["sleeps", "hogs"])
def hogs(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def result_of(job: Job) -> dict[str, object]:
    found: dict[str, object] = json.loads(job.result or "")
    return found


def add_holding(storage: Storage, *, hogs: bool) -> str:
    return add(storage, "hold", payload=json.dumps({"hogs": hogs}))


def held_by(program: Program) -> list[int]:
    """Return the processes of a job that holds: the helper and the task's own."""
    line = program.wait_for("HOLDING")
    pids = [int(word) for word in line.split()[1:]]
    assert all(map(is_alive, pids))
    return pids


def assert_all_end(pids: list[int]) -> None:
    wait_until(lambda: not any(map(is_alive, pids)), "none is left")


@pytest.fixture
def stray_pids() -> Iterator[list[int]]:
    """Ids of processes that are killed at the end, whatever a test has found."""
    pids: list[int] = []
    yield pids
    for pid in filter(is_alive, pids):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.long
def test_an_isolated_task_is_told_of_where_it_runs(
    storage: Storage, shop: Application
) -> None:
    new = NewJob("who").with_carried('{"request_id":"r"}')
    with shop.worker() as worker:
        job_id = storage.jobs.enqueue(new).id
        job = wait_for_status(storage, job_id, JobStatus.DONE)
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        worker.wait_for("TOLD quick")

    lines = worker.lines_with("TOLD who")
    assert len(lines) == 1
    assert f"{result_of(job)['pid']} {{'request_id': 'r'}}" in lines[0]


@sqlite_first
def test_an_isolated_task_runs_in_the_same_application(
    storage: Storage, shop: Application
) -> None:
    with shop.worker() as worker:
        jobs = [
            wait_for_status(storage, add(storage, "who"), JobStatus.DONE)
            for _ in range(2)
        ]
        quick = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        status = worker.stop()

    first, second = map(result_of, jobs)
    assert first == second  # the process was used twice
    assert (first["app"], first["color"], first["channels"]) == ("shop", "green", [])
    assert first["worker"] == worker.process.pid
    assert quick.result == str(worker.process.pid)
    assert status == 0
    assert "Traceback" not in worker.text


@sqlite_first
def test_a_worker_that_stops_leaves_no_process(
    storage: Storage, shop: Application
) -> None:
    with shop.worker() as worker:
        job = wait_for_status(storage, add(storage, "who"), JobStatus.DONE)
        status = worker.stop()

    assert status == 0
    assert not is_alive(int(str(result_of(job)["pid"])))


@sqlite_first
def test_no_orphan_outlives_a_killed_worker(
    storage: Storage, shop: Application, stray_pids: list[int], *, hogs: bool
) -> None:
    """A6: neither a task that holds the interpreter's lock nor its helper."""
    with shop.worker() as worker:
        add_holding(storage, hogs=hogs)
        pids = held_by(worker)
        stray_pids += pids

        worker.signal(signal.SIGKILL)
        worker.process.wait()

        assert_all_end(pids)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_orphan_outlives_a_worker_whose_parent_was_killed(
    storage: Storage, shop: Application, stray_pids: list[int]
) -> None:
    with shop.start("worker", "--processes", "2", "--grace", "0") as parent:
        parent.wait_for(" serves ", 2)
        add_holding(storage, hogs=True)
        pids = held_by(parent)
        stray_pids += pids

        parent.signal(signal.SIGKILL)
        parent.process.wait()

        assert_all_end(pids)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_second_signal_leaves_no_orphan(
    storage: Storage, shop: Application, stray_pids: list[int]
) -> None:
    with shop.worker() as worker:
        add_holding(storage, hogs=True)
        pids = held_by(worker)
        stray_pids += pids

        worker.signal(signal.SIGTERM)
        worker.wait_for("stopping; ")
        worker.signal_again(signal.SIGTERM)
        worker.wait()

        assert_all_end(pids)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_signal_to_every_process_lets_the_job_finish(
    storage: Storage, shop: Application
) -> None:
    """A service manager may tell each process of a unit to stop."""
    with shop.worker("--grace", "0") as worker:
        add_holding(storage, hogs=False)
        pids = held_by(worker)
        for number in STOP_SIGNALS:
            os.kill(pids[1], number)
        os.kill(pids[0], signal.SIGINT)  # a program of the task ends as ever
        wait_until(lambda: not is_alive(pids[0]), "the helper has ended")
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        still_alive = is_alive(pids[1])
        status = worker.stop()

    assert still_alive
    assert status == 0
    assert_all_end(pids)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_signal_to_every_process_does_not_fail_a_job_whose_process_loads(
    storage: Storage, shop: Application
) -> None:
    shop.environ["FLASK_FORGE_JOBS_LEASE_S"] = "60"
    with shop.worker("--grace", "60", TEST_LOADS_SLOWLY="1") as worker:
        job_id = add(storage, "who", max_attempts=1)
        child = int(worker.wait_for("LOADING").split()[1])
        worker.signal(signal.SIGTERM)
        for number in STOP_SIGNALS:
            os.kill(child, number)
        worker.wait_for("stopping; ")
        shop.release()
        job = wait_for_status(storage, job_id, JobStatus.DONE)
        status = worker.wait()

    assert (status, job.attempts) == (0, 1)
    assert result_of(job)["pid"] == child


@postgres_first
def test_a_cancelled_task_that_holds_the_lock_is_killed(
    storage: Storage, shop: Application
) -> None:
    """B9: nothing in its process has to cooperate."""
    shop.environ["FLASK_FORGE_JOBS_CANCEL_GRACE_S"] = "0.2"
    with shop.worker() as worker:
        job_id = add_holding(storage, hogs=True)
        pids = held_by(worker)
        storage.job_admin.cancel(job_id)
        ended = wait_for_status(storage, job_id, JobStatus.DEAD)
        assert_all_end(pids)
        status = worker.stop()

    assert ended.last_error == "cancelled by user"
    assert status == 0


@pytest.mark.long
def test_an_isolated_task_knows_its_batch_and_its_parents(
    shop: Application, storage: Storage
) -> None:
    ids = storage.mint(2)
    jobs = [NewJob("quick"), NewJob("grow", after=ids[:1])]
    batch_id = storage.batches.create(NewBatch("report"), jobs, ids=ids).id
    with shop.start("worker", "--quiet"):
        child = wait_for_status(storage, ids[1], JobStatus.DONE)
        wait_until(
            lambda: storage.batches.get(batch_id).state is BatchState.DONE, "it ends"
        )

    parent = storage.job_reader.get(ids[0])
    assert json.loads(child.result or "") == [3, json.loads(parent.result or "")]
    assert storage.batches.get(batch_id).done == 3
