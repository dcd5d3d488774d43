"""Every block of every page is run, or a table below says by which test or why not."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli.show_config import config_text
from flask_forge_jobs.config.paths import EnvironmentPaths
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.dashboard.environment import environment
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import ChangeNote
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import DatabaseConfig
from flask_forge_jobs.testing import JobsKit
from tests.cli.console import SOUND, Console
from tests.examples.blocks import BLOCKS, DOCS, Block, block
from tests.examples.test_operate import ID, plain
from tests.examples.test_readme import parse_curl
from tests.support.jobs import enqueue, job_with

ROOT = DOCS.parent
# A source distribution has none.
DRIVERS = ROOT / "tests" / "mutants"
LONGEST_FIRST_EXAMPLE = 15
# Maps of the source tree, which nobody types.
DRAWINGS = {"explanation/architecture.rst"}
# Programs that a test does not start, and the reason.
NOT_STARTED = {
    "adduser, apt-get, install, ln, openssl, rm, mkdir, runuser, service": (
        "they change the machine; the commands of flask within them are understood"
    ),
    "journalctl, nginx, systemctl": "test_show_config has systemd check the units",
    "docker, git, heroku": "they need a service; test_deployments runs the files",
    "pip, python3, .venv/bin/pip, .venv/bin/pytest, /srv/shop/venv/bin/pip": (
        "the environment of the tests is made by them"
    ),
    "., alias, ask, cd, echo, export, set, umask": "words of the shell",
    "gunicorn": "tests of the embedded worker and of servers start it",
    "cp, (umask, pg_restore": "tests/acceptance/test_backup.py runs them",
}
PROGRAMS = {name for names in NOT_STARTED for name in names.split(", ")}
# Of flask itself, and of forge-jobs those that would not end or leave this database.
STARTED_ELSEWHERE = {
    "run": "test_readme",
    "db init": "test_alembic",
    "db migrate": "test_alembic",
    "db upgrade": "test_alembic",
    "forge-jobs worker": "test_worker",
    "forge-jobs copy": "test_copy",
    "forge-jobs db": "test_database",
}
# Code of the other queues, which test_coming_from_parses reads.
PEERS = {("howto/coming_from.rst", "py"), ("howto/batches.rst", "py")}
# Blocks that are no Python and no console, by page, language and caption, with the test
# that uses each: one of this module unless another is named.
USED: dict[tuple[str, str, str], str] = {
    ("contributing.rst", "html+jinja", ""): "test_the_page_for_contributors_is_one",
    ("contributing.rst", "py", ""): "test_the_page_for_contributors_is_one",
    ("contributing.rst", "toml", ""): "test_the_mutant_breaks_a_line_that_is_there",
    ("howto/containers.rst", "docker", "Dockerfile"): "test_the_image_has_the_extras",
    ("howto/containers.rst", "yaml", "worker.yaml"): "test_deployments",
    ("howto/dashboard.rst", "html", "templates/forge_jobs/_head.html"): "test_frame",
    ("howto/dashboard.rst", "py", ""): "test_the_settings_of_the_dashboard_are_taken",
    ("howto/database.rst", "ini", ""): "test_files_of_others_are_well_formed",
    ("howto/failover.rst", "ini", ""): "test_files_of_others_are_well_formed",
    ("howto/failover.rst", "text", ""): "test_patroni starts HAProxy with its like",
    (
        "howto/monitor.rst",
        "yaml",
        "prometheus.yml",
    ): "test_prometheus_scrapes_the_route",
    ("howto/procfile.rst", "text", "requirements.txt"): "test_the_image_has_the_extras",
    ("howto/results.rst", "html", "templates/export.html"): "test_status_page",
    ("howto/results.rst", "html", "templates/job.html"): "test_status_page",
    ("howto/results.rst", "json", ""): "test_a_status_link_answers_these_keys",
    ("howto/secure.rst", "nginx", "/etc/nginx/sites-available/shop"): (
        "nginx is not here; the page was followed by hand"
    ),
    ("howto/secure.rst", "sql", "roles.sql"): "test_roles",
    ("howto/snapshots.rst", "sql", ""): "test_statements_about_snapshots_are_run",
    ("howto/test.rst", "text", ""): "test_an_assertion_says_how_jobs_differ",
    ("reference/configuration.rst", "toml", ""): "test_the_file_names_a_database",
    ("reference/explanations.rst", "json", ""): "test_a_paused_queue_is_explained",
    ("reference/http.rst", "json", ""): "test_bodies_and_answers_of_routes",
}


def test_the_first_example_of_a_page_is_short() -> None:
    first = {each.page: each for each in reversed(BLOCKS)}

    long = {
        page: len(each.lines)
        for page, each in first.items()
        if len(each.lines) > LONGEST_FIRST_EXAMPLE and page not in DRAWINGS
    }

    assert long == {}


def test_every_block_is_used() -> None:
    others = {
        (each.page, each.language, each.caption)
        for each in BLOCKS
        if each.language not in {"python", "console", "doctest", "included"}
        and each.page not in DRAWINGS
        and "─" not in each.text  # a drawing
        and (each.page, each.language) not in PEERS
    }

    assert others == set(USED)
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")} | {*globals()}
    if DRIVERS.is_dir():
        unknown = {each.split()[0] for each in USED.values()} - tests
        assert unknown == {"nginx"}


def words_of(command: str) -> list[str]:
    """Return the words of a command, without variables set for it."""
    words = shlex.split(command)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return words


def test_every_command_is_run_or_named() -> None:
    unknown = []
    for each in BLOCKS:
        for command in each.commands if each.language == "console" else ():
            program, *rest = words_of(command)
            if program in {"flask", "venv/bin/flask", "curl"} or program in PROGRAMS:
                continue
            module = rest[1] if program == "python" and rest[0] == "-m" else ""
            lies = ROOT.joinpath(*module.split("."))
            if not module or (
                DRIVERS.is_dir()
                and not (lies.is_dir() or lies.with_suffix(".py").exists())
            ):
                unknown.append((each.page, command))

    assert unknown == []


class Shop(Console):
    """An application with the queues, tasks and jobs that the pages name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings={"SECRET_KEY": "k" * 32})
        task, cron = self.forge.task, self.forge.cron

        @task
        def send_welcome(user_id: int) -> None: ...

        @cron("0 7 * * 1-5", timezone="Europe/Berlin")
        @task
        def send_report() -> None: ...

        @cron("*/5 * * * *")
        @task
        def collect() -> None: ...

        state_of(self.app).runtime(1).with_queues(
            ["default"]
        ).start().shutdown_graceful()
        for name in ("default", "mail", "exports", "bills", "partner"):
            self.storage.queues.ensure(name)
        self.job = enqueue(self.storage, queue_name="mail")
        self.dead = job_with(self.storage, JobStatus.DEAD)
        del send_welcome


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    folder.chmod(0o700)
    made = Shop(folder)
    yield made
    made.storage.close()


