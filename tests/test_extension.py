from __future__ import annotations

import contextlib
import gc
import inspect
import json
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g

from flask_forge_jobs import (
    ConfigurationError,
    DatabaseConfig,
    DatabaseSettings,
    DuplicateJobError,
    ForgeJobs,
    InvalidInputError,
    JobStatus,
    KindPrefixRouter,
    NewJob,
    TaskContext,
)
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.config.paths import FixedPaths
from flask_forge_jobs.state import state_of
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)
DEADLINE_S = 20.0


def make_app(tmp_path: Path, **config: Any) -> Flask:
    app = Flask("tests.test_extension", instance_path=str(tmp_path / "instance"))
    # Jobs wait for the workers of these tests.
    app.config.update({"FORGE_JOBS_INLINE": "off", **config})
    return app


@pytest.fixture
def forge() -> ForgeJobs:
    return ForgeJobs()


@pytest.fixture
def app(forge: ForgeJobs, tmp_path: Path) -> Iterator[Flask]:
    """An application on SQLite with its context pushed."""
    app = make_app(tmp_path, TESTING=True)
    forge.init_app(app)
    with app.app_context(), contextlib.closing(state_of(app).storage):
        yield app


# -- setting up ------------------------------------------------------------------------


def test_tokens_close_the_routes_with_and_without_the_word_bearer(
    tmp_path: Path,
) -> None:
    token, digest = new_token("ci")
    entry = {"id": "ci", "sha256": digest, "role": "viewer"}
    for auth in (None, "bearer"):
        app = make_app(
            tmp_path, TESTING=True, FORGE_JOBS_AUTH=auth, FORGE_JOBS_TOKENS=[entry]
        )
        ForgeJobs(app)
        client = app.test_client()
        known = {"Authorization": f"Bearer {token}"}

        with contextlib.closing(state_of(app).storage):
            assert client.get("/forge-jobs/queue/overview").status_code == 401
            answer = client.get("/forge-jobs/queue/overview", headers=known)
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"AUTH": "bearer"}, "TOKENS"),
        ({"AUTH": "bearer", "TOKENS": []}, "TOKENS"),
        ({"TOKENS": [{"id": "ci", "role": "viewer", "sha256": "x"}]}, "TOKENS"),
        ({"METRICS_AUTH": "token"}, "METRICS_AUTH"),
        ({"RATE_LIMITS": {"read": "often"}}, "RATE_LIMITS"),
    ],
)
def test_settings_that_contradict_stop_the_start(
    tmp_path: Path, config: dict[str, object], key: str
) -> None:
    app = make_app(tmp_path)
    app.config.update({f"FORGE_JOBS_{name}": value for name, value in config.items()})

    with pytest.raises(ConfigurationError) as raised:
        ForgeJobs(app)

    assert raised.value.key == f"FORGE_JOBS_{key}"


def test_edge_settings_reach_the_blueprint(tmp_path: Path) -> None:
    app = make_app(
        tmp_path,
        TESTING=True,
        FORGE_JOBS_READ_ONLY=True,
        FORGE_JOBS_RATE_LIMITS={"write": "1/hour"},
        FORGE_JOBS_CORS_ORIGINS=["https://ops.example"],
        FORGE_JOBS_METRICS_AUTH="none",
    )
    ForgeJobs(app)
    client = app.test_client()

    def pause() -> int:
        url = "/forge-jobs/queue/mail/paused"
        return client.post(url, json={"paused": True}).status_code

    with contextlib.closing(state_of(app).storage):
        assert [pause(), pause()] == [403, 429]
        elsewhere = client.get(
            "/forge-jobs/metrics",
            headers={"Origin": "https://ops.example"},
            environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
        )
    assert elsewhere.status_code == 200
    assert elsewhere.headers["Access-Control-Allow-Origin"] == "https://ops.example"


def test_constructor_and_init_app_do_the_same(tmp_path: Path) -> None:
    at_once = make_app(tmp_path)
    ForgeJobs(at_once)
    later = make_app(tmp_path)
    ForgeJobs().init_app(later)

    for app in (at_once, later):
        assert "forge_jobs" in app.extensions
        assert "forge_jobs" in app.blueprints
        assert "forge-jobs" in app.cli.commands


def test_the_program_of_the_reference_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, _, rest = (inspect.getdoc(ForgeJobs) or "").partition("A complete program::\n")
    program = [line for line in rest.split("\nOutside")[0].splitlines() if line]
    names: dict[str, Any] = {"__name__": "app"}

    exec(textwrap.dedent("\n".join(program)), names)
    names["app"].testing = True
    answer = names["app"].test_client().post("/signup")

    assert len(answer.get_json()["job"]) == 26


