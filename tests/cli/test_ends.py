"""What a worker process leaves behind, however it ends."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import long
from tests.support.commands import Application
from tests.support.processes import is_alive
from tests.support.runtimes import add, wait_for_status
from tests.support.waiting import wait_until

AT_ONCE = 130
TAINTED = 75
CLEANS_UP = """
import atexit
atexit.register(lambda: say("CLEANED UP", os.getpid()))
"""
POOLS = """
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(2)

@forge.task
def pooled() -> int:
    return pool.submit(os.getpid).result()
"""
PATIENT = """
from flask_forge_jobs.runtime.run.isolation import TaskProcesses
close = TaskProcesses.close
TaskProcesses.close = lambda processes, _: close(processes, 20.0)
"""
LEAVES_A_THREAD = """
import threading

@forge.task
def thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=False).start()

@forge.task
async def executor() -> None:
    import asyncio
    await asyncio.to_thread(stubborn)
"""
HAS_A_CHILD = """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=[600])
child.start()
say("CHILD", child.pid)
"""
HANGS = """
from flask_forge_jobs.cli import worker
worker.EXIT_LIMIT_S = {limit_s}

@atexit.register
def hang() -> None:
    say("HANGS")
    while True:
        time.sleep(0.01)
"""

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def shop(application: Application) -> Application:
    """Programs that say that they clean up when they end."""
    extend(application, CLEANS_UP)
    return application


def extend(application: Application, text: str) -> None:
    with (application.folder / "shop.py").open("a", encoding="utf-8") as file:
        file.write(text)


# -- what the program has to do at its end -------------------------------------------


def test_a_burst_lets_the_program_clean_up(shop: Application) -> None:
    with shop.start("worker", "--burst") as worker:
        status = worker.wait()

    assert status == 0
    assert worker.lines_with("CLEANED UP") == [f"CLEANED UP {worker.process.pid}"]
    assert "Traceback" not in worker.text


def test_a_stop_and_a_second_signal_let_the_program_clean_up(
    storage: Storage, shop: Application
) -> None:
    """While a task that ignores all of it still runs."""
    for second, expected in (None, 0), (signal.SIGTERM, AT_ONCE):
        grace_s = "0" if second is None else "600"
        with shop.worker("--grace", grace_s) as worker:
            job_id = add(storage, "stubborn")
            worker.wait_for("STARTED")
            worker.signal(signal.SIGTERM)
            if second is not None:
                worker.wait_for("stopping; ")
                worker.signal_again(second)
            status = worker.wait()
        storage.job_admin.cancel(job_id)

        assert status == expected
        assert len(worker.lines_with("CLEANED UP")) == 1


def test_a_worker_full_of_stuck_tasks_lets_the_program_clean_up(
    storage: Storage, shop: Application
) -> None:
    for _ in range(4):
        add(storage, "stubborn", timeout_s=0.1, max_attempts=1)
    with shop.start("worker", "--threads", "4") as worker:
        status = worker.wait()

    assert status == TAINTED
    assert len(worker.lines_with("CLEANED UP")) == 1


def test_each_of_several_processes_lets_the_program_clean_up(shop: Application) -> None:
    with shop.start("worker", "--processes", "2") as parent:
        parent.wait_for(" serves ", 2)
        status = parent.stop()

    assert status == 0
    assert len(set(parent.lines_with("CLEANED UP"))) == 3
    assert parent.lines_with("CLEANED UP")[-1] == f"CLEANED UP {parent.process.pid}"


def test_children_of_a_killed_parent_let_the_program_clean_up(
    shop: Application,
) -> None:
    with shop.start("worker", "--processes", "2") as parent:
        parent.wait_for(" serves ", 2)
        parent.signal(signal.SIGKILL)
        parent.wait_for("CLEANED UP", 2)


def test_the_process_of_isolated_tasks_lets_the_program_clean_up(
    storage: Storage, shop: Application
) -> None:
    extend(
        shop,
        '\n@forge.task(isolation="process")\n'
        "def apart() -> int:\n    return os.getpid()\n",
    )
    extend(shop, PATIENT)
    with shop.worker() as worker:
        job = wait_for_status(storage, add(storage, "apart"), JobStatus.DONE)
        status = worker.stop()

    assert status == 0
    assert len(worker.lines_with("CLEANED UP")) == 2
    assert worker.lines_with(f"CLEANED UP {job.result}")


@pytest.mark.parametrize("options", [("--burst",), ()], ids=["burst", "stop"])
def test_no_process_of_a_pool_is_left(
    storage: Storage, shop: Application, options: tuple[str, ...]
) -> None:
    extend(shop, POOLS)
    job_id = add(storage, "pooled")
    with shop.start("worker", *options) as worker:
        pid = int(wait_for_status(storage, job_id, JobStatus.DONE).result or "")
        status = worker.wait() if options else worker.stop()

    assert status == 0
    wait_until(lambda: not is_alive(pid), "the pool's process has ended")
    assert len(worker.lines_with("CLEANED UP")) == 1


# -- what hinders it -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["thread", "executor"])
def test_a_thread_that_a_task_left_hinders_no_end(
    storage: Storage, shop: Application, kind: str
) -> None:
    """Neither one that is not a daemon, nor a thread of an executor."""
    extend(shop, LEAVES_A_THREAD)
    with shop.worker("--grace", "0") as worker:
        job_id = add(storage, kind)
        if kind == "thread":
            wait_for_status(storage, job_id, JobStatus.DONE)
        else:
            worker.wait_for("STARTED")
        status = worker.stop()

    assert status == 0
    assert len(worker.lines_with("CLEANED UP")) == 1


def test_a_thread_of_the_program_hinders_no_parent(shop: Application) -> None:
    extend(shop, "import threading\nthreading.Thread(target=threading.Event().wait)")
    extend(shop, ".start()\n")
    with shop.start("worker", "--processes", "2") as parent:
        parent.wait_for(" serves ", 2)
        status = parent.stop()

    assert status == 0
    assert len(parent.lines_with("CLEANED UP")) == 3


def test_a_clean_up_that_hangs_is_left_alone(shop: Application) -> None:
    extend(shop, HAS_A_CHILD + HANGS.format(limit_s=2))
    with shop.start("worker", "--burst") as worker:
        status = worker.wait()

    assert (status, len(worker.lines_with("HANGS"))) == (0, 1)
    (line,) = worker.lines_with("CHILD")
    wait_until(lambda: not is_alive(int(line.split()[1])), "its child has ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, long(signal.SIGINT)])
def test_a_further_signal_ends_a_clean_up(
    shop: Application, number: signal.Signals
) -> None:
    extend(shop, HANGS.format(limit_s=3600))
    with shop.worker() as worker:
        worker.signal(signal.SIGTERM)
        worker.wait_for("HANGS")
        worker.signal_again(number)
        status = worker.wait(10.0)

    assert status == AT_ONCE
    assert "Traceback" not in worker.text


# -- its output ----------------------------------------------------------------------


def test_nobody_has_to_read_what_a_program_prints(application: Application) -> None:
    extend(application, "print('some lines')\n")
    del application.environ["PYTHONUNBUFFERED"]
    with subprocess.Popen(
        application.command("worker", "--burst"),
        env=application.environ,
        cwd=application.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        log = process.stderr.read()

    assert process.returncode == 0
    assert b"no job can start now; stopping" in log
    assert b"Traceback" not in log


def test_a_worker_needs_no_output(application: Application, tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *application.command("worker")]
    finished = subprocess.run(
        [*command, "--burst"],
        env=application.environ,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )

    assert finished.returncode == 0
    assert b"Traceback" not in finished.stderr