COMMANDS = [
    (each.page, command)
    for each in BLOCKS
    if each.language == "console" and each.page != "howto/operate.rst"
    for command in each.commands
    if words_of(command)[0].endswith("flask")
]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_of_flask_runs(page: str, command: str, shop: Shop) -> None:
    del page
    _, *words = words_of(command.partition(" > ")[0])
    if words[0] == "--app":
        words = words[2:]
    if any(" ".join(words).startswith(each) for each in STARTED_ELSEWHERE):
        return
    job = shop.dead if "retry" in words else shop.job
    words = [job if ID.fullmatch(word) else word for word in words[1:]]
    if "-f" in words:  # it would follow the job to its end
        words.remove("-f")

    result = shop.run(*words)

    # Something needs somebody in this shop.
    allowed = {0, 1} if words[0] in {"status", "doctor"} else {0}
    assert result.exit_code in allowed, result.output


# What a page does not know before it is run.
PLACES = {"$FROM": "2026-12-01T00:00:00Z", "$TO": "2026-12-01T01:00:00Z"}
EXPECTED = re.compile(r"^(?:\{|\[).*", re.MULTILINE | re.DOTALL)
CURLS = [
    (each, command)
    for each in BLOCKS
    if each.language == "console"
    for command in each.commands
    if words_of(command)[0] == "curl"
]


