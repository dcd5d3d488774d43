"""The embedded worker under real servers; jobs come from beside, never by a request."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from flask import Flask
from werkzeug.serving import make_server

from flask_forge_jobs import ForgeJobs, TaskContext
from flask_forge_jobs.embedded import EmbeddedWorker
from flask_forge_jobs.errors import ConfigurationError, StorageUnavailableError
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.runtime.foreground import MAX_ABANDONED
from flask_forge_jobs.runtime.run.job_log import JOB_LOGGER
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.support.commands import Application
from tests.support.processes import in_child
from tests.support.programs import Program
from tests.support.runtimes import LIMIT_S, add, threads_named, wait_for_status
from tests.support.waiting import wait_until

GREETING = "Jobs run in this process"
FLASK = (sys.executable, "-m", "flask")
GUNICORN = (sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", "shop:app")
# Ctrl-C reaches each process of the terminal's group; this makes a group of its own.
OWN_GROUP = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"
MAIN = """
from shop import app

app.run(port=0, debug={debug})
"""


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def application(tmp_path: Path, database_url: str) -> Application:
    return Application(tmp_path, database_url, lease_s=30, shutdown_grace_s=20)


@contextlib.contextmanager
def running(
    application: Application, *command: str, **environ: str
) -> Iterator[Program]:
    program = Program(
        [sys.executable, "-c", OWN_GROUP, *command],
        environ=application.environ | environ,
        folder=application.folder,
    )
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.process.pid, signal.SIGKILL)
        program.end()


def press_ctrl_c(program: Program) -> None:
    os.killpg(program.process.pid, signal.SIGINT)


def change(application: Application, text: str = "") -> None:
    """Let the reloader see another file, as after an editor has saved it."""
    file = application.folder / "shop.py"
    later = file.stat().st_mtime + 10
    file.write_text(file.read_text() + text, encoding="utf-8")
    os.utime(file, (later, later))


def test_flask_run_runs_jobs_that_no_request_brought(
    storage: Storage, application: Application
) -> None:
    with running(application, *FLASK, "run", "--port=0") as program:
        program.wait_for(GREETING)
        job = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        (worker,) = storage.workers.all()
        status = program.stop()

    assert (worker.worker_name, worker.queues) == ("embedded", ("default",))
    assert job.result == f'"by {program.process.pid}"'
    assert (status, storage.workers.all()) == (0, [])
    assert len(program.lines_with(GREETING)) == 1
    assert len(program.lines_with(f" * job done: id={job.id} kind=quick")) == 1
    assert "Traceback" not in program.text


def test_each_reload_begins_anew(storage: Storage, application: Application) -> None:
    with running(application, *FLASK, "run", "--debug", "--port=0") as program:
        program.wait_for(GREETING)
        first = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        change(application)
        program.wait_for(GREETING, count=2)
        second = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)

    assert first.result != second.result
    assert f'"by {program.process.pid}"' not in {first.result, second.result}
    assert len(program.lines_with("RUN ")) == 2


@pytest.mark.long
def test_ctrl_c_gives_running_jobs_back_under_the_reloader(
    storage: Storage, application: Application
) -> None:
    """Its parent, where it hears of it, kills the child a quarter of a second later."""
    with running(application, *FLASK, "run", "--debug", "--port=0") as program:
        held = add(storage, "held")
        program.wait_for(f"STARTED {held}")
        (child,) = psutil.Process(program.process.pid).children()
        child.send_signal(signal.SIGINT)
        program.wait()
        wait_until(lambda: not storage.workers.all(), "its worker is gone")

    row = storage.job_reader.get(held)
    assert (row.status, row.attempts) == (JobStatus.PENDING, 0)


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--debug",)], ids=["plain", "debug"])
def test_no_job_runs_twice_over_three_reloads(
    storage: Storage, application: Application, options: tuple[str, ...]
) -> None:
    """Jobs of a tenth of a second run at each reload, which lets them end."""
    change(
        application,
        """

@forge.task
def slow(context: TaskContext) -> None:
    say("SLOW", context.job_id)
    time.sleep(0.1)
