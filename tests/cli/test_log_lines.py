from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli.log_lines import LOOK_EVERY_S, log_lines
from flask_forge_jobs.model.outcomes import Done, Failed, Outcome
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import sqlite_first
from tests.support.commands import Application
from tests.support.jobs import OWNER, claim_one, enqueue, update_for
from tests.support.runtimes import add

HOSTILE = LogLine(
    0, "INFO\x1b[31m", "shop\x9b2J", "a\u202eb\tc\x1b]0;x\x07\n1970 INFO forged: x"
)
Logs = Callable[..., Result]


@pytest.fixture
def logs(database_url: str, tmp_path: Path) -> Logs:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    ForgeJobs(app)

    def invoke(*words: str) -> Result:
        return app.test_cli_runner().invoke(args=["forge-jobs", "logs", *words])

    return invoke


def end(storage: Storage, outcome: Outcome, *lines: LogLine) -> None:
    """Claim a job and end its run, which has logged these lines."""
    job = claim_one(storage)
    update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)
    update.logged = LogChunk(job.run_id, job.attempts, 0, lines)
    assert storage.jobs.finish(OWNER, [update]) == []


@sqlite_first
def test_a_job_is_followed_to_its_end(
    storage: Storage, application: Application
) -> None:
    job_id = add(storage, "chatty")
    with (
        application.start("logs", "-f", job_id) as following,
        application.start("logs", "-f", job_id, "--json") as stopped,
        application.worker(),
    ):
        following.wait_for("of two", 2)
        stopped.wait_for("of two", 2)
        stopped.signal(signal.SIGINT)
        assert stopped.wait() == 130
        application.release()
        assert following.wait() == 0

    instant = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z"
    shown = re.sub(instant, "T", following.text)
    assert shown.splitlines() == [
        "attempt 1:",
        "T INFO shop: attempt 1",
        r"    \x1b[2Jof two",
        "attempt 2:",
        "T INFO shop: attempt 2",
        r"    \x1b[2Jof two",
        "T WARNING shop: released",
    ]
    assert [json.loads(line)["attempt"] for line in stopped.text.splitlines()] == [1, 2]


def test_the_lines_that_there_are_are_printed(storage: Storage, logs: Logs) -> None:
    job_id = enqueue(storage)
    assert (logs(job_id).exit_code, logs(job_id).output) == (0, "")

    end(storage, Failed("no"), HOSTILE)
    end(storage, Done(), LogLine(1_500_000, "INFO", "shop", "fine"))

    assert logs(job_id).output.splitlines() == [
        "attempt 1:",
        r"1970-01-01 00:00:00.000Z INFO\x1b[31m shop\x9b2J: a\u202eb     c\x1b]0;x\x07",
        "    1970 INFO forged: x",
        "attempt 2:",
        "1970-01-01 00:00:01.500Z INFO shop: fine",
    ]
    assert logs("--attempt", "2", job_id).output == (
        "attempt 2:\n1970-01-01 00:00:01.500Z INFO shop: fine\n"
    )
    assert logs("--attempt", "3", "-f", job_id).output == ""
    first, second = map(json.loads, logs("--json", job_id).output.splitlines())
    assert first["message"] == HOSTILE.text
    assert "\x9b" not in logs("--json", job_id).output
    assert second == {
        "at": "1970-01-01T00:00:01.500Z",
        "level": "INFO",
        "message": "fine",
        "logger": "shop",
        "run": 2,
        "attempt": 2,
        "line": 0,
    }


def test_following_looks_once_an_interval(storage: Storage) -> None:
    """It waits between looks, and not between the pages of what there is."""
    job_id = enqueue(storage)
    lines = [LogLine(0, "INFO", "shop", str(number)) for number in range(2_001)]
    events: list[Callable[[], None]] = [
        lambda: None,
        lambda: end(storage, Failed("no"), *lines),
        lambda: end(storage, Done(), lines[0]),
    ]

    def pause() -> None:
        events.pop(0)()

    shown = [line.text for line in log_lines(storage, job_id, pause)]

    assert shown == [*(line.text for line in lines), "0"]
    assert events == []
    assert LOOK_EVERY_S >= 0.5


@pytest.mark.parametrize("words", [["none"], ["-f", "none"], ["\x1b[2J"]])
def test_an_unknown_job_is_an_error(logs: Logs, words: list[str]) -> None:
    result = logs(*words)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "\x1b" not in result.stderr
    assert result.stdout == ""