@pytest.mark.parametrize(
    ("found", "command"), CURLS, ids=lambda each: getattr(each, "page", None)
)
def test_a_request_of_a_page_is_answered(
    found: Block, command: str, shop: Shop
) -> None:
    shop.app.testing = True  # open to this machine
    line = command.replace("curl -s ", "curl ")
    for name, value in PLACES.items():
        line = line.replace(name, value)
    address, request = parse_curl(line)
    # The routes of forge-jobs-server are at the root. This application has no views.
    prefix = "/forge-jobs" if address.endswith(":8787") else ""
    body, method = json.loads(request.body or b"null"), request.method
    if request.path == "/signup":
        return  # test_deployments, test_pages and test_readme send it
    if body is not None and method == "GET":
        method = "POST"  # as curl does
    if body is not None and "expected" in body:
        body["expected"] = 0
    headers = dict(request.headers)
    path = ID.sub(started_run(shop), prefix + request.path)

    answer = shop.app.test_client().open(
        path, method=method, json=body, headers=headers
    )

    assert answer.status_code < HTTPStatus.BAD_REQUEST, answer.text
    if shown := EXPECTED.search(found.text):
        assert keys(json.loads(shown[0].replace(",...", ""))) <= keys(answer.json)


def started_run(shop: Shop) -> str:
    """Return the id of a bulk run, as one of the pages has started it."""
    run_of = {"action": "retry", "filter": {"statuses": ["dead"]}}
    answer = shop.app.test_client().post("/forge-jobs/v1/bulk-runs", json=run_of)
    return str(answer.json["id"])  # type: ignore[index]


def keys(document: Any) -> set[str]:
    """Return the keys of an object, or of the objects in an array."""
    rows = document if isinstance(document, list) else [document]
    return {key for row in rows for key in row}


def test_bodies_and_answers_of_routes(shop: Shop) -> None:
    shop.app.testing = True
    client = shop.app.test_client()
    bad = {"enabled": True, "base_seconds": 60, "max_seconds": 30}

    refused = client.post("/forge-jobs/v1/queue/mail/backoff", json=bad)
    counts = client.get("/forge-jobs/v1/jobs/counts")
    body = json.loads(block("reference/http.rst", "json", 2).text)
    created = client.post("/forge-jobs/v1/cron", json={**body, "payload": {}})

    assert refused.json == json.loads(block("reference/http.rst", "json", 0).text)
    shown = json.loads(block("reference/http.rst", "json", 1).text)
    assert list(counts.json or ()) == list(shown)
    assert created.status_code == HTTPStatus.CREATED, created.text


def test_a_paused_queue_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    shop = Shop(tmp_path)
    shop.app.testing = True
    note = ChangeNote(by="ann", reason="deploy")
    shop.storage.queues.change("mail", {"paused": True}, note=note)
    page = "reference/explanations.rst"

    said = shop.text("explain", "mail").splitlines()
    answer = shop.app.test_client().get("/forge-jobs/v1/queues/mail/explain").json
    shop.storage.close()

    expected = block(page, "console").text.splitlines()[1:]
    assert [plain(line) for line in said] == list(map(plain, expected))
    shown = json.loads(block(page, "json").text)
    assert answer is not None
    assert plain(answer.pop("text")) == plain(shown.pop("text"))
    for evidence in (answer["evidence"], shown["evidence"]):
        evidence.pop("paused_at")
    assert answer == shown


def test_a_worker_that_is_missing_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    shop = Console(tmp_path, settings=SOUND)
    for queue_name in ("mail", "orders"):
        for _ in range(8):
            enqueue(shop.storage, queue_name=queue_name)

    with closing(sqlite3.connect(tmp_path / "queue.sqlite")) as file, file:
        file.execute("UPDATE forge_job SET scheduled_at = scheduled_at - 1260000000")

    said = shop.run("doctor").output.splitlines()
    shop.storage.close()

    expected = block("howto/troubleshoot.rst", "console").text.splitlines()[1:]
    assert [plain(line) for line in said] == list(map(plain, expected))


def test_the_page_for_contributors_is_one() -> None:
    app = Flask("shop")
    app.testing = True
    ForgeJobs(app)
    code = block("contributing.rst", "py").text
    template = block("contributing.rst", "html+jinja").text

    compile(code, "kinds.py", "exec")
    with app.app_context():
        environment().parse(template)
        names = re.findall(r'"(forge_jobs/[a-z_]+\.html)"', template)
        found = [environment().get_template(name).blocks for name in names]
    assert "main" in found[0]


def test_the_mutant_breaks_a_line_that_is_there() -> None:
    ((_, places),) = tomllib.loads(block("contributing.rst", "toml").text).items()
    ((path, edit),) = places.items()
    test, _, function = edit["tests"][0].partition("::")

    assert edit["old"] in (ROOT / "flask_forge_jobs" / path).read_text("utf-8")
    assert f"def {function}(" in (ROOT / "tests" / test).read_text("utf-8")


