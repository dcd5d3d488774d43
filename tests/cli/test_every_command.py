"""Each command of the tree: its table, its JSON, its empty and its error state.

And, if it changes something, the entry that its route leaves in the audit trail. What a
command prints in detail is in its own test.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.cli.console import SOUND, Console
from tests.cli.test_group import commands
from tests.support.jobs import OWNER, claim_one, enqueue, job_with, run
from tests.support.sql import Sql

# Stand for the ids of jobs and batches.
DEAD, WAITING, TIED = "DEAD", "WAITING", "TIED"
BATCH, OPEN, ENDED = "BATCH", "OPEN", "ENDED"
NO_SCHEDULE, NO_QUEUE = "no schedule is named", "no queue is named"
NO_LIMIT, NO_JOB = "no rate limit has the scope", "no job has the id"
MUCH_LATER = datetime(2199, 1, 31, tzinfo=UTC)
NO_BATCH = "no batch has the id"


@dataclass(frozen=True)
class Cells:
    """The states of one command.

    Args:
        words: Its arguments where everything that they name exists.
        shows: A text in its output then.
        empty: The text where nothing exists, on the standard output or, of a command
            that needs the thing it names, on the standard error.
        bad: Arguments that are refused.
        error: A text of the refusal.
    """

    words: str
    shows: str
    empty: str
    bad: str
    error: str


CELLS = {
    "audit list": Cells("", "ACTOR ", "no entry matches", "--limit 0", "--limit"),
    "audit prune": Cells("--days 365", "0 entries", "0 entries", "--days 1", "90"),
    "batches cancel": Cells(
        f"{BATCH} --yes", "cancelled; dead, 2 of 2 jobs ended", NO_BATCH, "", "ID"
    ),
    "batches delete": Cells(f"{ENDED} --yes", "deleted", NO_BATCH, "", "ID"),
    "batches jobs": Cells(BATCH, "LAST ERROR", NO_BATCH, "x -s x", "--status"),
    "batches list": Cells("", "TOTAL", "no batch matches", "--limit 0", "--limit"),
    "batches retry": Cells(BATCH, "1 job of batch", NO_BATCH, "", "ID"),
    "batches seal": Cells(OPEN, "sealed; done, 0 of 0", NO_BATCH, "", "ID"),
    "batches show": Cells(BATCH, "LAST ERROR", NO_BATCH, "", "ID"),
    "cleanup": Cells("--dry-run", "0 done jobs", "0 done jobs", "--queue x", NO_QUEUE),
    "cron create": Cells(
        "new --kind noop --cron @daily", "new created", "new created",
        "new --kind noop --cron daily", "cron",
    ),
    "cron delete": Cells("nightly --yes", "deleted", NO_SCHEDULE, "", "SCHEDULE"),
    "cron disable": Cells("nightly", "disabled", NO_SCHEDULE, "", "SCHEDULE"),
    "cron enable": Cells("nightly", "enabled", NO_SCHEDULE, "", "SCHEDULE"),
    "cron list": Cells("", "LAST RUN", "there is no schedule", "x", "unexpected"),
    "cron next": Cells("nightly", "in ", NO_SCHEDULE, "'0 25 * * *'", "25"),
    "cron runs": Cells("nightly", "STATUS ", NO_SCHEDULE, "x --limit 0", "--limit"),
    "cron set": Cells(
        "nightly --cron @hourly", "changed", NO_SCHEDULE, "nightly", "an option"
    ),
    "cron show": Cells("nightly", "cron expr:", NO_SCHEDULE, "", "SCHEDULE"),
    "cron trigger": Cells("nightly", "0", NO_SCHEDULE, "", "SCHEDULE"),
    "db status": Cells("", "schema: 1 of 1", "schema: 1 of 1", "x", "unexpected"),
    "db migrate": Cells("", "migrate: ok", "migrate: ok", "x", "unexpected"),
    "doctor": Cells("", "1 finding", "no fault", "x", "unexpected"),
    "enqueue": Cells("noop", "0", "0", "noop {", "JSON"),
    "errors": Cells("", "SIGNATURE", "no job failed", "--sort x", "--sort"),
    "events": Cells("", "dead", "no event matches", "--type x", "--type"),
    "explain": Cells("mail", "mail has nothing to run", NO_QUEUE, "", "ID|QUEUE"),
    "jobs cancel": Cells(WAITING, "1 job cancelled", "1 unknown", "", "name jobs"),
    "jobs delete": Cells(DEAD, "1 job deleted", "1 unknown", "", "name jobs"),
    "jobs list": Cells("", "LAST ERROR", "no job matches", "--sort x", "--sort"),
    "jobs release": Cells(TIED, "released", NO_JOB, "", "ID"),
    "jobs reschedule": Cells(
        f"{WAITING} --delay 60", "1 job resch", "1 unknown", WAITING, "--run-at"
    ),
    "jobs retry": Cells(DEAD, "1 job retried", "1 unknown", "", "name jobs"),
    "jobs run-now": Cells(
        "--scheduled --queue mail --yes", "1 job due", "0 jobs", "", "name jobs"
    ),
    "jobs show": Cells(DEAD, "status:", NO_JOB, "", "ID"),
    "kinds": Cells("", "SUCCESS", "no job ended", "--since x", "--since"),
    "limits delete": Cells("card --yes", "deleted", NO_LIMIT, "", "SCOPE"),
    "limits drain": Cells("card", "drained", NO_LIMIT, "", "SCOPE"),
    "limits holders": Cells("", "account 7", "no concurrency key", "x", "unexpected"),
    "limits list": Cells("", "A SECOND", "there is no rate limit", "x", "unexpected"),
    "limits set": Cells(
        "card --capacity 2 --refill 1", "2 tokens", "2 tokens",
        "card --capacity 0 --refill 1", "capacity",
    ),
    "logs": Cells(DEAD, "", NO_JOB, "", "ID"),
    "openapi": Cells("", "3.1.0", "3.1.0", "x", "unexpected"),
    "queues cool-down": Cells(
        "mail --for 60", "1 queue cooling down", NO_QUEUE, "--for 60", "name queues"
    ),
    "queues create": Cells("new", "new created", "new created", "a,b", "','"),
    "queues delete": Cells("spare --yes", "0 jobs", NO_QUEUE, "", "QUEUE"),
    "queues end-cool-down": Cells("mail", "open again", NO_QUEUE, "", "name queues"),
    "queues list": Cells("", "SLOTS", "there is no queue", "x", "unexpected"),
    "queues pause": Cells("mail", "1 queue paused", NO_QUEUE, "", "name queues"),
    "queues resume": Cells("mail", "queues resumed", NO_QUEUE, "", "name queues"),
    "queues set": Cells("mail --max-workers 2", "changed", NO_QUEUE, "mail", "option"),
    "queues show": Cells("mail", "max workers:", NO_QUEUE, "", "QUEUE"),
    "ready": Cells("", "1 live", "0 live", "x", "unexpected"),
    "show-config": Cells("keda", "threshold", "threshold", "x", "is not one of"),
    "status": Cells("", "needs you: 1", "Nothing needs you", "--queue x", NO_QUEUE),
    "token new": Cells(
        "--role viewer", "sha256", "sha256", "--role x", "--role"
    ),
    "workers": Cells("", "web-1", "no worker is running", "x", "unexpected"),
}  # fmt: skip
# Tables, questions, progress and processes of their own.
ELSEWHERE = {
    "copy": "test_copy",
    "db create": "test_database",
    "db drop": "test_database",
    "db reset": "test_database",
    "loadgen": "loadgen",
    "token check": "test_token",
    "worker": "test_worker",
}
# A finding or a need is no success.
OF_FINDINGS = {"doctor": {1}, "status": {0, 1}}
# Done twice they fail.
ONCE = {
    "cron create", "queues create", "jobs delete", "jobs retry", "jobs cancel",
    "jobs release", "batches cancel",
}  # fmt: skip
Request = tuple[str, str, dict[str, Any] | None]


def _acts(action: str, status: str, **more: Any) -> Request:
    body = {"action": action, "filter": {"statuses": [status]}, **more}
    return "POST", "/v1/jobs/actions", body


def _on_mail(action: str, **more: Any) -> Request:
    body = {"action": action, "queues": ["mail"], **more}
    return "POST", "/v1/queues/actions", body


# A change by a command, and by a request.
CHANGES: dict[str, tuple[str, Request]] = {
    "batches cancel": (
        f"{BATCH} --yes", ("POST", f"/v1/batches/{BATCH}/cancel", None)
    ),
    "batches delete": (f"{ENDED} --yes", ("DELETE", f"/v1/batches/{ENDED}", None)),
    "batches retry": (BATCH, ("POST", f"/v1/batches/{BATCH}/retry", None)),
    "batches seal": (OPEN, ("POST", f"/v1/batches/{OPEN}/seal", None)),
    "cleanup": ("", ("POST", "/queue/cleanup", None)),
    "cron create": (
        "new --kind noop --cron @daily",
        ("POST", "/v1/cron", {"name": "new", "kind": "noop", "cron_expr": "@daily"}),
    ),
    "cron delete": ("nightly --yes", ("DELETE", "/v1/cron/nightly", None)),
    "cron disable": (
        "nightly", ("POST", "/v1/cron/nightly/enabled", {"enabled": False})
    ),
    "cron enable": ("nightly", ("POST", "/v1/cron/nightly/enabled", {"enabled": True})),
    "cron set": (
        "nightly --cron @hourly",
        ("PATCH", "/v1/cron/nightly", {"cron_expr": "@hourly"}),
    ),
    "cron trigger": ("nightly", ("POST", "/v1/cron/nightly/trigger", None)),
    "jobs cancel": ("--scheduled --yes", _acts("cancel", "scheduled")),
    "jobs delete": ("--dead --yes", _acts("delete", "dead")),
    "jobs release": (TIED, ("POST", f"/v1/jobs/{TIED}/release", None)),
    "jobs reschedule": (
        "--scheduled --yes --run-at 2199-01-31T12:00:00+00:00",
        _acts("reschedule", "scheduled", run_at="2199-01-31T12:00:00+00:00"),
    ),
    "jobs retry": ("--dead --yes", _acts("retry", "dead")),
    "jobs run-now": ("--scheduled --yes", _acts("run_now", "scheduled")),
    "limits delete": ("card --yes", ("DELETE", "/v1/rate-limits/card", None)),
    "limits drain": ("card", ("POST", "/v1/rate-limits/card/drain", None)),
    "limits set": (
        "card --capacity 2 --refill 0.5",
        ("PUT", "/v1/rate-limits/card", {"capacity": 2, "refill_per_sec": 0.5}),
    ),
    "queues cool-down": ("mail --for 60", _on_mail("cool_down", seconds=60)),
    "queues create": ("new", ("POST", "/v1/queues", {"name": "new"})),
    "queues delete": ("spare --yes", ("DELETE", "/v1/queues/spare", None)),
    "queues end-cool-down": ("mail", _on_mail("end_cooldown")),
    "queues pause": (
        "mail --reason token=s3cr3t-t0ken",
        _on_mail("pause", reason="token=s3cr3t-t0ken"),
    ),
    "enqueue": (
        """noop '{"token": "s3cr3t"}' --queue mail --priority 3""",
        ("POST", "/v1/jobs", {
            "kind": "noop", "payload": {"token": "s3cr3t"}, "queue_name": "mail",
            "priority": 3,
        }),
    ),
    "queues resume": ("mail", _on_mail("resume")),
    "queues set": (
        "mail --max-workers 3 --max-pending 0",
        ("PATCH", "/v1/queues/mail", {"max_workers": 3, "max_pending": None}),
    ),
}  # fmt: skip
# The pruning of the trail has no route.
WITHOUT_ROUTE = {"audit prune", "db migrate"}
TREE = {" ".join(path): command for path, command in commands(forge_jobs_group)}


@dataclass(frozen=True)
class Filled:
    """A database with one of each, for copies, and ids of what is in it."""

    folder: Path
    ids: dict[str, str]

    def words(self, text: str) -> list[str]:
        """Return arguments with the ids."""
        return [self.ids.get(each, each) for each in shlex.split(text)]

    def path(self, text: str) -> str:
        """Return the path of a route with the ids."""
        return "/".join(self.ids.get(each, each) for each in text.split("/"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    made = Console(tmp_path_factory.mktemp("filled"), settings=SOUND)
    storage = made.storage
    later = NewJob("noop", queue_name="mail", delay=timedelta(minutes=15))
    ids = {
        DEAD: job_with(storage, JobStatus.DEAD, queue_name="mail"),
        WAITING: storage.jobs.enqueue(later).id,
    }
    ids |= batches_in(storage, ids[WAITING])
    enqueue(storage, queue_name="busy")
    job = claim_one(storage, queue_name="busy")
    assert storage.concurrency.acquire(job, OWNER, "account 7", 9)
    storage.queues.ensure("spare")
    made.text("cron", "create", "nightly", "--kind", "noop", "--cron", "0 3 * * *")
    made.text("cron", "trigger", "nightly")
    made.text("limits", "set", "card", "--capacity", "5", "--refill", "1")
    Sql(state_of(made.app).database.settings).age(5)  # younger events do not show
    storage.close()
    return Filled(Path(made.app.instance_path), ids)


def batches_in(storage: Storage, later: str) -> dict[str, str]:
    """Store batches, and a job that waits for another one; return their ids."""
    tied = storage.jobs.enqueue(NewJob("noop", queue_name="tied", after=[later])).id
    part = NewJob("part", queue_name="parts")
    makes = storage.batches.create
    batch = makes(NewBatch("report"), [part, replace(part, run_at=MUCH_LATER)]).id
    run(storage, Dead("no"), queue_name="parts")
    return {
        TIED: tied,
        BATCH: batch,
        OPEN: makes(NewBatch("import"), is_sealed=False).id,
        ENDED: makes(NewBatch("empty")).id,
    }


@pytest.fixture
def console(filled: Filled, tmp_path: Path) -> Iterator[Console]:
    """The commands over a copy of the database, with a live worker."""
    tmp_path.chmod(0o700)
    shutil.copy(filled.folder / "queue.sqlite", tmp_path)
    made = Console(tmp_path, settings=SOUND)
    made.storage.workers.beat("W", "web-1", ["mail"], [])
    yield made
    made.storage.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The commands over an empty database; those that make something come last."""
    folder = tmp_path_factory.mktemp("empty")
    folder.chmod(0o700)
    made = Console(folder, settings=SOUND)
    made.storage.open()
    yield made
    made.storage.close()


