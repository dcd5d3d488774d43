"""``forge-jobs-server``: the application, and the real program under gunicorn."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from flask import Flask, Request, session
from flask.sessions import NullSession

from flask_forge_jobs import server as server_module
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.server import create_app
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.database import SchemaVersions
from tests.cli.test_worker import assert_one_clear_line, children_of
from tests.support.backends import long, sqlite_first
from tests.support.commands import ROOT
from tests.support.jobs import enqueue
from tests.support.processes import is_alive
from tests.support.programs import Program
from tests.support.runtimes import LIMIT_S, wait_for_status
from tests.support.sql import Sql
from tests.support.waiting import wait_until

_LISTENING = re.compile(r"Listening at: (http://\S+)")


@pytest.fixture
def environ(
    database_settings: DatabaseSettings, tmp_path: Path, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The environment of a server with an empty database of each backend."""
    if database_settings.backend == "sqlite":
        url = f"sqlite:///{database_settings.path}"
    else:
        url = request.getfixturevalue("postgres_database")
    return variables(tmp_path) | {
        "QUEUE_BACKEND": database_settings.backend,
        "DATABASE_URL": url,
    }


def variables(folder: Path) -> dict[str, str]:
    ours = ("JOBS_", "DATABASE_", "QUEUE_", "FORGE_JOBS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "JOBS_API_BIND": "127.0.0.1:0",
        # gunicorn loses a SIGTERM for a worker that has just been forked, and waits for
        # that worker as long as it waits for requests.
        "WEB_CONCURRENCY": "1",
        "JOBS_CONFIG_DIR": str(folder / "config"),
        "JOBS_DATA_DIR": str(folder / "data"),
    }


