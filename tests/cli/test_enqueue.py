from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.jobs import Job
from flask_forge_jobs.state import state_of
from tests.cli.console import Console
from tests.support.backends import each_backend
from tests.support.sql import Sql

Enqueue = Callable[..., Result]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = Flask("shop", instance_path=str(tmp_path))
    forge = ForgeJobs(app)

    @forge.task(queue="mail", max_attempts=1, timeout_s=30, priority=-5)
    def send(user_id: int, subject: str = "") -> None: ...

    yield app
    state_of(app).storage.close()


@pytest.fixture
def enqueue(app: Flask) -> Enqueue:
    return partial(enqueue_by, app)


def enqueue_by(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["forge-jobs", "enqueue", *arguments])


def fails_with(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def job_of(app: Flask, result: Result) -> Job:
    assert result.exit_code == 0, result.output
    return state_of(app).storage.job_reader.get(result.output.strip())


def test_a_known_kind_takes_the_options_of_its_task(
    app: Flask, enqueue: Enqueue
) -> None:
    job = job_of(app, enqueue("send", '{"user_id": 7}'))

    assert (job.kind, job.payload) == ("send", '{"user_id":7}')
    assert (job.queue_name, job.priority) == ("mail", -5)
    assert (job.max_attempts, job.timeout_s) == (1, 30)


def test_what_is_said_comes_before_the_task(app: Flask, enqueue: Enqueue) -> None:
    job = job_of(
        app,
        enqueue(
            "send", '{"user_id": 7}', "--queue", "slow", "--priority", "3",
            "--max-attempts", "9", "--timeout", "1.5", "--dedupe-key", "seven",
            "--run-at", "2199-01-31T12:00:00+00:00",
        ),
    )  # fmt: skip

    assert (job.queue_name, job.priority) == ("slow", 3)
    assert (job.max_attempts, job.timeout_s, job.dedupe_key) == (9, 1.5, "seven")
    assert job.scheduled_at.isoformat() == "2199-01-31T12:00:00+00:00"


def test_a_delay_counts_from_now(app: Flask, enqueue: Enqueue) -> None:
    job = job_of(app, enqueue("send", '{"user_id": 7}', "--delay", "90"))

    waits_s = (job.scheduled_at - job.enqueued_at).total_seconds()
    assert waits_s == pytest.approx(90, abs=30)


@pytest.mark.parametrize(
    "settings", [{"TESTING": True}, {"FORGE_JOBS_INLINE": "on"}], ids=str
)
def test_a_test_and_inline_mode_enqueue_in_memory(settings: dict[str, object]) -> None:
    """There, the process that enqueues runs the job, or looks at it."""
    app = Flask("shop")
    app.config.update(settings, FORGE_JOBS_DATABASE_URL="sqlite:///:memory:")
    ForgeJobs(app)

    job = job_of(app, enqueue_by(app, "elsewhere"))
    state_of(app).storage.close()

    assert job.kind == "elsewhere"


@each_backend
@pytest.mark.parametrize("options", [(), ("--dedupe-key", "seven")], ids=str)
def test_a_job_is_stored_with_its_entry_or_not_at_all(
    either_console: Console, sql: Sql, options: Sequence[str]
) -> None:
    words = ("enqueue", "other", *options)
    job_id = either_console.text("enqueue", "other").strip()

    with sql.full_trail():
        either_console.refusal(*words)

    assert sql.run("SELECT id FROM forge_job") == [(job_id,)]

    job_ids = [either_console.text(*words).strip() for _ in range(2)]

    entries = [(each.target, each.changed) for each in either_console.entries()]
    is_new = int(not options)
    assert entries == [(job_ids[1], is_new), (job_ids[0], 1), (job_id, 1)]


def test_the_error_names_a_stored_job_whose_id_cannot_be_printed(
    enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("flask_forge_jobs.cli.enqueue.click.echo", fails_with(full))

    result = enqueue("other")

    stored = r"Error: job \w{26} is stored; standard output: No space left on device"
    assert result.exit_code == 1
    assert re.fullmatch(stored, result.stderr.splitlines()[-1])


def test_an_unknown_kind_takes_any_payload(app: Flask, enqueue: Enqueue) -> None:
    assert job_of(app, enqueue("elsewhere", "[1, 2]")).payload == "[1,2]"
    assert job_of(app, enqueue("elsewhere")).payload == "{}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["send"], "user_id"),
        (["send", '{"user_id": 7, "other": 1}'], "other"),
        (["send", "[7]"], "payload"),
        (["send", "{user_id: 7}"], "is not JSON"),
        (["send", "user_id=7"], "; write the arguments by name, such as '{"),
        (["send", '{"a": 1, "a": 1}'], "repeats a key"),
        (["send", '{"user_id": 7}', "--run-at", "tomorrow"], "is not a time"),
        (["send", "--run-at", "2199-01-31"], "write 2199-01-31T00:00:00+00:00"),
        (["send", '{"user_id": 7}', "--max-attempts", "0"], "max_attempts"),
    ],
)
def test_what_does_not_fit_is_refused(
    enqueue: Enqueue, arguments: list[str], message: str
) -> None:
    result = enqueue(*arguments)

    assert result.exit_code != 0
    assert message in result.output
