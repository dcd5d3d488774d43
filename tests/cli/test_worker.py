"""Real worker processes, started as an operator starts them."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup, with_appcontext

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli import worker as worker_module
from flask_forge_jobs.cli.worker import debug_reason
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from tests.cli.console import Console
from tests.support.backends import long, postgres_first, sqlite_first
from tests.support.commands import Application
from tests.support.processes import is_alive, suspend
from tests.support.runtimes import add, wait_for_status
from tests.support.waiting import wait_until

POLLS_NEVER = """
from flask_forge_jobs.runtime import claim_schedule as schedule
schedule.POLL_WITH_PUSH_S = schedule.POLL_WITHOUT_PUSH_S = 3600.0
"""
AT_ONCE = 130
EX_CONFIG = 78
TAINTED = 75


def pid_in(line: str) -> int:
    return int(line.rsplit(maxsplit=1)[1])


# -- one process ---------------------------------------------------------------------


@sqlite_first
def test_worker_runs_a_job_and_ends_with_status_0(
    storage: Storage, application: Application
) -> None:
    with application.worker("--name", "left") as worker:
        (known,) = storage.workers.all()
        job = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        status = worker.stop()

    assert known.worker_name == "left"
    assert (status, job.attempts) == (0, 1)
    assert storage.workers.all() == []
    assert "Traceback" not in worker.text


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_burst_ends_when_its_queues_are_empty(
    storage: Storage, application: Application
) -> None:
    jobs = [add(storage, "quick") for _ in range(3)]
    other = add(storage, "quick", queue="other")

    with application.start("worker", "--burst") as worker:
        assert worker.wait() == 0

    read = storage.job_reader.get
    assert {read(job_id).status for job_id in jobs} == {JobStatus.DONE}
    assert read(other).status is JobStatus.PENDING
    assert storage.workers.all() == []
    assert "no job can start now; stopping" in worker.text


@pytest.mark.parametrize("option", ["--burst", "--reload"])
def test_what_needs_one_process_is_refused_for_several(option: str) -> None:
    app = Flask("shop")
    ForgeJobs(app)
    command = ["forge-jobs", "worker", option, "--processes", "2"]

    result = app.test_cli_runner().invoke(args=command)

    assert result.exit_code == 2
    assert f"{option} works with one process" in result.output


def test_green_threads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """F6: a task that computes would stop the heartbeat of all."""
    patched = SimpleNamespace(is_module_patched="threading".__eq__)
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    app = Flask("shop")
    ForgeJobs(app)

    result = app.test_cli_runner().invoke(args=["forge-jobs", "worker"])

    assert result.exit_code == EX_CONFIG
    assert result.stderr.startswith("Error: gevent: replaces threads")


@pytest.mark.usefixtures("_what_is_loaded_is_left_out_again")
def test_a_worker_leaves_what_is_loaded_to_no_collection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = Flask("shop", instance_path=str(tmp_path))
    walked: list[bool] = []

    def serve(*_: object, **__: object) -> int:
        walked.append(any(each is app.config for each in gc.get_objects()))
        return 0

    monkeypatch.setattr(worker_module, "run_in_foreground", serve)
    ForgeJobs(app)

    assert app.test_cli_runner().invoke(args=["forge-jobs", "worker"]).exit_code == 0
    assert walked == [False]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_worker_tells_what_it_runs_and_what_became_of_each_job(
    storage: Storage, application: Application
) -> None:
    job_id = add(storage, "quick")
    add(storage, "unknown")
    storage.queues.ensure("mail")

    with application.start("worker", "--burst") as worker:
        assert worker.wait() == 0

    done = worker.wait_for(f"job done: id={job_id}")
    assert " INFO flask_forge_jobs.jobs: " in done
    assert "kind=quick queue=default attempt=1/5 run_ms=" in done
    worker.wait_for(
        "flask-forge-jobs 0.1.0, tasks: chatty, crash, held, quick, stubborn"
    )
    worker.wait_for("queue default has jobs without a task: unknown")
    worker.wait_for("no worker serves these queues: mail; start one with")
    worker.wait_for(", named by FORGE_JOBS_DATABASE_URL")


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_quiet_worker_says_nothing_of_jobs_that_are_done(
    storage: Storage, application: Application
) -> None:
    job_id = add(storage, "quick")

    with application.start("worker", "--burst", "--quiet", "--json-logs") as worker:
        assert worker.wait() == 0

    lines = [line for line in worker.lines_with("") if not line.startswith("RUN ")]
    entries = [json.loads(line) for line in lines]
    jobs = [entry for entry in entries if entry["logger"] == "flask_forge_jobs.jobs"]
    assert entries[-1]["message"].endswith("has stopped")
    assert jobs == []
    assert storage.job_reader.get(job_id).status is JobStatus.DONE


@pytest.mark.long
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_worker_that_reloads_runs_the_code_that_was_saved_last(
    storage: Storage, application: Application
) -> None:
    file = application.folder / "shop.py"
    text = file.read_text()
    with application.worker("--reload") as worker:
        held = add(storage, "held")
        worker.wait_for(f"STARTED {held}")
        file.write_text(text + "\nraise LookupError('half a program')\n")
        worker.wait_for("shop.py has changed; restarting")
        application.release()
        worker.wait_for("waiting for a source file to change")
        file.write_text(text.replace('"RUN"', '"RUN ANEW"') + "\n\n")
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        status = worker.stop()

    assert status == 0
    assert worker.lines_with("RUN ANEW")
    assert storage.job_reader.get(held).attempts == 1


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str | None]:
    """Collects why each application that is loaded is in debug mode."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_DEBUG", "")  # restores it: Flask sets the variable
    monkeypatch.delenv("FLASK_DEBUG")
    return []