""",
    )
    command = (*FLASK, "run", *options, "--reload", "--port=0")
    jobs: list[str] = []
    with running(application, *command) as program:
        for reload in range(1, 4):
            program.wait_for(GREETING, count=reload)
            jobs += [add(storage, "slow") for _ in range(100)]
            program.wait_for("SLOW ", count=len(jobs) - 90)
            change(application)
        program.wait_for(GREETING, count=4)
        for job_id in jobs:
            wait_for_status(storage, job_id, JobStatus.DONE)
        assert program.stop() == 0

    ran = [line.split()[1] for line in program.lines_with("SLOW ")]
    assert sorted(ran) == sorted(jobs)


@pytest.mark.long
def test_an_application_that_is_loaded_in_part_runs_nothing(
    storage: Storage, application: Application
) -> None:
    whole = (application.folder / "shop.py").read_text()
    with running(application, *FLASK, "run", "--debug", "--port=0") as program:
        url = program.wait_for("Running on ").rpartition(" ")[2]
        program.wait_for(GREETING)
        change(application, "raise LookupError('half a program')")
        program.wait_for("half a program")
        # Answered once the reloader knows how old the files are.
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(url, timeout=30)
        job_id = add(storage, "quick")
        (application.folder / "shop.py").write_text(whole)
        change(application)
        wait_for_status(storage, job_id, JobStatus.DONE, 2 * LIMIT_S)

    assert len(program.lines_with(GREETING)) == 2


@pytest.mark.long
@pytest.mark.parametrize("debug", [False, True])
def test_app_run_runs_jobs(
    storage: Storage, application: Application, *, debug: bool
) -> None:
    main = application.folder / "main.py"
    main.write_text(MAIN.format(debug=debug), encoding="utf-8")
    with running(application, sys.executable, str(main)) as program:
        program.wait_for(GREETING)
        job = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        press_ctrl_c(program)
        program.wait()

    assert (job.result == f'"by {program.process.pid}"') is not debug
    assert len(program.lines_with(GREETING)) == 1
    assert storage.workers.all() == []


APART = """

@forge.task(isolation="process")
def apart() -> str:
    return f"by {os.getpid()}"
"""


@pytest.mark.long
def test_flask_run_gives_tasks_a_process_of_their_own(
    storage: Storage, application: Application
) -> None:
    change(application, APART)

    with running(application, *FLASK, "run", "--port=0") as program:
        program.wait_for(GREETING)
        job = wait_for_status(storage, add(storage, "apart"), JobStatus.DONE)
        assert program.stop() == 0

    assert job.result != f'"by {program.process.pid}"'


@pytest.mark.long
def test_a_program_that_cannot_give_them_one_says_so(application: Application) -> None:
    change(application, APART)
    main = application.folder / "main.py"
    main.write_text(MAIN.format(debug=False), encoding="utf-8")

    with running(application, sys.executable, str(main)) as program:
        said = program.wait_for("no embedded worker: ")
        assert program.stop() == 0

    assert "apart must run in a process of its own" in said


@pytest.mark.long
@pytest.mark.parametrize("more", [1, 2])
def test_a_second_ctrl_c_gives_running_jobs_back_at_once(
    storage: Storage, application: Application, more: int
) -> None:
    job_id = add(storage, "stubborn")
    with running(application, *FLASK, "run", "--port=0") as program:
        program.wait_for(f"STARTED {job_id}")
        press_ctrl_c(program)
        program.wait_for("Waiting up to 10 s for 1 running jobs")
        for _ in range(more):
            press_ctrl_c(program)
            time.sleep(0.2)  # within the second that the task has to notice
        program.wait()

    job = storage.job_reader.get(job_id)
    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [(*FLASK, "routes"), (sys.executable, "-c", "import shop"), (*FLASK, "shell")],
    ids=["routes", "import", "shell"],
)
@pytest.mark.parametrize("mode", ["auto", "on"])
def test_what_serves_nothing_runs_nothing(
    storage: Storage, application: Application, command: tuple[str, ...], mode: str
) -> None:
    job_id = add(storage, "quick")

    with running(
        application, *command, FLASK_FORGE_JOBS_EMBEDDED_WORKER=mode
    ) as program:
        status = program.wait()

    assert status == 0
    assert GREETING not in program.text
    assert storage.job_reader.get(job_id).status is JobStatus.PENDING


@pytest.mark.parametrize(
    "options",
    [
        ("--preload", "--threads=2"),
        pytest.param(("--preload", "-ksync"), marks=pytest.mark.long),
        pytest.param(("--threads=2",), marks=pytest.mark.long),
        pytest.param(("-ksync",), marks=pytest.mark.long),
    ],
    ids=" ".join,
)
def test_each_process_of_gunicorn_runs_jobs_where_it_is_told_to(
    storage: Storage, application: Application, options: tuple[str, ...]
) -> None:
    environ = {"FLASK_FORGE_JOBS_EMBEDDED_WORKER": "on"}
    with running(application, *GUNICORN, "-w2", *options, **environ) as program:
        wait_until(lambda: len(storage.workers.all()) == 2, "two workers")
        job = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        program.wait_for("[INFO] job done: id=")  # as gunicorn writes its own
        status = program.stop()

    assert program.text.count("[INFO] jobs run in this process: queues default") == 2
    assert job.result != f'"by {program.process.pid}"'
    assert (status, storage.workers.all()) == (0, [])
    assert "Traceback" not in program.text


FETCHES = """
import asyncio
import threading

