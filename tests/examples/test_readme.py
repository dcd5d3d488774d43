"""What the README tells a newcomer to type works as written.

The command lines are read from the README itself. They are not run in a new virtual
environment: the environment of these tests is what the second of them makes.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest

from flask_forge_jobs.cli.group import forge_jobs_group
from tests.examples.test_ten_lines import python_blocks
from tests.support.client import Answer, Request, send
from tests.support.programs import Program, running, script
from tests.support.waiting import wait_until

README = Path(__file__).parents[2] / "README.rst"
TEXT = README.read_text("utf-8")
_INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
COMMANDS = [line for line in _INDENTED.findall(TEXT) if line.startswith("python3 -m ")]
DEFAULT_ADDRESS = "127.0.0.1:8787"
SIGN_UP, *CURLS = sorted(
    (line for line in _INDENTED.findall(TEXT) if line.startswith("curl ")),
    key=lambda line: DEFAULT_ADDRESS in line,
)
SERVE = COMMANDS[0]


def parse_curl(line: str) -> tuple[str, Request]:
    """Return the address and the request that a curl command line stands for."""
    words = iter(shlex.split(line)[1:])
    method, url, body = "GET", "", None
    headers: dict[str, str] = {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            body = next(words).encode()
        else:
            assert not word.startswith("-"), f"teach this test the option {word}"
            url = word
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return parts.netloc, Request(method, path, body, headers)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The server that the first command line ends with, on a free port."""
    program, *options = shlex.split(SERVE.rpartition("&&")[2])
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FORGE_JOBS_", "JOBS_", "QUEUE_", "DATABASE_"))
    }
    folder = tmp_path_factory.mktemp("newcomer")
    with running(
        [script(Path(program).name), *options],
        environ={**environ, "JOBS_API_PORT": "0"},
        folder=folder,
    ) as server:
        server.port()
        yield server


def _answer(server: Program, line: str) -> Answer:
    address, request = parse_curl(line)
    assert address == DEFAULT_ADDRESS
    return send(server.port(), request, prefix="")


def _line(path: str) -> str:
    found: list[str] = [line for line in CURLS if path in line]
    (line,) = found
    return line


def test_readme_has_two_command_lines_that_begin_with_nothing() -> None:
    steps = [line.split(" && ") for line in COMMANDS]

    for make_environment, install, _ in steps:
        assert make_environment == "python3 -m venv .venv"
        assert install.startswith(".venv/bin/pip install ")
    assert [words[-1] for words in steps] == [
        ".venv/bin/forge-jobs-server --demo",
        ".venv/bin/python -m pytest -n auto",
    ]


def test_every_line_of_a_block_is_run() -> None:
    """These tests, and for Python those of test_ten_lines, run the rest."""
    python = "\n".join(python_blocks())
    lines = [line.partition("  #")[0] for line in _INDENTED.findall(TEXT)]
    commands = [line for line in lines if line not in python and ":alt:" not in line]
    workers = [line for line in commands if line.startswith("flask forge-jobs worker")]

    for line in workers:
        command = forge_jobs_group.get_command(
            click.Context(forge_jobs_group), "worker"
        )
        assert command is not None
        command.make_context("worker", shlex.split(line)[3:])
    rest = {*commands} - {*COMMANDS, *CURLS, SIGN_UP, *workers, "flask run"}
    assert rest == {"pip install flask-forge-jobs"}


@pytest.mark.parametrize(
    "line", CURLS, ids=lambda line: urlsplit(line.split()[-1]).path
)
def test_curl_line_is_answered(demo: Program, line: str) -> None:
    answer = _answer(demo, line)

    assert answer.status in (200, 201), (line, answer, demo.text)


def _mail(demo: Program) -> dict[str, Any]:
    queues = _answer(demo, _line("/v1/queues")).json()
    (mail,) = [queue for queue in queues if queue["name"] == "mail"]
    found: dict[str, Any] = mail
    return found


def test_overview_and_metrics_show_the_queues(demo: Program) -> None:
    queue = _mail(demo)
    metrics = _answer(demo, _line("/metrics"))

    assert list(queue["counts"]) == [
        "pending", "scheduled", "in_progress", "done", "failed", "dead",
    ]  # fmt: skip
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'queue_pending_jobs{queue="mail"} ' in metrics.body


def test_storage_is_the_sqlite_file(demo: Program) -> None:
    info = _answer(demo, _line("/storage/info")).json()

    assert info["backend"] == "sqlite"
    assert info["fields"][0][0] == "sqlite_version"


