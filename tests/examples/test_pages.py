"""Pages whose programs are no tests: they run, and every command line is understood."""

from __future__ import annotations

import re
import shlex
import textwrap
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import click
import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_forge_jobs import ForgeJobs, StorageOutcomeUnknownError
from flask_forge_jobs.api.openapi.document import tag_of
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.state import state_of
from flask_forge_jobs.testing import JobsKit
from tests.examples.blocks import block
from tests.examples.test_operate import plain
from tests.examples.test_ten_lines import PROGRAM
from tests.support.runtimes import wait_for_status

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = DOCS.parent / "flask_forge_jobs"
# Also within another command: docker compose exec worker flask forge-jobs status.
COMMAND = re.compile(
    r"^ +[$#] .*?\bflask (?:--app \w+ )?forge-jobs ([^|&)\n]+)", re.MULTILINE
)
LINES = sorted(
    {line for page in DOCS.rglob("*.rst") for line in COMMAND.findall(page.read_text())}
)
BLOCK = re.compile(
    r"^\.\. code-block:: python\n(?: +:caption: [\w/]+\.py\n)?\n((?:   .*\n|\n)+)",
    re.MULTILINE,
)
# Those with Python; these tests and those of other modules run all of it.
PAGES = {
    "index.rst", "quickstart.rst", "reference/cron.rst", "howto/arguments.rst",
    "howto/async.rst", "howto/batches.rst", "howto/bulk.rst",
    "howto/schedule.rst", "howto/side_by_side.rst",
    "howto/coming_from.rst", "howto/containers.rst", "howto/database.rst",
    "howto/deploy.rst", "howto/embed.rst",
    "howto/factory.rst", "howto/failover.rst", "howto/isolation.rst",
    "howto/limit.rst", "howto/log_lines.rst", "howto/migrate.rst",
    "howto/monitor.rst", "howto/procfile.rst", "howto/results.rst", "howto/retry.rst",
    "howto/secure.rst", "howto/signals.rst", "howto/standby.rst", "howto/steps.rst",
    "howto/systemd.rst",
    "howto/test.rst", "howto/transactions.rst", "howto/troubleshoot.rst",
    "howto/unique.rst", "explanation/scale.rst",
    "reference/configuration.rst", "reference/explanations.rst",
}  # fmt: skip


def test_a_page_that_is_new_is_run() -> None:
    found = {
        page.relative_to(DOCS).as_posix()
        for page in DOCS.rglob("*.rst")
        if ".. code-block:: python" in page.read_text("utf-8")
    }

    assert found == PAGES


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_a_page_is_understood(line: str) -> None:
    command: click.Command = forge_jobs_group
    words = shlex.split(line.partition(" > ")[0])
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found

    command.make_context(None, words)


# The table of the cookbook leaves out what all its commands begin with.
CELL = re.compile(r"^     - ``([a-z].+)``$", re.MULTILINE)
OPERATIONS = CELL.findall(
    (DOCS / "howto/operate.rst").read_text("utf-8").partition(".. _thirty:")[2]
)


def test_thirty_things_are_one_command_each() -> None:
    assert len(OPERATIONS) == len(set(OPERATIONS)) == 30


@pytest.mark.parametrize("line", OPERATIONS)
def test_a_command_of_the_cookbook_is_understood(line: str) -> None:
    test_a_command_line_of_a_page_is_understood(line)


def blocks_of(page: str) -> list[str]:
    text = (DOCS / page).read_text("utf-8")
    return [textwrap.dedent(block) for block in BLOCK.findall(text)]


def run(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "app"}
    exec(blocks_of(page)[0], names)
    return names


def test_every_route_stands_in_a_section_of_the_reference() -> None:
    page = (DOCS / "reference/http.rst").read_text("utf-8")
    listed = " ".join(
        re.findall(r"^\.\. forge-jobs-routes:: (.+)$", page, re.MULTILINE)
    )

    assert sorted(listed.split()) == sorted(
        {tag_of(route) for route in all_routes(enable_demo=False)}
    )


def test_the_first_page_shows_the_program_of_the_readme() -> None:
    assert [block.strip() for block in blocks_of("index.rst")] == [PROGRAM.strip()]


