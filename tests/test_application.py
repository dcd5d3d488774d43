"""An application as its author meets it: keys, contexts, several in one process."""

from __future__ import annotations

import decimal
import gc
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context, has_request_context

from flask_forge_jobs import ConfigurationError, Dead, ForgeJobs, JobStatus, current_job
from flask_forge_jobs.model.jobs import Job, NewJob
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage import flusher
from tests.support.applications import worker
from tests.support.runtimes import threads_named
from tests.support.waiting import wait_until

LIMIT_S = 30.0
MakeApp = Callable[..., Flask]


@pytest.fixture
def forge() -> ForgeJobs:
    return ForgeJobs()


@pytest.fixture
def make_app(forge: ForgeJobs, tmp_path: Path) -> Iterator[MakeApp]:
    """Make applications on SQLite files of their own; one backend is enough here."""
    made: list[Flask] = []

    def make(name: str = "shop", **config: object) -> Flask:
        app = Flask(name, instance_path=str(tmp_path / name))
        app.testing = True
        # Jobs wait for the workers of these tests.
        app.config.update({"FORGE_JOBS_INLINE": "off", **config})
        forge.init_app(app)
        made.append(app)
        return app

    yield make
    for app in made:
        state_of(app).storage.close()


def enqueue(app: Flask, kind: str) -> str:
    with app.app_context():
        forge_of: ForgeJobs = app.make_shell_context()["forge"]
        return forge_of.enqueue(kind).id


def stored(app: Flask, job_id: str) -> Job:
    return state_of(app).storage.job_reader.get(job_id)


# -- contexts in a worker --------------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    [None, ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError],
)
def test_each_attempt_has_its_context_popped_however_it_ends(
    make_app: MakeApp, forge: ForgeJobs, ending: type[BaseException] | None
) -> None:
    """Rule 1: ``g`` starts empty, and teardown runs before the next job."""
    app = make_app()
    seen: list[tuple[bool, str]] = []
    torn_down: list[Any] = []
    app.teardown_appcontext(lambda _: torn_down.append(g.pop("mark", None)))

    @forge.task
    def ends() -> None:
        seen.append(("mark" in g, current_app.name))
        g.mark = len(seen)
        if ending is not None:
            raise ending

    jobs = [enqueue(app, "ends"), enqueue(app, "ends")]
    torn_down.clear()
    with worker(app, threads=1) as runs:
        runs.wait_for(2)

    assert seen == [(False, "shop")] * 2
    assert torn_down == [1, 2]
    expected = JobStatus.DONE if ending is None else JobStatus.FAILED
    assert {stored(app, job_id).status for job_id in jobs} == {expected}


FORGED = "refused\n2026-01-01 ERROR all is lost\r\x1b[31m\u202e"
TRACEBACK = "Traceback (most recent call last):"
SECRETS = (
    "password=hunterzwei iban: hunterzwei postgresql://ada:hunterzwei@db/shop "
    '{"order": {"card_number": "hunterzwei"}}'
)


@pytest.mark.parametrize(
    "ending",
    [
        ValueError(FORGED + SECRETS),
        KeyError(SECRETS),
        ExceptionGroup(FORGED, [ValueError(SECRETS)]),
        Dead(FORGED + SECRETS),
    ],
    ids=lambda error: type(error).__name__,
)
def test_sec_S41_what_a_task_raises_is_masked_and_one_line(
    make_app: MakeApp,
    forge: ForgeJobs,
    caplog: pytest.LogCaptureFixture,
    ending: Exception,
) -> None:
    """S37 as well: in the table, and in whatever the log is told."""
    app = make_app(FORGE_JOBS_REDACT_KEYS=["iban"])
    formatter = logging.Formatter("%(message)s")

    @forge.task
    def ends() -> None:
        raise ending

    job_id = enqueue(app, "ends")
    with (
        caplog.at_level(logging.DEBUG, "flask_forge_jobs"),
        worker(app, threads=1) as runs,
    ):
        runs.wait_for(1)

    job = stored(app, job_id)
    texts = [str(job.last_error), *(entry.message for entry in job.error_history)]
    messages = [formatter.format(record) for record in caplog.records]
    lines = [line for message in messages for line in message.split("\n")]
    assert len(texts) > 1
    assert [line for line in lines if "ends" in line]
    # Only the lines of the traceback, each of them indented, follow the first.
    further = [line for message in messages for line in message.split("\n")[1:]]
    assert further[0] in (f"    {TRACEBACK}", f"      + Exception Group {TRACEBACK}")
    assert all(line.startswith("    ") for line in further)
    for text in texts + lines:
        assert "hunterzwei" not in text
        assert text.isprintable()
    assert all("[redacted]" in text for text in texts)


