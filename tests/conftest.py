"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.loaded import leave_out_of_collections
from flask_forge_jobs.storage import flusher
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres import listener
from tests.support.backends import BACKENDS
from tests.support.clocks import MovingClock
from tests.support.engines import remember_engines
from tests.support.postgres import fresh_database, running_server
from tests.support.rules import compile_rules_once
from tests.support.runtimes import LIMIT_S
from tests.support.sql import Sql
from tests.support.templates import compile_templates_once
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
pytest_plugins = "flask_forge_jobs.testing.plugin"


def pytest_xdist_auto_num_workers() -> int:
    """Return what ``-n auto`` stands for: two processes for each core.

    Half of the tests wait for other processes, so one alone would leave its core idle.
    With three, the gate took as long, as each process collects all tests.
    """
    return 2 * len(os.sched_getaffinity(0))


def pytest_configure() -> None:
    """Hear signals that a shell or nohup lets ignore, children included.

    Until the tests are collected, there is little garbage and much to walk.
    """
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection(session: pytest.Session) -> None:
    """Import the modules of a process's own part of the tests before the others.

    Each process collects all tests in the same order, and so without byte code each
    would compile all of them at the same time as the others.
    """
    process: dict[str, Any] | None = getattr(session.config, "workerinput", None)
    if process is None:
        return
    modules = [
        ".".join(path.absolute().relative_to(ROOT).with_suffix("").parts)
        for folder in map(Path, session.config.args)
        for path in sorted(folder.rglob("test_*.py"))
    ]
    number = int(process["workerid"].removeprefix("gw"))
    first = len(modules) * number // process["workercount"]
    for module in (*modules[first:], *modules[:first]):
        with contextlib.suppress(Exception):  # its collection fails
            import_module(module)


def pytest_collection_finish() -> None:
    """Keep the collected tests out of garbage collections, which come less often.

    Twenty thousand make each full one take a third of a second. An application of a
    test is two thousand objects in cycles, and at Python's own pace, a fifth of the
    tests' time goes into looking for them.
    """
    gc.set_threshold(5_000, 10, 10)
    gc.enable()
    gc.collect()
    leave_out_of_collections()


# The same examples at every run, however slow the machine: the tests say the same of
# the same code. Others are drawn with ``--hypothesis-profile default``.
hypothesis.settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _what_tests_share_is_made_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        compile_rules_once(patch)
        compile_templates_once(patch)
        remember_engines(patch)
        yield


@pytest.fixture
def _what_is_loaded_is_left_out_again() -> Iterator[None]:
    """For a test of the process's own collector, which walks all tests otherwise."""
    yield
    gc.unfreeze()
    gc.collect()
    leave_out_of_collections()


@pytest.fixture(scope="session", autouse=True)
def _last_figures_are_waited_for() -> Iterator[None]:
    """What is stored late is missing, or reaches the next test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flusher, "LAST_WRITE_S", LIMIT_S)
        yield


@pytest.fixture(scope="session", autouse=True)
def _listeners_have_time_to_hear() -> Iterator[None]:
    """One that is late for its self-test does not listen for a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener, "SELF_TEST_LIMIT_S", 8.0)
        yield


_FOLDERS = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new folder; pytest's own reads the names of all folders before it."""
    folder = tmp_path_factory.getbasetemp() / f"test-{next(_FOLDERS)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def clock() -> MovingClock:
    """A clock that only the test moves."""
    return MovingClock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real server; no server is a failure, never a skip."""
    with running_server(is_durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[str]:
    """URL of the database that tests share; each test finds its tables empty."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; a test that uses it runs on both."""
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our empty tables; a copy is there sooner than a new one."""
    path = tmp_path_factory.mktemp("template") / "queue.sqlite"
    settings = DatabaseSettings(path=path, synchronous="OFF")
    with contextlib.closing(open_storage(settings)) as opened:
        opened.open()
    return path


@pytest.fixture
def database_settings(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> DatabaseSettings:
    """Settings of an empty database that several processes can open."""
    if backend == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = Path(shutil.copy(template, tmp_path / "queue.sqlite"))
        return DatabaseSettings(path=path, synchronous="OFF")
    url: str = request.getfixturevalue("postgres_database")
    settings = DatabaseSettings.from_url(url)
    empty_tables(settings)
    return settings


@pytest.fixture
def database_url(
    database_settings: DatabaseSettings, request: pytest.FixtureRequest
) -> str:
    """The address of an empty database of each backend."""
    if database_settings.backend == "sqlite":
        return f"sqlite:///{database_settings.path}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def storage(database_settings: DatabaseSettings) -> Iterator[Storage]:
    """The stores over an empty database of each backend."""
    with contextlib.closing(open_storage(database_settings, jitter=None)) as opened:
        opened.open()
        yield opened
        # Nobody reads them any more, and to store them takes a tenth of a short test.
        opened.recorder.take()
    # It waits two seconds for its last figures, which must not reach the next test.
    wait_until(lambda: not opened.flusher.is_running, "its figures are stored")


@pytest.fixture
def sql(storage: Storage, database_settings: DatabaseSettings) -> Sql:
    """SQL beside the stores."""
    storage.open()  # makes the tables
    if database_settings.backend == "postgres":
        return _beside(database_settings)  # a session is a process
    return Sql(database_settings)


# Before the counts, which its triggers write.
TABLES = (
    "forge_job", "forge_job_count", "forge_queue", "forge_slot", "forge_worker",
    "forge_lease", "forge_metric", "forge_sample", "forge_cron", "forge_request_key",
    "forge_rate_limit", "forge_follow_up", "forge_attempt", "forge_error",
    "forge_error_bucket", "forge_error_change", "forge_log", "forge_gauge",
    "forge_bulk_run", "forge_link", "forge_hold", "forge_batch", "forge_batch_range",
    "forge_batch_dead", "forge_batch_change", "forge_step", "forge_metric_source",
)  # fmt: skip


def empty_tables(settings: DatabaseSettings) -> None:
    """Empty every table of ours in a PostgreSQL database."""
    beside = _beside(settings)
    # Of tables this small DELETE takes a hundredth of the time of TRUNCATE, which makes
    # new files.
    beside.run("; ".join(f"DELETE FROM {table}" for table in TABLES))
    if beside.value("SELECT EXISTS (SELECT FROM forge_audit)"):
        beside.run(
            "ALTER TABLE forge_audit DISABLE TRIGGER USER; DELETE FROM forge_audit; "
            "ALTER TABLE forge_audit ENABLE TRIGGER USER"
        )


@cache
def _beside(settings: DatabaseSettings) -> Sql:
    """Return SQL into a database that has our tables from now on."""
    with contextlib.closing(open_storage(settings)) as opened:
        opened.open()
    return Sql(settings)