def test_the_quickstart_signs_somebody_up(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("quickstart.rst")
    names["app"].testing = True

    answer = names["app"].test_client().post("/signup")
    with names["app"].app_context():
        exec(blocks_of("quickstart.rst")[1], names)
    state_of(names["app"]).storage.close()

    assert answer.status_code == 200
    assert capsys.readouterr().out == "welcome, 7\n" * 2


def test_the_quickstart_enqueues_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("quickstart.rst")
    names["app"].config["TESTING"] = True

    with JobsKit(names["app"]) as jobs, names["app"].app_context():
        exec(blocks_of("quickstart.rst")[2], names)
        jobs.assert_enqueued("send_welcome", args={"user_id": 7}, queue="mail")


@pytest.mark.parametrize(
    ("page", "number"),
    [
        ("quickstart.rst", 3), ("howto/database.rst", 0), ("howto/failover.rst", 0),
        ("howto/standby.rst", 0), ("reference/configuration.rst", 0),
    ],
)  # fmt: skip
def test_a_page_names_a_database_that_is_understood(page: str, number: int) -> None:
    names: dict[str, Any] = {"app": Flask("shop"), "ForgeJobs": ForgeJobs}
    names |= {"Flask": Flask, "__name__": "shop"}

    exec(blocks_of(page)[number], names)

    settings = Settings.from_mapping(names["app"].config)
    found = DatabaseSettings.from_url(settings.database_url or "")
    assert found.backend == "postgres"


def test_one_set_of_tasks_has_several_databases() -> None:
    names: dict[str, Any] = {"__name__": "shop"}

    exec(blocks_of("explanation/scale.rst")[0], names)

    places = [
        state_of(names[each]).database.settings.dsn_for_display
        for each in ("shop", "mail")
    ]
    assert places == [
        "postgresql://jobs@shop-db:5432/jobs", "postgresql://jobs@mail-db:5432/jobs",
    ]  # fmt: skip
    assert state_of(names["mail"]).registry.get("send") is not None


def test_a_job_whose_answer_was_lost_is_enqueued_again() -> None:
    names = run("quickstart.rst")
    lost = StorageOutcomeUnknownError(["01ARZ3NDEKTSV4RRFFQ69G5FAV"])
    kept: dict[str, Any] = {}
    store, again = blocks_of("howto/failover.rst")[1:]
    failing = SimpleNamespace(enqueue=Mock(side_effect=lost))
    exec(
        store,
        {
            "send_welcome": failing,
            "StorageOutcomeUnknownError": StorageOutcomeUnknownError,
            "remember_for_later": kept.update,
        },
    )

    with JobsKit(names["app"]) as jobs, names["app"].app_context():
        exec(again, names | kept)
        exec(again, names | kept)
        (job,) = jobs.enqueued()

    assert job.id == kept["job_id"]


@pytest.mark.parametrize(
    "message",
    [
        "has jobs without a task: ", "no worker serves these queues: ",
        "unknown setting", "PostgreSQL needs psycopg2",
        "ForgeJobs needs an application context",
        "the schema is not up to date", "was open when this process was forked",
        "an open transaction of this thread has locked the database of the jobs",
    ],
)  # fmt: skip
def test_a_message_that_the_page_on_troubles_explains_exists(message: str) -> None:
    page = " ".join((DOCS / "howto/troubleshoot.rst").read_text("utf-8").split())

    assert message in page
    assert message in code_with_whole_texts()


@cache
def code_with_whole_texts() -> str:
    code = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    return re.sub(r'"\s+f?"', "", code)


def test_the_page_on_cron_puts_tasks_on_schedules() -> None:
    names: dict[str, Any] = {"__name__": "app", "forge": ForgeJobs()}

    exec(blocks_of("reference/cron.rst")[0], names)

    found = {each.name: each.cron_expr for each in names["forge"].registry.schedules()}
    assert found == {
        "collect": "*/5 * * * *", "tidy": "0 3 * * *", "tidy-deep": "0 4 * * SUN",
    }  # fmt: skip


def test_the_application_behind_a_proxy_signs_somebody_up() -> None:
    app = run("howto/secure.rst")["app"]

    with JobsKit(app) as jobs:
        answer = app.test_client().post("/signup")
        (job,) = jobs.enqueued("send_welcome")

    assert isinstance(app.wsgi_app, ProxyFix)
    assert answer.json == {"job": job.id}


def test_the_page_on_log_lines_keeps_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("howto/log_lines.rst")
    state = state_of(names["app"])
    with names["app"].app_context():
        job_id = names["send_invoice"].enqueue(order=7).id

    handle = state.runtime(1).with_queues(["default"]).start()
    wait_for_status(state.storage, job_id, JobStatus.DONE)
    handle.shutdown_graceful()

    command = ["forge-jobs", "logs", job_id]
    printed = names["app"].test_cli_runner().invoke(args=command).output.splitlines()
    state.storage.close()
    expected = block("howto/log_lines.rst", "console").text.splitlines()[1:-1]
    found = [plain(line) for line in printed][: len(expected)]
    assert found == list(map(plain, expected))


def test_the_application_with_an_embedded_worker_has_one() -> None:
    app = run("howto/embed.rst")["app"]

    assert state_of(app).settings.embedded_worker == "on"