def test_a_teardown_that_fails_leaves_the_outcome(
    make_app: MakeApp, forge: ForgeJobs, caplog: pytest.LogCaptureFixture
) -> None:
    """Q13: the work is done, and doing it again would do it twice."""
    app = make_app()
    is_worker = threading.Event()

    @app.teardown_appcontext
    def fail(error: BaseException | None) -> None:
        del error
        if is_worker.is_set():
            raise OSError("the pool is gone")

    ended = threading.Semaphore(0)

    @forge.task
    def works() -> str:
        ended.release()
        return "done"

    job_id = enqueue(app, "works")
    is_worker.set()
    handle = state_of(app).runtime(threads=1).with_queues(["default"]).start()
    assert ended.acquire(timeout=LIMIT_S)
    assert handle.shutdown_graceful(LIMIT_S)

    job = stored(app, job_id)
    assert (job.status, job.result) == (JobStatus.DONE, '"done"')
    assert f"the context of job {job_id} failed" in caplog.text
    assert "the pool is gone" in caplog.text


def test_a_task_sees_no_request(make_app: MakeApp, forge: ForgeJobs) -> None:
    """Rule 2: the request that enqueued it is not carried along."""
    app = make_app()

    @forge.task
    def look() -> list[bool]:
        return [has_app_context(), has_request_context()]

    @app.get("/")
    def index() -> str:
        return look.enqueue().id

    job_id = app.test_client().get("/").text
    with worker(app) as runs:
        runs.wait_for(1)

    assert stored(app, job_id).result == "[true,false]"


def test_a_task_that_is_called_runs_in_the_callers_context(
    make_app: MakeApp, forge: ForgeJobs
) -> None:
    """Rule 3: no second context, whose teardown would come too early."""
    app = make_app()
    torn_down: list[object] = []
    app.teardown_appcontext(lambda _: torn_down.append(1))

    @forge.task
    def note() -> None:
        g.seen = True

    with app.app_context():
        note()
        assert g.seen
        assert torn_down == []


def test_async_tasks_have_the_context_too(make_app: MakeApp, forge: ForgeJobs) -> None:
    app = make_app()

    @forge.task
    async def look() -> list[str]:
        return [current_app.name, current_job.kind]

    job_id = enqueue(app, "look")
    with worker(app) as runs:
        runs.wait_for(1)

    assert stored(app, job_id).result == '["shop","look"]'


def test_what_a_task_leaves_behind_does_not_meet_the_next(
    make_app: MakeApp, forge: ForgeJobs
) -> None:
    """Q10, as far as threads can: context variables and contexts left open."""
    app = make_app()
    other = Flask("other")
    threads: list[int] = []

    @forge.task
    def litter() -> list[object]:
        threads.append(threading.get_ident())
        decimal.getcontext().prec = 3
        other.app_context().push()
        return [current_app.name, threads[0]]

    @forge.task(priority=1)
    def look() -> list[object]:
        return [current_app.name, decimal.getcontext().prec, threading.get_ident()]

    jobs = [enqueue(app, kind) for kind in ("litter", "look")]
    with worker(app, threads=1) as runs:
        runs.wait_for(2)

    assert stored(app, jobs[0]).result == f'["other",{threads[0]}]'
    assert stored(app, jobs[1]).result == f'["shop",28,{threads[0]}]'


# -- several applications --------------------------------------------------------------


def test_workers_of_two_applications_stay_with_their_own(
    make_app: MakeApp, forge: ForgeJobs
) -> None:
    one, two = make_app("one"), make_app("two")

    @forge.task
    def name() -> str:
        return current_app.name

    first, second = enqueue(one, "name"), enqueue(two, "name")
    with worker(one) as runs, worker(two) as other_runs:
        runs.wait_for(1)
        other_runs.wait_for(1)

    assert stored(one, first).result == '"one"'
    assert stored(two, second).result == '"two"'
    assert state_of(one).storage.job_reader.statistics()["default"].counts.total == 1


def test_a_second_extension_in_one_application_is_refused(make_app: MakeApp) -> None:
    app = make_app()
    before = state_of(app)

    with pytest.raises(RuntimeError, match="called twice for one application"):
        ForgeJobs(app)

    assert state_of(app) is before


# -- keys from the environment ---------------------------------------------------------