def test_init_app_opens_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()

    ForgeJobs(make_app(tmp_path))

    assert list(tmp_path.rglob("*")) == []
    assert threading.active_count() <= threads


def test_an_application_is_initialised_once(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    ForgeJobs(app)

    with pytest.raises(
        RuntimeError, match=r"called twice .*; ForgeJobs\(app\) calls it"
    ):
        ForgeJobs().init_app(app)


def test_the_extension_does_not_keep_an_application_alive(tmp_path: Path) -> None:
    forge = ForgeJobs()
    app = make_app(tmp_path)
    forge.init_app(app)
    alive = weakref.ref(app)

    del app
    gc.collect()

    assert alive() is None


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"FORGE_JOBS_LEASE": 30}, "FORGE_JOBS_LEASE"),
        ({"FORGE_JOBS_LEASE_S": "soon"}, "FORGE_JOBS_LEASE_S"),
        ({"FORGE_JOBS_DATABASE_URL": "mysql://h/d"}, "FORGE_JOBS_DATABASE_URL"),
        ({"FORGE_JOBS_DATABASE_FILE": "/nowhere.toml"}, "FORGE_JOBS_DATABASE_FILE"),
    ],
)
def test_wrong_configuration_is_named_by_its_key(
    tmp_path: Path, config: dict[str, Any], key: str
) -> None:
    app = make_app(tmp_path, **config)

    with pytest.raises(ConfigurationError) as caught:
        ForgeJobs(app)

    assert caught.value.key == key
    assert "forge_jobs" not in app.extensions


def test_a_database_that_is_chosen_already_is_taken(tmp_path: Path) -> None:
    app = make_app(tmp_path, FORGE_JOBS_DATABASE_URL="sqlite:///other.db")
    given = DatabaseConfig(DatabaseSettings(path=tmp_path / "given.db", source="mine"))

    ForgeJobs(app, database=given)

    assert state_of(app).database is given
    state_of(app).storage.open()
    assert (tmp_path / "given.db").exists()
    state_of(app).storage.close()


def test_setup_can_be_repeated_after_it_failed(tmp_path: Path) -> None:
    app = make_app(tmp_path, FORGE_JOBS_LEASE_S="soon")
    forge = ForgeJobs()
    with pytest.raises(ConfigurationError):
        forge.init_app(app)

    app.config["FORGE_JOBS_LEASE_S"] = 30
    forge.init_app(app)

    assert state_of(app).settings.lease_s == 30


@pytest.mark.parametrize("is_testing", [False, True])
def test_default_database_is_in_the_instance_folder_but_not_in_tests(
    tmp_path: Path, *, is_testing: bool
) -> None:
    app = make_app(tmp_path)
    ForgeJobs(app)
    app.testing = is_testing  # as an application's tests often do, after init_app
    with contextlib.closing(state_of(app).storage) as storage:
        storage.open()

    is_there = (Path(app.instance_path) / "queue.sqlite").exists()
    assert is_there is not is_testing


def test_a_database_of_a_program_s_own_is_used_in_tests_too(tmp_path: Path) -> None:
    app = make_app(tmp_path, TESTING=True)
    path = tmp_path / "own.sqlite"
    ForgeJobs(app, database=DatabaseConfig(DatabaseSettings(path=path)))
    with contextlib.closing(state_of(app).storage) as storage:
        storage.open()

    assert path.exists()