@forge.task(max_attempts=1)
async def fetch() -> str:
    say("STARTED")
    while not threading._SHUTTING_DOWN:  # the server has ended
        await asyncio.sleep(0.01)
    return await asyncio.to_thread(lambda: "fetched")
"""


@pytest.mark.parametrize(
    "option", ["-ksync", pytest.param("--threads=2", marks=pytest.mark.long)]
)
def test_a_task_may_use_threads_of_its_own_until_the_grace_is_over(
    storage: Storage, application: Application, option: str
) -> None:
    change(application, FETCHES)
    environ = {"FLASK_FORGE_JOBS_EMBEDDED_WORKER": "on"}
    with running(application, *GUNICORN, option, **environ) as program:
        job_id = add(storage, "fetch")
        program.wait_for("STARTED")
        status = program.stop()

    job = storage.job_reader.get(job_id)
    assert (status, job.status, job.result) == (0, JobStatus.DONE, '"fetched"')
    assert storage.workers.all() == []
    assert "Traceback" not in program.text


LINGERS = """
import threading

@forge.task
def linger(context: TaskContext) -> None:
    say("STARTED")
    while not threading._SHUTTING_DOWN:
        time.sleep(0.01)
    say("ENDING", os.getpid())
    context.sleep(600)
"""
# A hook that was added later is called earlier.
LINGERS_BEFORE = """
import threading

@forge.task
def linger(context: TaskContext) -> None:
    say("STARTED")
    context.sleep(600)

def end() -> None:
    say("ENDING", os.getpid())
    while True:  # one long sleep misses a signal that comes just before it begins
        time.sleep(0.01)

threading._register_atexit(end)
"""


@pytest.mark.parametrize(
    ("option", "program_text"),
    [
        ("-ksync", LINGERS),
        ("-ksync", LINGERS_BEFORE),
        pytest.param("--threads=2", LINGERS, marks=pytest.mark.long),
    ],
    ids=["sync", "before the worker stops", "threads"],
)
def test_a_second_signal_gives_running_jobs_back_under_gunicorn(
    storage: Storage, application: Application, option: str, program_text: str
) -> None:
    change(application, program_text)
    environ = {"FLASK_FORGE_JOBS_EMBEDDED_WORKER": "on"}
    with running(application, *GUNICORN, option, **environ) as program:
        job_id = add(storage, "linger")
        program.wait_for("STARTED")
        program.signal(signal.SIGTERM)
        pid = int(program.wait_for("ENDING").split()[1])
        os.kill(pid, signal.SIGQUIT)
        status = program.wait(8.0)  # the grace takes ten seconds

    job = storage.job_reader.get(job_id)
    assert (status, job.status, job.attempts) == (0, JobStatus.PENDING, 0)
    assert storage.workers.all() == []


# -- within this process -------------------------------------------------------------


@contextlib.contextmanager
def served(app: Flask) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr("flask_forge_jobs.embedded._WATCH_PERIOD_S", 0.01)
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    forge = ForgeJobs(app)
    forge.task(kind="quick")(lambda: "done")
    forge.task(kind="letter", queue="mail")(lambda: "sent")
    return app


def has_ended() -> bool:
    return not threads_named("forge-jobs-embedded")


def test_it_serves_the_queues_of_the_tasks_once_the_server_serves(
    app: Flask, storage: Storage
) -> None:
    worker = EmbeddedWorker(app, state_of(app))
    with worker.while_served():
        before = storage.workers.all()
        with served(app):
            jobs = add(storage, "quick"), add(storage, "letter", queue="mail")
            for job_id in jobs:
                wait_for_status(storage, job_id, JobStatus.DONE)
            (known,) = storage.workers.all()
    wait_until(has_ended, "its threads have ended")
    state_of(app).storage.close()

    assert before == []
    assert known.queues == ("default", "mail")
    assert storage.workers.all() == []


def test_a_forked_child_that_ends_leaves_the_worker_alone(app: Flask) -> None:
    """The thread of its parent may have had the lock at the fork."""
    worker = EmbeddedWorker(app, state_of(app))
    with worker.while_served(), worker._lock:
        assert in_child(worker._stop_with_server) == 0
    state_of(app).storage.close()


def test_nobody_is_warned_of_a_queue_that_it_will_serve(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """The first request may come before it has started."""
    app.debug, state = True, state_of(app)
    with EmbeddedWorker(app, state).while_served():
        for queue in "mail", "far":
            state.enqueue(NewJob("letter", queue_name=queue))
    state.storage.close()

    assert caplog.messages == ["no worker serves queue far, its jobs wait"]


def test_the_ends_of_jobs_are_shown_from_the_first_on(
    app: Flask, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that waits may be done before the greeting is printed."""
    order: list[str] = []
    start = QueueRuntime.start

    def started(runtime: QueueRuntime) -> RuntimeHandle:
        order.append("start")
        return start(runtime)

    monkeypatch.setattr(QueueRuntime, "start", started)
    monkeypatch.setattr(
        "flask_forge_jobs.embedded._show", lambda *_: order.append("show")
    )
    with EmbeddedWorker(app, state_of(app)).while_served(), served(app):
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
    wait_until(has_ended, "its threads have ended")
    state_of(app).storage.close()

    assert order == ["show", "start"]


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[logging.Logger]]:
    """Those of the start and of jobs, and gunicorn's."""
    names = ("flask_forge_jobs.embedded", JOB_LOGGER, "gunicorn.error")
    found = [logging.getLogger(name) for name in names]
    for each in found:
        monkeypatch.setattr(each, "handlers", [])
        monkeypatch.setattr(each, "level", logging.NOTSET)
    yield found
    for each in found:
        each.setLevel(logging.NOTSET)  # forgets what it has worked out from the level