def test_backoff_is_stored(demo: Program) -> None:
    answer = _answer(demo, _line("/backoff"))

    assert (answer.status, answer.body) == (200, b"")
    queue = _mail(demo)
    assert queue["backoff_enabled"] is True
    assert (queue["backoff_base_seconds"], queue["backoff_max_seconds"]) == (5, 60)


def test_enqueued_job_is_done(demo: Program) -> None:
    job_id = _answer(demo, _line("/v1/jobs ")).json()["id"]

    def is_done() -> bool:
        found = send(demo.port(), Request("GET", f"/v1/jobs/{job_id}"), prefix="")
        return bool(found.json()["row"]["status"] == "done")

    wait_until(is_done, f"job {job_id} is done")


def test_demo_enqueues_jobs_of_its_own(demo: Program) -> None:
    def has_done_some() -> bool:
        queues = _answer(demo, _line("/v1/queues")).json()
        done = sum(queue["counts"]["done"] for queue in queues)
        return bool(done >= 2 and any(queue["slots"] for queue in queues))

    wait_until(has_done_some, "two demo jobs are done")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_itself_understands_the_lines(demo: Program) -> None:
    for line in CURLS:
        here = line.replace(DEFAULT_ADDRESS, f"127.0.0.1:{demo.port()}")
        command = ["curl", "--fail", "--silent", "--show-error", *shlex.split(here)[1:]]
        answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert answer.returncode == 0, (line, answer.stderr)


def _program() -> str:
    block = re.search(r"code-block:: python\n\n((?: {4}.*\n|\n)+)", TEXT)
    assert block is not None
    return re.sub(r"^ {4}", "", block[1], flags=re.MULTILINE)


def test_program_runs_under_flask_run_alone(tmp_path: Path) -> None:
    """The ten lines as ``app.py``, ``flask run``, and the line that signs up."""
    (tmp_path / "app.py").write_text(_program(), "utf-8")
    (command,) = [line for line in _INDENTED.findall(TEXT) if line == "flask run"]
    flask, *arguments = shlex.split(command)
    own = {"FLASK_RUN_PORT": "0", "PYTHONUNBUFFERED": "1"}

    with running(
        [script(flask), *arguments], environ={**os.environ, **own}, folder=tmp_path
    ) as server:
        port = int(server.match(r"Running on http://127\.0\.0\.1:(\d+)")[1])
        address, request = parse_curl(SIGN_UP)
        answer = send(port, request, prefix="")
        server.match("^welcome 7$")
        status = server.stop()

    assert address == "127.0.0.1:5000"
    assert list(answer.json()) == ["job"]
    assert (tmp_path / "instance" / "queue.sqlite").exists()
    assert status == 0, server.text


def _what_a_worker_says() -> list[str]:
    """Return the lines that the manual shows, as patterns."""
    page = (README.parent / "docs/howto/deploy.rst").read_text("utf-8")
    lines = re.findall(r"^   \.\.\. (INFO .*)$", page, re.MULTILINE)
    varying = {r"01KB\.\.\.": r"\w+", r"/home/me/shop": ".*", r"0\.1$": r"[\d.]+"}
    patterns = []
    for line in lines:
        pattern = re.escape(line) + "$"
        for shown, meant in varying.items():
            pattern = pattern.replace(shown, meant)
        patterns.append(pattern.replace(r"\.\.\.", ".*"))
    return patterns


@pytest.mark.long
def test_program_runs_with_a_worker_beside_it(tmp_path: Path) -> None:
    """The ten lines as ``app.py``, a signup, and ``flask forge-jobs worker``."""
    (tmp_path / "app.py").write_text(_program(), "utf-8")
    sign_up = "from app import app; print(app.test_client().post('/signup').json)"
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(tmp_path)}
    lines = [line.partition("  #")[0] for line in _INDENTED.findall(TEXT)]
    command = next(line for line in lines if line == "flask forge-jobs worker")
    flask, *arguments = shlex.split(command)

    signed_up = subprocess.run(
        [sys.executable, "-c", sign_up],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    stored = (tmp_path / "instance" / "queue.sqlite").exists()
    worker_command = [script(flask), *arguments]
    with running(worker_command, environ=environ, folder=tmp_path) as worker:
        worker.match("^welcome 7$")
        worker.wait_for("job done")
        status = worker.stop()

    shown = _what_a_worker_says()
    assert len(shown) == 4
    for pattern in shown:
        assert re.search(pattern, worker.text, re.MULTILINE), pattern
    assert "'job': '" in signed_up.stdout
    assert stored
    assert status == 0, worker.text