def test_directories_can_be_chosen(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    ForgeJobs(app, paths=FixedPaths(tmp_path / "config", tmp_path / "data"))

    path = state_of(app).database.settings.path

    assert path is not None
    assert (tmp_path / "data") in path.parents


def test_routes_are_under_the_prefix(app: Flask, tmp_path: Path) -> None:
    assert app.test_client().get("/forge-jobs/health").status_code == 200

    other = make_app(tmp_path, FORGE_JOBS_URL_PREFIX="/internal/queue")
    ForgeJobs(other)
    with contextlib.closing(state_of(other).storage):
        assert other.test_client().get("/internal/queue/health").status_code == 200
        assert other.test_client().get("/forge-jobs/health").status_code == 404


def test_shell_knows_the_extension(app: Flask, forge: ForgeJobs) -> None:
    assert app.make_shell_context()["forge"] is forge


@pytest.mark.parametrize(("is_on", "kinds"), [(True, ["noop_echo"]), (False, [])])
def test_demo_task_comes_with_the_demo_route(
    tmp_path: Path, *, is_on: bool, kinds: list[str]
) -> None:
    forge = ForgeJobs(make_app(tmp_path, FORGE_JOBS_ENABLE_DEMO=is_on))

    assert forge.registry.kinds() == kinds


def test_demo_task_does_not_replace_the_applications_own(tmp_path: Path) -> None:
    forge = ForgeJobs()
    own = NoopEcho()
    forge.registry.add(own)

    forge.init_app(make_app(tmp_path, FORGE_JOBS_ENABLE_DEMO=True))

    assert forge.registry.get("noop_echo") is own


# -- tasks and enqueueing --------------------------------------------------------------


def test_tasks_are_registered_with_and_without_parentheses(forge: ForgeJobs) -> None:
    @forge.task
    def bare() -> None: ...

    @forge.task()
    def empty() -> None: ...

    @forge.task(kind="mail.send")
    def named() -> None: ...

    assert forge.registry.kinds() == ["bare", "empty", "mail.send"]
    assert forge.registry.get("mail.send") is named


@pytest.mark.usefixtures("app")
def test_enqueue_stores_a_job(forge: ForgeJobs) -> None:
    @forge.task(queue="mail", max_attempts=2, timeout_s=30, priority=4)
    def send(context: TaskContext, user_id: int) -> None: ...

    result = send.enqueue(user_id=7)
    job = forge.storage.job_reader.get(result.id)

    assert (result.kind, result.queue_name, result.status) == (
        "send",
        "mail",
        "pending",
    )
    assert (job.kind, job.queue_name, job.payload) == ("send", "mail", '{"user_id":7}')
    assert (job.max_attempts, job.timeout_s, job.priority) == (2, 30, 4)
    assert job.status is JobStatus.PENDING


@pytest.mark.usefixtures("app")
def test_options_reach_the_stored_job(forge: ForgeJobs) -> None:
    @forge.task
    def send(user_id: int) -> None: ...

    chosen = send.options(queue="mail", priority=-5, run_at=NOON, dedupe_key="7")
    first, again = chosen.enqueue(7), chosen.enqueue(8)
    job = forge.storage.job_reader.get(first.id)

    assert (job.queue_name, job.priority, job.dedupe_key) == ("mail", -5, "7")
    assert job.scheduled_at == NOON
    assert again.is_deduped
    assert again.id == first.id


def test_isolation_is_chosen_at_registration(forge: ForgeJobs) -> None:
    @forge.task
    def here() -> None: ...

    @forge.task(isolation="process")
    def elsewhere() -> str:
        return "called"

    assert (here.isolation, elsewhere.isolation) == ("thread", "process")
    assert elsewhere() == "called"
    with pytest.raises(InvalidInputError, match="'fork' is neither 'thread' nor 'pro"):
        forge.task(isolation="fork")(here)  # type: ignore[call-overload]  # the point


@pytest.mark.usefixtures("app")
def test_raw_kinds_and_payloads_are_possible(forge: ForgeJobs) -> None:
    jobs = [
        forge.enqueue("elsewhere"),
        forge.enqueue("elsewhere", [1, "two", None], queue="other", priority=1),
        forge.enqueue("elsewhere", {}, max_attempts=9, run_at=NOON, timeout_s=3),
    ]

    stored = [forge.storage.job_reader.get(job.id) for job in jobs]

    assert [job.payload for job in stored] == ["{}", '[1,"two",null]', "{}"]
    assert [job.queue_name for job in stored] == ["default", "other", "default"]
    assert [job.max_attempts for job in stored] == [5, 5, 9]
    assert (stored[2].scheduled_at, stored[2].timeout_s) == (NOON, 3)


@pytest.mark.usefixtures("app")
def test_raw_kind_of_a_known_task_is_checked_and_gets_its_options(
    forge: ForgeJobs,
) -> None:
    @forge.task(queue="mail", max_attempts=2)
    def send(user_id: int) -> None: ...

    job = forge.storage.job_reader.get(forge.enqueue("send", {"user_id": 7}).id)

    assert (job.queue_name, job.max_attempts) == ("mail", 2)
    for payload in (None, {"user": 7}, [7]):
        with pytest.raises(InvalidInputError) as caught:
            forge.enqueue("send", payload)
        assert caught.value.field == "payload"


@pytest.mark.usefixtures("app")
def test_wrong_input_stores_nothing(forge: ForgeJobs) -> None:
    for kind, payload in (("", {}), ("k", {"a": float("nan")}), ("k", {1: 2})):
        with pytest.raises(InvalidInputError):
            forge.enqueue(kind, payload)
    with pytest.raises(InvalidInputError):
        forge.enqueue("k", queue="a,b")

    assert forge.storage.job_reader.statistics() == {}


@pytest.mark.usefixtures("app")
def test_key_of_another_kind_is_a_conflict(forge: ForgeJobs) -> None:
    held = forge.enqueue("one", dedupe_key="k")

    with pytest.raises(DuplicateJobError) as caught:
        forge.enqueue("two", dedupe_key="k")

    assert caught.value.job_id == held.id


@pytest.mark.usefixtures("app")
def test_jobs_are_unique_by_their_arguments(forge: ForgeJobs) -> None:
    @forge.task(dedupe_by_args=True, replace="run_at")
    def index(page: int, *, deep: bool = False) -> None: ...

    first = index.options(run_at=NOON).enqueue(1)
    again = forge.enqueue("index", {"page": 1})
    raw = [
        forge.enqueue("raw", {"a": 1, "b": 2}, dedupe_by_args=True),
        forge.enqueue("raw", {"b": 2, "a": 1}, dedupe_by_args=True),
    ]

    assert (again.id, again.is_replaced) == (first.id, True)
    assert again.scheduled_at < first.scheduled_at == NOON
    assert index.enqueue(1, deep=True).id != first.id
    assert (raw[1].id, raw[1].is_replaced) == (raw[0].id, False)
    with pytest.raises(InvalidInputError, match="dedupe_for"):
        forge.enqueue("raw", dedupe_for=timedelta(hours=1))


@pytest.mark.usefixtures("app")
def test_enqueue_many_stores_all_or_none(forge: ForgeJobs) -> None:
    @forge.task
    def send(user_id: int) -> None: ...

    results = forge.enqueue_many(send.job(number) for number in range(500))

    assert len({result.id for result in results}) == 500
    assert forge.storage.job_reader.statistics()["default"].counts.pending == 500
    with pytest.raises(InvalidInputError):
        forge.enqueue_many(NewJob("send") for _ in range(10_001))
    assert forge.storage.job_reader.statistics()["default"].counts.pending == 500


@pytest.mark.usefixtures("app")
def test_a_task_enqueues_many_calls_all_or_none(forge: ForgeJobs) -> None:
    @forge.task(queue="mail", priority=3)
    def send(user_id: int, name: str = "Ann") -> None: ...

    first, second = send.enqueue_many([{"user_id": 1, "name": "Bob"}, (2,)])
    (third,) = send.options(priority=7).enqueue_many((n,) for n in [3])
    with pytest.raises(InvalidInputError, match="argument `user_id` of `send`"):
        send.enqueue_many([(4,), ("5",)])

    reader = forge.storage.job_reader
    stored = [reader.get(job.id) for job in (first, second, third)]
    assert [each.payload for each in stored] == [
        '{"user_id":1,"name":"Bob"}', '{"user_id":2}', '{"user_id":3}',
    ]  # fmt: skip
    assert [each.priority for each in stored] == [3, 3, 7]
    assert reader.statistics()["mail"].counts.pending == 3


@pytest.mark.usefixtures("app")
def test_the_connection_of_many_calls_is_joined(forge: ForgeJobs) -> None:
    @forge.task
    def send(user_id: int) -> None: ...

    with pytest.raises(InvalidInputError) as caught:
        send.options(connection=object()).enqueue_many([(1,)])

    assert caught.value.field == "connection"


def test_router_chooses_for_both_ways_of_enqueueing(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    forge = ForgeJobs(app, router=KindPrefixRouter())

    @forge.task
    def gh_sync() -> None: ...

    with app.app_context(), contextlib.closing(forge.storage):
        assert gh_sync.enqueue().queue_name == "gh"
        assert forge.enqueue("slack_scan").queue_name == "slack"
        assert forge.enqueue("other").queue_name == "default"


def test_router_is_asked_for_new_jobs_that_name_no_queue(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    forge = ForgeJobs(app, router=KindPrefixRouter())

    @forge.task(queue="mail")
    def send() -> None: ...

    with app.app_context(), contextlib.closing(forge.storage):
        stored = forge.enqueue_many(
            [
                NewJob("gh_sync"),
                NewJob("gh_sync", queue_name="here"),
                NewJob("other"),
                NewJob("send"),
                send.job(),
            ]
        )
        first = state_of(app).runtime(1).enqueue(NewJob("gh_sync"))
        names = [first.queue_name, *(job.queue_name for job in stored)]

    assert names == [
        "gh", "gh", "here", "default", "mail", "mail",
    ]  # fmt: skip


def test_the_queue_of_a_task_holds_for_jobs_that_come_by_http(tmp_path: Path) -> None:
    app = make_app(tmp_path, TESTING=True)
    forge = ForgeJobs(app, router=KindPrefixRouter())

    @forge.task(queue="mail")
    def send() -> None: ...

    def queue_of(kind: str) -> str:
        body = {"kind": kind, "payload": {}}
        answer = app.test_client().post("/forge-jobs/v1/jobs", json=body)
        assert answer.json is not None
        return str(answer.json["queue_name"])

    with app.app_context(), contextlib.closing(forge.storage):
        assert [queue_of(kind) for kind in ("send", "gh_sync", "other")] == [
            "mail", "gh", "default",
        ]  # fmt: skip


def test_two_applications_keep_their_jobs_apart(tmp_path: Path) -> None:
    forge = ForgeJobs()

    @forge.task
    def send() -> None: ...

    for name, count in (("one", 1), ("two", 2)):
        app = make_app(tmp_path / name)
        forge.init_app(app)
        with app.app_context(), contextlib.closing(forge.storage) as storage:
            for _ in range(count):
                send.enqueue()
            assert storage.job_reader.statistics()["default"].counts.total == count


def test_enqueue_outside_an_application_is_explained(forge: ForgeJobs) -> None:
    @forge.task
    def send() -> None: ...

    with pytest.raises(RuntimeError, match="needs an application context"):
        send.enqueue()
    with pytest.raises(RuntimeError, match="needs an application context"):
        _ = forge.storage


def test_enqueue_from_a_view(app: Flask, forge: ForgeJobs) -> None:
    @forge.task
    def send_welcome(user_id: int) -> None: ...

    @app.post("/signup")
    def signup() -> dict[str, str]:
        return {"job": send_welcome.enqueue(user_id=7).id}

    job_id = app.test_client().post("/signup").get_json()["job"]

    assert forge.storage.job_reader.get(job_id).kind == "send_welcome"


# -- on the worker ---------------------------------------------------------------------


def test_a_worker_runs_tasks_in_fresh_application_contexts(
    app: Flask, forge: ForgeJobs
) -> None:
    """Teardown runs after each task, and ``g`` starts empty."""
    torn_down = threading.Semaphore(0)
    app.teardown_appcontext(lambda _error: torn_down.release())

    @forge.task
    def second(context: TaskContext) -> list[object]:
        return [context.attempt, "seen" in g]

    @forge.task
    def first(name: str) -> str:
        g.seen = True
        second.enqueue()
        return f"{name} in {current_app.name}"

    one = first.enqueue(name="Ann")
    handle = state_of(app).runtime(threads=1).with_queues(["default"]).start()
    try:
        for _ in range(2):
            assert torn_down.acquire(timeout=DEADLINE_S)
    finally:
        assert handle.shutdown_graceful(DEADLINE_S)

    jobs = {job.kind: job for job in list_jobs(forge)}
    assert jobs["first"].id == one.id
    assert jobs["first"].result == '"Ann in tests.test_extension"'
    assert jobs["second"].result == "[1,false]"
    assert {job.status for job in jobs.values()} == {JobStatus.DONE}


def list_jobs(forge: ForgeJobs) -> list[Any]:
    from flask_forge_jobs.model.jobs import JobFilter

    reader = forge.storage.job_reader
    return [reader.get(job.id) for job in reader.page(JobFilter(), 10, 0).rows]


# -- importing -------------------------------------------------------------------------


def test_setting_up_imports_nothing_heavy(tmp_path: Path) -> None:
    """A worker has to finish its first job soon after it is started."""
    program = (
        "import json, sys, flask, flask_forge_jobs as f\n"
        f"app = flask.Flask('app', instance_path={str(tmp_path)!r})\n"
        "f.ForgeJobs(app)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )

    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = set(json.loads(finished.stdout))
    heavy = {
        "psycopg2",
        "gunicorn",
        "apispec",
        "prometheus_client",
        "asyncio",
        # With all pages, at the first request for one.
        "flask_forge_jobs.dashboard.page",
    }
    assert loaded & heavy == set()


@pytest.mark.parametrize(
    ("scope", "capacity", "refill", "field"),
    [("a/b", 1, 1, "scope"), ("a", 0, 1, "capacity"), ("a", 1, 0, "refill_per_sec")],
)
def test_rate_limit_refuses_what_is_outside_its_bounds(
    scope: str, capacity: int, refill: float, field: str
) -> None:
    forge = ForgeJobs()

    with pytest.raises(InvalidInputError) as caught:
        forge.rate_limit(scope, capacity=capacity, refill_per_sec=refill)

    assert caught.value.field == field
    assert forge.registry.rate_limits() == []