def greet(app: Flask, *set_up: logging.Handler) -> None:
    """Start where the application has set up these handlers; pytest's are hidden."""
    package = logging.getLogger("flask_forge_jobs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "propagate", False)
        patch.setattr(package, "handlers", list(set_up))
        EmbeddedWorker(app, state_of(app))._greet()


def test_under_gunicorn_it_logs_as_gunicorn_does(
    app: Flask, loggers: list[logging.Logger]
) -> None:
    start, jobs, server = loggers
    handler = logging.StreamHandler(io.StringIO())
    server.addHandler(handler)
    server.setLevel(logging.INFO)

    greet(app)

    assert "jobs run in this process" in handler.stream.getvalue()
    for logger in (start, jobs):
        assert (logger.handlers, logger.level) == ([handler], logging.INFO)


def test_gunicorn_may_log_less(app: Flask, loggers: list[logging.Logger]) -> None:
    *own, server = loggers
    server.addHandler(logging.NullHandler())
    server.setLevel(logging.WARNING)

    greet(app)

    assert [logger.level for logger in own] == [logging.WARNING] * 2


def test_under_other_servers_it_logs_to_standard_error(
    app: Flask, loggers: list[logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    greet(app)
    loggers[1].info("job done")

    assert "INFO] jobs run in this process" in capsys.readouterr().err


def test_logging_of_the_application_is_left_alone(
    app: Flask, loggers: list[logging.Logger]
) -> None:
    *own, server = loggers
    server.addHandler(logging.NullHandler())

    greet(app, logging.NullHandler())

    assert [(each.handlers, each.level) for each in own] == [([], logging.NOTSET)] * 2


def test_it_starts_again_with_another_server(app: Flask, storage: Storage) -> None:
    """As where somebody runs the cell of a notebook twice."""
    worker = EmbeddedWorker(app, state_of(app))
    for _ in range(2):
        with worker.while_served(), served(app):
            wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
    wait_until(has_ended, "its threads have ended")
    state_of(app).storage.close()

    assert storage.workers.all() == []


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_test_client_starts_nothing(database_url: str, mode: str) -> None:
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    app.config["FORGE_JOBS_EMBEDDED_WORKER"] = mode
    ForgeJobs(app)

    app.test_client().get("/")

    assert threads_named("forge-jobs-embedded") == []


def test_a_request_of_any_server_starts_one_that_is_on(
    app: Flask, storage: Storage
) -> None:
    worker = EmbeddedWorker(app, state_of(app))
    with app.test_request_context(environ_base={"SERVER_SOFTWARE": "other/1"}):
        worker.start_with_request()
        worker.start_with_request()
    job = wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
    started = len(threads_named("forge-jobs-embedded"))
    worker._stop_with_server()
    wait_until(has_ended, "its threads have ended")
    state_of(app).storage.close()

    assert (started, job.result) == (1, '"done"')


def test_nothing_starts_under_testing(app: Flask) -> None:
    app.testing = True
    worker = EmbeddedWorker(app, state_of(app))

    worker._run(threading.Event(), is_served=True)

    assert worker._handle is None


def test_it_waits_for_a_database_that_is_away(
    app: Flask, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(app)
    opened = state.storage.database.open
    failures = [StorageUnavailableError("away")]

    def open_later() -> None:
        if failures:
            raise failures.pop()
        opened()

    monkeypatch.setattr("flask_forge_jobs.embedded._RETRY_S", 0.01)
    monkeypatch.setattr(state.storage.database, "open", open_later)
    worker = EmbeddedWorker(app, state)
    worker.arm(is_served=True)
    wait_until(storage.workers.all, "it has started")
    worker._stop_with_server()
    wait_until(has_ended, "its threads have ended")
    state.storage.close()

    assert failures == []


class Crowded:
    """A worker that ends because of tasks that block its threads; one task obeys."""

    def __init__(self, app: Flask, forge: ForgeJobs, storage: Storage) -> None:
        started, self._ends = threading.Event(), threading.Event()
        self._release = threading.Event()
        self.waits_s = 1.0

        def obedient(context: TaskContext) -> str:
            started.set()
            self._ends.wait(LIMIT_S)
            return "stopped" if context.cancel.wait(self.waits_s) else "undisturbed"

        forge.task(kind="obedient")(obedient)
        deaf = forge.task(kind="deaf", timeout_s=0.05, max_attempts=1)
        deaf(lambda: self._release.wait(LIMIT_S))
        self.worker = EmbeddedWorker(app, state_of(app))
        self.worker.arm(is_served=True)
        self.job_id = add(storage, "obedient")
        assert started.wait(LIMIT_S)
        for _ in range(MAX_ABANDONED):
            add(storage, "deaf")

    def wait_for_its_end(self) -> None:
        # The first job may run before the call that starts the worker has returned.
        wait_until(lambda: self.worker._handle, "it has started")
        handle = self.worker._handle
        assert handle is not None
        wait_until(lambda: not handle._parts.lease.is_claiming, "it is about to end")
        self._ends.set()

    def release(self) -> None:
        self._release.set()
        self.worker._stop_with_server()
        wait_until(has_ended, "its threads have ended")


@pytest.fixture
def crowded(
    storage: Storage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Crowded]:
    monkeypatch.setattr("flask_forge_jobs.embedded._WATCH_PERIOD_S", 0.01)
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    app.config["FORGE_JOBS_CANCEL_GRACE_S"] = 0.05
    crowded = Crowded(app, ForgeJobs(app), storage)
    yield crowded
    crowded.release()
    state_of(app).storage.close()


def test_stuck_tasks_cost_no_other_its_grace(
    storage: Storage, crowded: Crowded
) -> None:
    crowded.wait_for_its_end()
    job = wait_for_status(storage, crowded.job_id, JobStatus.DONE)

    assert (job.result, job.attempts) == ('"undisturbed"', 1)


def test_a_server_that_is_in_a_hurry_waits_for_no_grace_that_has_begun(
    storage: Storage, crowded: Crowded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Werkzeug's reloader kills its child a quarter of a second later."""
    monkeypatch.setattr(
        "flask_forge_jobs.embedded.is_running_from_reloader", lambda: True
    )
    crowded.waits_s = 7.0  # less than the grace
    crowded.wait_for_its_end()
    crowded.worker._stop_with_server()

    job = storage.job_reader.get(crowded.job_id)
    assert job.result == '"stopped"'


@pytest.mark.parametrize(
    "module", ["gunicorn.workers.ggevent", "gunicorn.workers.geventlet"]
)
def test_green_threads_are_refused(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace())
    app = Flask("shop")
    app.config["FORGE_JOBS_EMBEDDED_WORKER"] = "on"

    with pytest.raises(ConfigurationError, match="which replaces threads") as raised:
        ForgeJobs(app)

    assert raised.value.key == "FORGE_JOBS_EMBEDDED_WORKER"