def test_the_image_has_the_extras() -> None:
    project = configparser.ConfigParser()
    project.read(ROOT / "setup.cfg", "utf-8")
    image = block("howto/containers.rst", "docker").text
    named = re.findall(r"flask-forge-jobs\[([a-z,]+)\]", image)
    named += re.findall(
        r"flask-forge-jobs\[([a-z,]+)\]", block("howto/procfile.rst", "text").text
    )
    start = re.findall(r"^CMD (.+)$", image, re.MULTILINE)

    assert len(named) == 2
    for extras in named:
        assert set(extras.split(",")) <= set(project["options.extras_require"])
    web = yaml.safe_load(config_text("compose"))["services"]["web"]
    assert shlex.join(json.loads(start[0])) == web["command"]


def test_the_settings_of_the_dashboard_are_taken() -> None:
    app = Flask("shop")
    exec(block("howto/dashboard.rst", "py").text, {"app": app})

    assert Settings.from_mapping(app.config).dashboard_title == "Shop jobs"


def test_files_of_others_are_well_formed() -> None:
    for page, section in (
        ("howto/database.rst", "uwsgi"),
        ("howto/failover.rst", "pgbouncer"),
    ):
        parser = configparser.ConfigParser()
        parser.read_string(block(page, "ini").text)
        assert parser.sections() == [section]
        assert len(parser[section]) >= 2


def test_prometheus_scrapes_the_route(shop: Shop) -> None:
    (job,) = yaml.safe_load(block("howto/monitor.rst", "yaml").text)["scrape_configs"]

    shop.app.testing = True
    answer = shop.app.test_client().get(job["metrics_path"])

    assert answer.status_code == HTTPStatus.OK
    assert list(job) == [
        "job_name",
        "scheme",
        "metrics_path",
        "authorization",
        "static_configs",
    ]


def test_a_status_link_answers_these_keys(shop: Shop) -> None:
    shown = json.loads(block("howto/results.rst", "json").text)
    with shop.app.test_request_context():
        link = shop.forge.job(shop.job).status_url()

    answer = shop.app.test_client().get(link).json

    assert list(answer or ()) == list(shown)


def test_statements_about_snapshots_are_run(postgres_database: str) -> None:
    grant, look, end = (
        block("howto/snapshots.rst", "sql", each).text for each in range(3)
    )
    with closing(psycopg2.connect(postgres_database)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE app")
            cursor.execute(grant)
            cursor.execute(look)
            connection.rollback()  # the role too
        connection.autocommit = True
        for statement in end.split(";\n"):
            with connection.cursor() as cursor:
                try:
                    cursor.execute(statement)
                except psycopg2.errors.UndefinedObject:
                    # There is no prepared transaction and no slot of this name.
                    assert "'name'" in statement


def test_an_assertion_says_how_jobs_differ() -> None:
    app = Flask("shop")
    forge = ForgeJobs(app)
    app.testing = True

    @forge.task(queue="mail")
    def send_bill(user_id: int, amount: int = 1) -> None: ...

    with JobsKit(app) as jobs, app.app_context():
        jobs.clock.move(0)
        send_bill.options(delay=timedelta(days=1)).enqueue(7, amount=20)
        with pytest.raises(AssertionError) as caught:
            jobs.assert_enqueued(send_bill, args={"user_id": 8}, queue="mail")

    time = re.compile(r"at=\S+")
    shown = block("howto/test.rst", "text").text.removeprefix("AssertionError: ")
    assert time.sub("", str(caught.value)) == time.sub("", shown)


def test_the_file_names_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    file = tmp_path / "queue_database.toml"
    file.write_text(block("reference/configuration.rst", "toml").text, "utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("JOBS_PASSWORD", "p@ss")
    paths = EnvironmentPaths({"JOBS_CONFIG_DIR": str(tmp_path)}, base_dir=tmp_path)

    settings = DatabaseConfig.load(paths).settings

    assert (settings.host, settings.password) == ("db.example.org", "p@ss")


def test_coming_from_parses() -> None:
    code = [each for each in BLOCKS if (each.page, each.language) in PEERS]

    for each in code:
        compile(each.text, each.caption, "exec")
    assert len(code) == 8
