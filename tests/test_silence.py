"""Programs that end as they should print nothing, with every warning an error."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.storage.base import Storage
from tests.support.backends import sqlite_first
from tests.support.commands import ROOT
from tests.support.programs import Program

STRICT = ("-W", "error", "-X", "dev")
APPLICATION = """
import logging
import os
import threading

import click
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.runtime import hints
from flask_forge_jobs.storage import flusher

hints.logger.setLevel(logging.ERROR)  # there is no worker, and it says so

flusher.LAST_WRITE_S = 30.0  # a busy machine is no reason to lose figures
forge = ForgeJobs()


@forge.task
def nothing() -> None: ...


def create_app():
    app = Flask(__name__, instance_path=os.getcwd())
    app.config["FORGE_JOBS_DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
    forge.init_app(app)

    @app.get("/")
    def add():
        return nothing.enqueue().id

    @app.cli.command()
    def add_one():
        nothing.enqueue()

    return app


def add():
    with create_app().app_context():
        nothing.enqueue()
"""
ENDINGS = {
    "an application": "shop.create_app()",
    "an open database": """
with shop.create_app().app_context():
    shop.forge.storage.open()
""",
    "a job": "shop.add()",
    "many jobs": """
with shop.create_app().app_context():
    shop.forge.enqueue_many([shop.nothing.job() for _ in range(50)])
""",
    "a read": """
with shop.create_app().app_context():
    shop.forge.storage.job_reader.kinds("default")
""",
    "a job after the figures were stored": """
with shop.create_app().app_context():
    from flask_forge_jobs.storage import flusher
    flusher.PERIOD_S = 0.01
    shop.nothing.enqueue()
    while not shop.forge.storage.metrics.counters().jobs:
        pass
    flusher.PERIOD_S = 2.0
    shop.nothing.enqueue()
""",
    "a closed storage": """
with shop.create_app().app_context():
    shop.nothing.enqueue()
    shop.forge.storage.close()
""",
    "two applications": "shop.add(); shop.forge = shop.ForgeJobs(); shop.create_app()",
    "threads that have ended": """
threads = [shop.threading.Thread(target=shop.add) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
    "a thread that outlives the main one": """
go_on = shop.threading.Event()
def add():
    shop.threading.main_thread().join()
    shop.add()
shop.threading.Thread(target=add).start()
""",
    "a job at the exit": """
import atexit
app = shop.create_app()
def add():
    with app.app_context():
        shop.nothing.enqueue()
atexit.register(add)
""",
    "a caller's transaction": """
import sqlite3
with shop.create_app().app_context():
    shop.forge.storage.open()
    url = shop.os.environ["TEST_DATABASE_URL"]
    if url.startswith("sqlite"):
        from flask_forge_jobs.sqlite import disable_autocheckpoint
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        disable_autocheckpoint(connection)
    else:
        import psycopg2
        connection = psycopg2.connect(url)
    shop.nothing.options(connection=connection).enqueue()
    connection.commit()
    connection.close()
""",
    "a worker": """
with shop.create_app().app_context():
    from flask_forge_jobs.state import current
    handle = current().runtime(2).with_queues(["default"]).start()
    shop.nothing.enqueue()
    handle.shutdown_graceful()
""",
}


# Starts once, which takes most of the time, and ends as often as it is told to.
FORKING = """
import os, sys
import shop

for line in sys.stdin:
    url, code, output = eval(line)
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        os.environ["TEST_DATABASE_URL"] = url
        exec(code)
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def environ_of(folder: Path, **variables: str) -> dict[str, str]:
    (folder / "shop.py").write_text(APPLICATION, encoding="utf-8")
    path = f"{ROOT}{os.pathsep}{folder}"
    given = {"PYTHONPATH": path, "FLASK_APP": "shop:create_app", **variables}
    return os.environ | given


@pytest.fixture(scope="module")
def forking(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[subprocess.Popen[str]]:
    folder = tmp_path_factory.mktemp("forking")
    with subprocess.Popen(
        [sys.executable, *STRICT, "-c", FORKING],
        env=environ_of(folder),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    return environ_of(tmp_path, TEST_DATABASE_URL=database_url)


@sqlite_first
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_script_ends_without_a_word(
    forking: subprocess.Popen[str], database_url: str, tmp_path: Path, ending: str
) -> None:
    assert forking.stdin is not None
    assert forking.stdout is not None
    output = tmp_path / "output"
    forking.stdin.write(f"{(database_url, ENDINGS[ending], str(output))!r}\n")
    forking.stdin.flush()

    status = forking.stdout.readline()

    assert (status, output.read_text()) == ("0\n", "")


def run(environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *STRICT, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@sqlite_first
def test_a_short_script_stores_its_figures_without_a_word(
    environ: dict[str, str], storage: Storage
) -> None:
    assert run(environ, "-c", "import shop; shop.add()") == (0, "", "")

    counted = storage.metrics.counters().jobs
    assert counted["default", "nothing"].enqueued == 1


def test_a_command_ends_without_a_word(environ: dict[str, str]) -> None:
    assert run(environ, "-m", "flask", "add-one") == (0, "", "")


@sqlite_first
def test_flask_run_ends_without_a_word(environ: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, *STRICT, "-m", "flask", "run", "--port", "0"]
    program = Program(command, environ=environ, folder=tmp_path)
    try:
        line = program.wait_for("Running on http://")
        program.wait_for("Jobs run in this process")
        url = re.search(r"http://\S+", line)
        assert url is not None
        with urllib.request.urlopen(url[0], timeout=30) as answer:
            assert answer.status == 200
        program.wait_for(" * job done: ")
        told = len(program.lines_with(""))
        program.signal(signal.SIGINT)
        program.wait()
        said = [line for line in program.lines_with("")[told:] if "GET /" not in line]
    finally:
        program.end()

    assert said == []