def load(reasons: list[str | None], *options: str, debug: bool | None = None) -> None:
    def create_app() -> Flask:
        app = Flask("shop")
        app.debug = app.debug if debug is None else debug
        return app

    # Otherwise Flask overrides what the application sets.
    group = FlaskGroup(create_app=create_app, set_debug_flag=debug is None)

    @group.command("probe")
    @with_appcontext
    def probe() -> None:
        reasons.append(debug_reason())

    result = CliRunner().invoke(group, [*options, "probe"], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_debug_mode_has_a_reason(
    reasons: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(reasons)
    load(reasons, debug=True)
    load(reasons, "--debug")
    monkeypatch.setenv("FLASK_DEBUG", "true")
    load(reasons)
    load(reasons, "--no-debug")

    assert reasons == [
        None,
        "the application sets app.debug",
        "the option --debug",
        "FLASK_DEBUG in the environment",
        None,
    ]


@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_the_reason_may_be_a_file(
    reasons: list[str | None], tmp_path: Path, name: str
) -> None:
    pytest.importorskip("dotenv", reason="Flask reads these files if it is installed")
    (tmp_path / name).write_text("FLASK_DEBUG=true\n")

    load(reasons)

    assert reasons == [f"FLASK_DEBUG in {tmp_path / name}"]


@postgres_first
@pytest.mark.parametrize(("threads", "warned"), [long("4", False), ("5", True)])
def test_a_pool_that_is_small_for_its_threads_is_warned_of(
    tmp_path: Path, database_url: str, backend: str, threads: str, *, warned: bool
) -> None:
    application = Application(tmp_path, database_url, pool_size=9)

    with application.worker("--threads", threads, FLASK_DEBUG="1") as worker:
        worker.stop()

    assert worker.lines_with("debug mode is on: FLASK_DEBUG in the environment; turn")
    told = "FORGE_JOBS_POOL_SIZE is 9" in worker.text
    assert told is (warned and backend == "postgres")


def test_a_job_of_another_process_is_picked_up_without_polling(
    storage: Storage, application: Application
) -> None:
    with (application.folder / "shop.py").open("a", encoding="utf-8") as file:
        file.write(POLLS_NEVER)
    with application.worker() as worker:
        for _ in range(5):
            wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        worker.stop()


@sqlite_first
def test_sigterm_lets_the_running_job_finish(
    storage: Storage, application: Application
) -> None:
    """A8: exit status 0, nothing lost, nothing begun after the signal."""
    with application.worker("--threads", "1") as worker:
        running, waiting = add(storage, "held"), add(storage, "held")
        worker.wait_for("STARTED")
        worker.signal(signal.SIGTERM)
        worker.wait_for("stopping; ")
        wait_until(
            lambda: storage.job_reader.get(waiting).status is JobStatus.PENDING,
            "what had not started went back",
        )
        application.release()
        status = worker.wait()

    assert status == 0
    done, left = storage.job_reader.get(running), storage.job_reader.get(waiting)
    assert (done.status, done.attempts) == (JobStatus.DONE, 1)
    assert (left.status, left.attempts) == (JobStatus.PENDING, 0)
    assert len(worker.lines_with("STARTED")) == 1


@sqlite_first
@pytest.mark.parametrize("kind", [long("held"), "stubborn"])
def test_sigterm_gives_back_what_outlasts_the_grace(
    storage: Storage, application: Application, kind: str
) -> None:
    with application.worker("--grace", "0") as worker:
        job_id = add(storage, kind)
        worker.wait_for("STARTED")
        status = worker.stop()

    job = storage.job_reader.get(job_id)
    assert status == 0
    assert (job.status, job.attempts, job.crashes) == (JobStatus.PENDING, 0, 0)


@sqlite_first
@pytest.mark.parametrize("second", [signal.SIGTERM, long(signal.SIGINT)])
def test_a_second_signal_gives_running_jobs_back_at_once(
    storage: Storage, application: Application, second: signal.Signals
) -> None:
    with application.worker() as worker:
        job_id = add(storage, "stubborn")
        worker.wait_for("STARTED")
        worker.signal(signal.SIGTERM)
        said = worker.wait_for("stopping; ")
        worker.signal_again(second)
        status = worker.wait(10.0)

    job = storage.job_reader.get(job_id)
    assert (status, job.status, job.attempts) == (AT_ONCE, JobStatus.PENDING, 0)
    assert "waiting up to 20 s for 1 running jobs" in said


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("processes", [long("1"), "2"])
def test_two_signals_at_once_let_the_running_job_finish(
    storage: Storage, application: Application, processes: str
) -> None:
    """``timeout`` signals the program, and then its whole group."""
    with application.worker("--processes", processes) as worker:
        job_id = add(storage, "held")
        worker.wait_for("STARTED")
        suspend(worker.process.pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            worker.signal(number)
        worker.wait_for("stopping; ")
        application.release()
        status = worker.wait()

    assert status == 0
    assert storage.job_reader.get(job_id).status is JobStatus.DONE


@sqlite_first
def test_a_job_whose_process_was_killed_runs_again(
    storage: Storage, application: Application
) -> None:
    """A1, I12: within lease, sweep and delay, on a process that lives."""
    with application.worker() as first:
        job_id = add(storage, "held")
        first.wait_for("STARTED")
        first.signal(signal.SIGKILL)
        first.wait()
    application.release()
    with application.worker():
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert (job.attempts, job.crashes) == (2, 1)
    assert job.error_history[0].message == "reaped after stale heartbeat"


@postgres_first
def test_a_process_that_was_stopped_past_its_lease_changes_nothing(
    storage: Storage, application: Application
) -> None:
    """B2: the result of the second run stays; the late finish is refused."""
    with application.worker() as first:
        job_id = add(storage, "held")
        first.wait_for("STARTED")
        # Not within a beat, which would count as one that hangs, nor within a write: on
        # SQLite that would stop everybody, as it must.
        (before,) = storage.jobs.running()
        wait_until(lambda: storage.jobs.running() != [before], "it has just beaten")
        storage.database.write(lambda _: suspend(first.process.pid))
        with application.worker() as second:
            second.wait_for("STARTED")
            application.release()
            job = wait_for_status(storage, job_id, JobStatus.DONE)
            first.signal(signal.SIGCONT)
            wait_until(
                lambda: re.search(r"(was|were) lost to", first.text),
                "the first one has learned of it",
            )
            late = storage.job_reader.get(job_id)
            # And it goes on working.
            wait_until(lambda: len(storage.workers.all()) == 2, "both are registered")
            assert (first.stop(), second.stop()) == (0, 0)

    assert job.result == f'"by {second.process.pid}"'
    assert (late.result, late.attempts) == (job.result, 2)


@pytest.mark.long
@sqlite_first
def test_a_poison_pill_is_dead_after_three_processes(
    storage: Storage, application: Application
) -> None:
    """A9, A10: ``os._exit`` is a crash; the other jobs are done all the same."""
    pill = add(storage, "crash", max_attempts=10)
    others = [add(storage, "quick") for _ in range(5)]
    for _ in range(3):
        # One thread, so that nobody else is in the process that dies.
        with application.start("worker", "--threads", "1") as worker:
            worker.wait_for("CRASHING")
            assert worker.wait() == 9
    with application.worker():
        job = wait_for_status(storage, pill, JobStatus.DEAD)
        for job_id in others:
            wait_for_status(storage, job_id, JobStatus.DONE)

    assert job.crashes == 3
    assert "its worker process died 3 times" in (job.last_error or "")


@sqlite_first
def test_a_process_full_of_stuck_tasks_asks_to_be_replaced(
    storage: Storage, application: Application
) -> None:
    """After four of them a fresh process is better."""
    ids = [add(storage, "stubborn", timeout_s=0.1, max_attempts=1) for _ in range(4)]
    with application.worker("--threads", "4") as worker:
        status = worker.wait()

    jobs = [storage.job_reader.get(job_id) for job_id in ids]
    assert status == TAINTED
    assert {job.last_error for job in jobs} == {"timed out after 0.1s"}


# -- several processes ---------------------------------------------------------------


@sqlite_first
def test_children_share_the_work_and_stop_together(
    storage: Storage, application: Application
) -> None:
    with application.start("worker", "--processes", "2", "--threads", "1") as parent:
        parent.wait_for(" serves ", 2)
        ids = [add(storage, "held") for _ in range(2)]
        parent.wait_for("STARTED", 2)
        pids = {pid_in(line) for line in parent.lines_with("STARTED")}
        parent.signal(signal.SIGTERM)
        application.release()
        status = parent.wait()

    assert status == 0
    assert len(pids - {parent.process.pid}) == 2
    assert not any(is_alive(pid) for pid in pids)
    assert len(parent.lines_with(", named by FORGE_JOBS_DATABASE_URL")) == 1
    assert {storage.job_reader.get(job_id).status for job_id in ids} == {JobStatus.DONE}
    assert storage.workers.all() == []


@postgres_first
def test_children_of_a_killed_parent_claim_nothing_and_end(
    storage: Storage, application: Application
) -> None:
    """A6: no orphan goes on working beside the next fleet."""
    with application.start("worker", "--processes", "2", "--threads", "1") as parent:
        parent.wait_for(" serves ", 2)
        pids = children_of(parent.process.pid)
        # With every slot taken no claim is under way when the parent dies.
        held = [add(storage, "held") for _ in pids]
        parent.wait_for("STARTED", 2)
        parent.signal(signal.SIGKILL)
        parent.process.wait()
        late = add(storage, "quick")
        application.release()
        wait_until(
            lambda: not any(is_alive(pid) for pid in pids), "both children have ended"
        )

    assert len(pids) == 2
    statuses = [storage.job_reader.get(job_id).status for job_id in (*held, late)]
    assert statuses == [JobStatus.DONE, JobStatus.DONE, JobStatus.PENDING]


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


@sqlite_first
def test_a_killed_child_is_replaced_after_a_pause(
    storage: Storage, application: Application
) -> None:
    with application.start("worker", "--processes", "2") as parent:
        parent.wait_for(" serves ", 2)
        before = children_of(parent.process.pid)
        os.kill(before[0], signal.SIGKILL)
        parent.wait_for("ended with status -9; restarting it in 0.5 s")
        parent.wait_for(" serves ", 3)
        after = children_of(parent.process.pid)
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        status = parent.stop()

    assert status == 0
    assert before[1] in after
    assert before[0] not in after


@sqlite_first
@pytest.mark.parametrize("comes_first", [long("parent"), "children"])
def test_a_signal_to_every_process_lets_the_running_jobs_finish(
    storage: Storage, application: Application, comes_first: str
) -> None:
    """A8: what systemd does to a service unless its unit says otherwise."""
    with application.start("worker", "--processes", "2", "--threads", "1") as parent:
        parent.wait_for(" serves ", 2)
        pids = children_of(parent.process.pid)
        ids = [add(storage, "held") for _ in range(2)]
        parent.wait_for("STARTED", 2)
        if comes_first == "parent":
            parent.signal(signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        parent.wait_for("stopping; ", 2)
        if comes_first == "children":
            parent.signal(signal.SIGTERM)
        parent.wait_for("stopping 2 worker processes")
        application.release()
        status = parent.wait()

    assert status == 0
    jobs = [storage.job_reader.get(job_id) for job_id in ids]
    assert [(job.status, job.attempts) for job in jobs] == [(JobStatus.DONE, 1)] * 2
    assert "ended with status" not in parent.text


@sqlite_first
def test_a_second_signal_lets_children_give_their_jobs_back(
    storage: Storage, application: Application
) -> None:
    with application.start("worker", "--processes", "2") as parent:
        parent.wait_for(" serves ", 2)
        pids = children_of(parent.process.pid)
        job_id = add(storage, "stubborn")
        parent.wait_for("STARTED")
        parent.signal(signal.SIGTERM)
        parent.wait_for("stopping; ", 2)
        parent.signal_again(signal.SIGTERM)
        status = parent.wait(10.0)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "no child is left")

    job = storage.job_reader.get(job_id)
    assert (status, job.status, job.attempts) == (AT_ONCE, JobStatus.PENDING, 0)


# -- a start that cannot be ----------------------------------------------------------


def assert_one_clear_line(output: str, *parts: str) -> None:
    lines = [line for line in output.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("queues", "part", "status"),
    [("fine,a b\x01", "queue", 1), (" , ", "declare at least one", 78)],
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_worker_refuses_bad_queues(
    console: Console, *, queues: str, part: str, status: int, processes: str
) -> None:
    words = ("worker", "--queues", queues, "--processes", processes)

    finished = console.run(*words)

    assert finished.exit_code == status
    assert_one_clear_line(finished.stderr, part)


@pytest.mark.parametrize(
    "option", [("--threads", "0"), ("--processes", "65"), ("--grace", "-1")]
)
def test_worker_refuses_bad_options(console: Console, option: tuple[str, str]) -> None:
    finished = console.run("worker", *option)

    assert finished.exit_code == 2
    assert option[0] in finished.stderr


@pytest.mark.parametrize("backend", ["sqlite"])
def test_worker_takes_queues_and_name_from_the_environment(
    storage: Storage, application: Application
) -> None:
    environ = {"FORGE_QUEUES": "left, right", "FORGE_WORKER_NAME": "blue"}
    with application.worker(**environ) as worker:
        (known,) = storage.workers.all()
        worker.stop()

    assert (known.worker_name, known.queues) == ("blue", ("left", "right"))