# Last, as the database is empty until then.
MAKERS = {"cron create", "enqueue", "limits set", "queues create"}
each_command = pytest.mark.parametrize("name", sorted(CELLS, key=MAKERS.__contains__))


@each_command
def test_it_shows_what_there_is(console: Console, filled: Filled, name: str) -> None:
    words = [*name.split(), *filled.words(CELLS[name].words)]

    shown = console.run(*words)

    assert CELLS[name].shows in shown.stdout
    assert shown.exit_code in OF_FINDINGS.get(name, {0}), shown.stderr
    if any("--json" in option.opts for option in TREE[name].params) and (
        name not in ONCE
    ):
        printed = console.run(*words, "--json").stdout
        assert all(json.loads(line) for line in printed.splitlines())
        assert printed or name == "logs"


@each_command
def test_it_says_that_there_is_nothing(
    empty: Console, filled: Filled, name: str
) -> None:
    result = empty.run(*name.split(), *filled.words(CELLS[name].words))

    assert CELLS[name].empty in result.output
    assert "Traceback" not in result.output


@each_command
def test_it_refuses_bad_arguments_in_words(empty: Console, name: str) -> None:
    result = empty.run(*name.split(), *shlex.split(CELLS[name].bad))

    assert result.exit_code in (1, 2)
    assert CELLS[name].error in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_the_entry_of_its_route(
    console: Console, filled: Filled, tmp_path: Path, name: str
) -> None:
    words, (method, path, body) = CHANGES[name]
    folder = tmp_path / "other"
    folder.mkdir()
    shutil.copy(filled.folder / "queue.sqlite", folder)
    other = Console(folder)
    other.storage.open()
    other.app.testing = True  # lets the request in

    console.text(*name.split(), *filled.words(words))
    answer = other.app.test_client().open(
        f"/forge-jobs{filled.path(path)}",
        method=method,
        json=body,
        headers={"X-Forge-Jobs": "1"},
    )

    assert answer.status_code < 300, answer.text
    of_command, of_route = console.entries()[0], other.entries()[0]
    other.storage.close()
    assert of_command.actor.startswith("command:")
    assert comparable(of_command) == comparable(of_route)