def test_keys_may_come_from_prefixed_environment_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``from_prefixed_env`` reads values as JSON, and as text where they are not."""
    monkeypatch.setenv("FLASK_FORGE_JOBS_DATABASE_URL", "sqlite:///from-env.sqlite")
    monkeypatch.setenv("FLASK_FORGE_JOBS_LEASE_S", "12.5")
    monkeypatch.setenv("FLASK_FORGE_JOBS_ENABLE_DEMO", "true")
    monkeypatch.setenv("FLASK_FORGE_JOBS_URL_PREFIX", "/ops")
    monkeypatch.setenv("FLASK_FORGE_JOBS_REDACT_KEYS", '["pin", "iban"]')
    app = Flask("shop", instance_path=str(tmp_path))
    app.config.from_prefixed_env()

    ForgeJobs(app)

    state = state_of(app)
    assert state.settings.lease_s == 12.5
    assert state.settings.enable_demo is True
    assert state.settings.redact_keys == ("pin", "iban")
    assert state.database.settings.path == tmp_path / "from-env.sqlite"
    assert "/ops/health" in {rule.rule for rule in app.url_map.iter_rules()}


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("FORGE_JOBS_LEASES", "5", "FORGE_JOBS_LEASES: unknown setting; did you mean"),
        ("FORGE_JOBS_LEASE_S", "soon", "FORGE_JOBS_LEASE_S: must be a number"),
        ("FORGE_JOBS_MIGRATE", "no", "FORGE_JOBS_MIGRATE: must be True or False"),
        (
            "FORGE_JOBS_AUTH__TOKEN",
            "x",
            "FORGE_JOBS_AUTH: must be 'bearer', a callable",
        ),
    ],
)
def test_wrong_environment_variables_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
) -> None:
    """Q12: two underscores make a nested key, which none of ours is."""
    monkeypatch.setenv(f"FLASK_{variable}", value)
    app = Flask("shop", instance_path=str(tmp_path))
    app.config.from_prefixed_env()

    with pytest.raises(ConfigurationError) as caught:
        ForgeJobs(app)

    assert str(caught.value).startswith(why)


# -- opening nothing -------------------------------------------------------------------


def test_setting_up_opens_no_file_thread_or_socket(tmp_path: Path) -> None:
    """So that an application may be made before its server forks (design 4)."""
    program = """
import json, os, sys, threading
import flask, flask_forge_jobs
app = flask.Flask("shop", instance_path=sys.argv[1])
before = set(os.listdir("/dev/fd"))
forge = flask_forge_jobs.ForgeJobs(app)
@forge.task
def send(user_id: int) -> None: ...
send.options(queue="mail").job(user_id=7)
print(json.dumps({
    "descriptors": sorted(set(os.listdir("/dev/fd")) - before),
    "threads": threading.active_count(),
    "drivers": sorted({"psycopg2", "gunicorn"} & set(sys.modules)),
    "instance": os.path.exists(sys.argv[1]),
}))
"""
    instance = tmp_path / "instance"

    finished = subprocess.run(
        [sys.executable, "-c", program, str(instance)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )

    assert json.loads(finished.stdout) == {
        "descriptors": [],
        "threads": 1,
        "drivers": [],
        "instance": False,
    }


def test_applications_that_go_away_take_their_threads_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those that a run of tests makes, one for each of its tests."""
    monkeypatch.setattr(flusher, "PERIOD_S", 0.01)
    before = set(threads_named("forge-jobs"))
    for number in range(10):
        app = Flask(f"shop{number}")
        app.testing = True
        forge = ForgeJobs(app)
        forge.task(kind="quick")(lambda: None)
        with app.app_context():
            forge.enqueue("quick")
    del app, forge

    def are_gone() -> bool:
        gc.collect()
        return not set(threads_named("forge-jobs")) - before

    wait_until(are_gone, "no thread is left")


@pytest.mark.parametrize(
    ("debug", "said"),
    [
        (True, "no worker serves queue mail, its jobs wait"),
        (
            False,
            (
                "no worker has ever served queue mail, its jobs wait; start one with "
                "`flask forge-jobs worker --queues mail`"
            ),
        ),
    ],
)
def test_an_enqueue_that_nobody_will_run_is_warned_of_once(
    make_app: MakeApp,
    forge: ForgeJobs,
    caplog: pytest.LogCaptureFixture,
    *,
    debug: bool,
    said: str,
) -> None:
    app = make_app()
    app.testing, app.debug = False, debug

    with app.app_context():
        forge.enqueue("other", queue="mail")
        forge.enqueue_many([NewJob("other", queue_name="mail")])

    assert caplog.messages == [said]