@contextlib.contextmanager
def program(
    environ: dict[str, str], folder: Path, *arguments: str, forks: bool = True
) -> Iterator[Program]:
    command = [sys.executable, "-m", "flask_forge_jobs.server", *arguments]
    started = Program(command, environ=environ, folder=folder, forks=forks)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.signal(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                started.wait()
        started.end()


@contextlib.contextmanager
def server(
    environ: dict[str, str], folder: Path, *arguments: str
) -> Iterator[tuple[Program, str]]:
    """Run a server; yield it and its address."""
    with program(environ, folder, *arguments) as started:
        found = _LISTENING.search(started.wait_for("Listening at: "))
        assert found is not None
        yield started, found[1]


@contextlib.contextmanager
def demo_server(
    folder: Path, environ: dict[str, str] | None = None
) -> Iterator[tuple[Program, str, Path]]:
    """Run a demo until its worker is there; yield it, its address and its data."""
    given = variables(folder) if environ is None else environ
    with server(given, folder, "--demo") as (started, url):
        said = started.wait_for("the data in ")
        found = re.search("--demo: the data in (.+) is deleted when", said)
        started.wait_for(" serves ")
        assert found is not None
        yield started, url, Path(found[1])


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """A function that runs the command here; it returns the status and the output.

    It takes variables and arguments. A process takes most of a second to start.
    """
    monkeypatch.chdir(tmp_path)
    unasked = AssertionError("it serves")
    monkeypatch.setattr(server_module, "_serve", Mock(side_effect=unasked))

    def run(given: dict[str, str], *arguments: str) -> tuple[int, str]:
        environ = variables(tmp_path) | given
        with patch.dict(os.environ, environ, clear=True):
            result = CliRunner().invoke(server_module.main, arguments)
        return result.exit_code, result.output

    return run


def call(url: str, body: object = None) -> tuple[int, Any]:
    """Return status and content of a request; a body makes it a POST."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, content_of(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, content_of(error)


def post_to_the_end(url: str, body: object) -> bytes:
    """Post something; return the status line once the connection is closed as well.

    gunicorn closes it a moment after its answer. What is open when it is told to end
    is left to Python, which warns of it.
    """
    parts, data = urlsplit(url), json.dumps(body).encode()
    address = str(parts.hostname), int(parts.port or 0)
    head = (
        f"POST {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(address, LIMIT_S) as connection:
        connection.sendall(head.encode() + data)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    return answer.partition(b"\r\n")[0]


def content_of(answer: Any) -> Any:
    """Return the JSON of an answer, or its text."""
    content = answer.read().decode()
    is_json = answer.headers.get_content_type() == "application/json"
    return json.loads(content) if is_json else content


# -- the application -----------------------------------------------------------------


def test_create_app_opens_nothing(tmp_path: Path) -> None:
    app = create_app(variables(tmp_path))

    assert state_of(app).database.settings.path == tmp_path / "data" / "queue.sqlite"
    assert list(tmp_path.iterdir()) == []


def test_create_app_mounts_the_routes_at_the_root(tmp_path: Path) -> None:
    app = create_app(variables(tmp_path))

    rules = {rule.rule for rule in app.url_map.iter_rules()}

    assert {"/health", "/queue/overview", "/jobs/enqueue"} <= rules


def test_a_request_opens_none_of_flasks_sessions(tmp_path: Path) -> None:
    app = create_app(variables(tmp_path))
    with app.test_request_context("/"):
        assert isinstance(session, NullSession)


@pytest.mark.parametrize("host", ["localhost", "ex\xe4mple.org:80", "[::1]:8", "a b"])
def test_a_host_that_is_known_routes_as_any(host: str, tmp_path: Path) -> None:
    app = create_app(variables(tmp_path))
    upgrade = {"HTTP_CONNECTION": "upgrade", "HTTP_UPGRADE": "websocket"}
    places = (("/v1/jobs", ""), ("", "a=%C3"), ("//\xff/\xc3\xa4", "b=\xe4"))

    for path, query in places:
        environ = app.test_request_context(base_url="https://x.org/app").request.environ
        environ |= {"HTTP_HOST": host, "PATH_INFO": path, "QUERY_STRING": query}
        for more in ({}, {}, upgrade):
            asked, other = Request(environ | more), Request(environ | more)
            expected = Flask.create_url_adapter(app, other)
            assert vars(app.create_url_adapter(asked)) == vars(expected)
            assert asked.host == other.host


def test_hosts_that_are_known_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_MAX_HOSTS", 2)
    app = create_app(variables(tmp_path))

    for number in range(5):
        headers = {"Host": f"h{number}.org"}
        assert app.test_client().get("/health", headers=headers).status_code == 200

    assert len(vars(app)["_by_host"]) == 2


def test_create_app_hands_on_every_setting(tmp_path: Path) -> None:
    given = {
        "FORGE_JOBS_LEASE_S": "7",
        "FORGE_JOBS_SQLITE_BUSY_TIMEOUT_S": "9",
        "FORGE_JOBS_URL_PREFIX": "/jobs-api",
        "FORGE_JOBS_STRICT_QUEUES": "true",
        "FORGE_JOBS_DATABASE_URL": f"sqlite:///{tmp_path}/own.db",
    }

    app = create_app(variables(tmp_path) | given)

    state = state_of(app)
    assert (state.settings.lease_s, state.settings.strict_queues) == (7.0, True)
    assert state.database.settings.busy_timeout_s == 9.0
    assert state.database.settings.path == tmp_path / "own.db"
    assert "/jobs-api/queue/overview" in {r.rule for r in app.url_map.iter_rules()}


def test_a_server_waits_less_for_a_locked_file_than_an_application(
    tmp_path: Path,
) -> None:
    app = create_app(variables(tmp_path))

    assert state_of(app).database.settings.busy_timeout_s == 4.0


@pytest.mark.parametrize("demo", [True, False])
def test_the_demo_route_and_its_task_are_there_for_the_demo_only(
    tmp_path: Path, *, demo: bool
) -> None:
    app = create_app(
        variables(tmp_path), demo=tmp_path / "queue.sqlite" if demo else None
    )

    rules = {rule.rule for rule in app.url_map.iter_rules()}

    assert ("/jobs/enqueue-demo" in rules) is demo
    assert state_of(app).registry.kinds() == (["noop_echo"] if demo else [])


def test_create_app_refuses_a_backend_that_the_address_is_not_for(
    tmp_path: Path,
) -> None:
    given = variables(tmp_path) | {"QUEUE_BACKEND": "postgres"}

    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        create_app(given)


# -- the program ---------------------------------------------------------------------


def test_server_answers_stores_a_job_and_ends(
    environ: dict[str, str], storage: Storage, tmp_path: Path
) -> None:
    job_id = enqueue(storage)
    with server(environ, tmp_path, "--open") as (started, url):
        stored = call(f"{url}/jobs/enqueue", {"kind": "x", "payload": {"a": 1}})
        health = call(f"{url}/health")
        status, overview = call(f"{url}/queue/overview")
        job = call(f"{url}/jobs/inspect/{job_id}")
        missing = call(f"{url}/nowhere")
        ended = started.stop()

    assert health == (200, "ok")
    assert status == 200
    assert "default" in json.dumps(overview)
    assert job[0] == 200
    assert job_id in json.dumps(job[1])
    assert missing[0] == 404
    assert stored[0] == 200
    assert storage.job_reader.get(stored[1]).payload == '{"a":1}'
    assert ended == 0
    assert "Traceback" not in started.text


@pytest.mark.long
def test_demo_runs_a_job_on_data_that_goes_away(tmp_path: Path) -> None:
    """In the default tier ``test_readme`` sees the job run; a test below the rest."""
    with demo_server(tmp_path) as (started, url, data):
        status, job_id = call(f"{url}/jobs/enqueue-demo", {})
        storage = open_storage(DatabaseSettings(path=data / "queue.sqlite"))
        with contextlib.closing(storage):
            wait_for_status(storage, job_id, JobStatus.DONE)
        ended = started.stop()

    assert status == 200
    assert ended == 0
    assert not data.exists()
    assert not (tmp_path / "data").exists()
    assert started.lines_with(f"OPEN: anyone who can reach {url} is admin")


def test_the_demo_worker_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    """A6."""
    with demo_server(tmp_path) as (started, _, data):
        # The server forks it after the worker's start, and may be slower.
        started.wait_for("Booting worker")
        pids = children_of(started.process.pid)
        started.signal(signal.SIGKILL)
        started.process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "nobody is left")

    assert len(pids) == 2  # one serves, one runs jobs
    storage = open_storage(DatabaseSettings(path=data / "queue.sqlite"))
    with contextlib.closing(storage):
        wait_until(lambda: not storage.workers.all(), "its rows are gone")
    shutil.rmtree(data)


@pytest.mark.parametrize(
    ("arguments", "processes"), [long((), 3), (("--workers", "1", "--threads", "2"), 1)]
)
def test_options_come_before_the_variables(
    tmp_path: Path, arguments: tuple[str, ...], processes: int
) -> None:
    given = variables(tmp_path) | {"WEB_CONCURRENCY": "3", "JOBS_API_THREADS": "2"}

    with server(given, tmp_path, "--open", *arguments) as (started, _):
        wait_until(
            lambda: len(started.lines_with("Booting worker")) >= processes, "they run"
        )
        # Not asked to: some may just have been forked.
        started.signal(signal.SIGKILL)

    assert len(started.lines_with("Booting worker")) == processes


# -- who is let in -------------------------------------------------------------------


def test_sec_nobody_is_let_in_for_coming_from_this_machine(tmp_path: Path) -> None:
    """A proxy here sends ``Host: 127.0.0.1`` too, and need not say that it is one."""
    with server(variables(tmp_path), tmp_path) as (started, url):
        assert call(f"{url}/queue/overview")[0] == 401
        assert call(f"{url}/queue/default/paused", {"paused": True})[0] == 401
        assert call(f"{url}/health") == (200, "ok")
        line = started.wait_for("Authorization: Bearer ")
        _, option, header, address = shlex.split(line)
        name, _, value = header.partition(": ")
        # Whichever process answers: the token was made before they were.
        answers = []
        for _ in range(8):
            request = urllib.request.Request(address, headers={name: value})
            with urllib.request.urlopen(request, timeout=30) as answer:
                answers.append(answer.status)

    assert (option, name, address) == ("-H", "Authorization", f"{url}/v1/queues")
    assert answers == [200] * 8
    token = value.removeprefix("Bearer ")
    assert [path for path in tmp_path.rglob("*") if _holds(path, token)] == []


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and text.encode() in path.read_bytes()


def test_sec_the_token_of_a_start_is_for_that_start_only(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with server(variables(tmp_path), tmp_path) as (started, _):
            said = started.wait_for("Authorization: Bearer ")
            tokens += re.findall(r"Bearer (fj_start_[\w-]+)", said)

    assert len(set(tokens)) == 2


def test_sec_open_says_so_and_asks_nobody(tmp_path: Path) -> None:
    with server(variables(tmp_path), tmp_path, "--open") as (started, url):
        started.wait_for(f"OPEN: anyone who can reach {url} is admin")
        assert call(f"{url}/queue/overview")[0] == 200

    assert "Bearer" not in started.text


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("--open", "FORGE_JOBS_TOKENS", json.dumps([{"id": "ci"}])),
        ("--demo", "FORGE_JOBS_TOKENS", json.dumps([{"id": "ci"}])),
        ("--demo", "DATABASE_URL", "sqlite:///jobs.db"),
        ("--demo", "QUEUE_BACKEND", "postgres"),
        ("--demo", "FORGE_JOBS_DATABASE_FILE", "queue_database.toml"),
    ],
)
def test_sec_an_option_that_opens_refuses_what_it_would_give_away(
    refused: Callable[..., tuple[int, str]],
    tmp_path: Path,
    option: str,
    name: str,
    value: str,
) -> None:
    status, text = refused({name: value}, option)

    assert status == 78
    assert_one_clear_line(text, option, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "host",
    [
        # tests/config/test_environment.py asks which addresses are whose.
        "0.0.0.0", "[::ffff:192.0.2.7]",
    ],
)  # fmt: skip
def test_sec_S02_server_refuses_to_be_reached_from_elsewhere(
    refused: Callable[..., tuple[int, str]], tmp_path: Path, host: str
) -> None:
    status, text = refused({"JOBS_API_BIND": f"{host}:0"})

    assert status == 78
    assert_one_clear_line(text, "JOBS_API_BIND", "FORGE_JOBS_AUTH")
    assert not (tmp_path / "data").exists()


def test_sec_S02_with_tokens_the_server_listens_elsewhere_and_asks_for_one(
    tmp_path: Path,
) -> None:
    token, digest = new_token("ci")
    entry = {"id": "ci", "sha256": digest, "role": "viewer"}
    given = variables(tmp_path) | {
        "JOBS_API_BIND": "0.0.0.0:0",
        "FORGE_JOBS_TOKENS": json.dumps([entry]),
    }

    with server(given, tmp_path) as (started, address):
        url = f"{address}/queue/overview".replace("0.0.0.0", "127.0.0.1")
        known = urllib.request.Request(
            url, headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(known, timeout=30) as answer:
            assert answer.status == 200
        assert call(url)[0] == 401

    assert token not in started.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOBS_API_BIND", "nonsense"),
        ("FORGE_JOBS_TOKENS", "fj_ci_secret"),
        ("FORGE_JOBS_TOKENS", ""),
        ("FORGE_JOBS_TOKEN", "[]"),
    ],
)
def test_server_refuses_a_wrong_variable(
    refused: Callable[..., tuple[int, str]], tmp_path: Path, name: str, value: str
) -> None:
    status, text = refused({name: value})

    assert status == 78
    assert_one_clear_line(text, name)
    assert not (tmp_path / "data").exists()


def test_server_refuses_an_unreachable_database(tmp_path: Path) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/nothing"

    with program(variables(tmp_path) | {"DATABASE_URL": url}, tmp_path) as started:
        status = started.wait()

    assert status == 1
    assert_one_clear_line(started.text, "127.0.0.1:1", "(from DATABASE_URL)")
    assert "secret" not in started.text


@sqlite_first
def test_server_refuses_a_schema_of_a_newer_package(
    environ: dict[str, str], sql: Sql, tmp_path: Path
) -> None:
    with sql.newer_schema(), program(environ, tmp_path) as started:
        status = started.wait()

    assert status == 1
    assert_one_clear_line(started.text, "99", "upgrade flask-forge-jobs")


def test_server_refuses_a_damaged_file_and_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "queue.sqlite"
    path.parent.mkdir()
    content = b"no database at all" * 500
    path.write_bytes(content)

    with program(variables(tmp_path), tmp_path) as started:
        status = started.wait()

    assert status == 1
    assert_one_clear_line(started.text, str(path))
    assert path.read_bytes() == content


def test_server_says_when_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = variables(tmp_path) | {"JOBS_API_BIND": f"127.0.0.1:{port}"}
        with program(given, tmp_path) as started:
            assert started.wait(60.0) != 0

    assert "in use" in started.text


def test_server_needs_gunicorn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys; sys.modules['gunicorn'] = None"
    )
    given = variables(tmp_path)
    given["PYTHONPATH"] = f"{hidden}{os.pathsep}{ROOT}"
    monkeypatch.delenv("PYTHONPATH", raising=False)

    with program(given, tmp_path, forks=False) as started:
        status = started.wait()

    assert status == 78
    assert_one_clear_line(started.text, "flask-forge-jobs[server]")
    assert not (tmp_path / "data").exists()


def test_server_names_the_file_that_does_not_pass(
    refused: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "queue_database.toml").write_text('adapter = "mysql"')

    status, text = refused({})

    assert status == 78
    assert_one_clear_line(text, "queue_database.toml: adapter: ", str(config))


@pytest.mark.parametrize("number", [signal.SIGTERM, long(signal.SIGINT)])
def test_demo_says_where_its_jobs_are_and_nothing_else_that_was_not_asked_for(
    tmp_path: Path, number: signal.Signals
) -> None:
    """No warning of Python's, and no socket of gunicorn's that stops servers."""
    home = tmp_path / "home"
    home.mkdir()
    strict = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
    at_home = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    given = variables(tmp_path) | strict | at_home

    with demo_server(tmp_path, given) as (started, url, data):
        for _ in range(4):  # so that each server process wakes the worker
            job = {"kind": "noop_echo", "payload": {}}
            assert b"200" in post_to_the_end(f"{url}/jobs/enqueue", job)
        started.signal(number)
        assert started.wait() == 0

    (line,) = started.lines_with(", named by ")
    assert line.endswith(f"{data}/queue.sqlite, named by --demo")
    for part in ("ontrol socket", "Warning", "ignored", "Traceback", "figures"):
        assert part not in started.text
    assert list(home.iterdir()) == []
    assert started.lines_with(f"OPEN: anyone who can reach {url} is admin")
    assert not data.exists()
    assert not (tmp_path / "data").exists()


def test_a_new_database_needs_nothing_else(tmp_path: Path) -> None:
    """SQLite in the data directory, made by the first start."""
    with server(variables(tmp_path), tmp_path, "--open") as (_, url):
        status, _ = call(f"{url}/queue/overview")

    settings = DatabaseSettings(path=tmp_path / "data" / "queue.sqlite")
    with contextlib.closing(open_storage(settings, migrate=False)) as storage:
        newest = load_migrations("sqlite")[-1]
        assert storage.database.schema_versions() == SchemaVersions(
            newest.version, newest.version, newest.oldest_reader
        )
    assert status == 200