def comparable(record: AuditRecord) -> AuditRecord:
    """Return an entry without the caller and without what time changes."""
    arguments = json.loads(record.arguments)
    body = {k: v for k, v in (arguments.get("body") or {}).items() if v is not None}
    is_new = record.action == "enqueue"
    return replace(
        record,
        actor="",
        target="new" if is_new and record.target else record.target,
        address="",
        request_id="",
        arguments=json.dumps(body, sort_keys=True),
    )


def test_no_command_is_left_out() -> None:
    assert {*CELLS, *ELSEWHERE} == set(TREE)
    assert not {*CELLS} & {*ELSEWHERE}
    reads = {"jobs", "list", "show", "next", "runs", "status", "holders", "new"}
    changes = {
        each for each in CELLS if " " in each and each.split()[1] not in reads
    } | {"cleanup", "enqueue"}
    assert {*CHANGES, *WITHOUT_ROUTE} == changes


# Flask's own, and what checks the API's JSON.
LIGHT = {
    "blinker", "click", "colorama", "dotenv", "flask", "flask_forge_jobs",
    "itsdangerous", "jinja2", "markupsafe", "marshmallow", "tzdata", "werkzeug",
}  # fmt: skip
PROGRAM = """
import sys
before = {*sys.modules}  # a distribution's Python may have a sitecustomize
from flask import Flask
from flask_forge_jobs import ForgeJobs
app = Flask("shop", instance_path=sys.argv[1])
ForgeJobs(app)
for words in sys.argv[2:]:
    result = app.test_cli_runner().invoke(args=["forge-jobs", *words.split()])
    assert result.exit_code in (0, 1), (words, result.output)
names = {name.partition(".")[0] for name in {*sys.modules} - before}
print(*{name for name in names - sys.stdlib_module_names if name[0].isalpha()})
"""


def test_commands_that_read_load_few_packages(tmp_path: Path) -> None:
    """One that drew in SQLAlchemy or Prometheus would start late."""
    reads = [
        name for name, cells in CELLS.items() if not cells.words and name != "openapi"
    ]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, *reads],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(reads) > 10
    assert set(done.stdout.split()) - LIGHT == set()
