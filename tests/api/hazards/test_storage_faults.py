"""H34 and H38: the database is locked, gone, or in trouble, during each route."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.base import open_storage
from tests.api.hazards.inputs import ROUTES, fault, label
from tests.api.mounting import mount_failing, mount_shared
from tests.conformance.requests import sample
from tests.support.backends import each_backend, long, sqlite_first
from tests.support.sql import Sql

SECRET = "hunter2-do-not-tell"
# Routes that answer without asking the database.
WITHOUT_STORAGE = {"health", "v1_openapi", "v1_cron_preview", "v1_me"}
ASKING = [route for route in ROUTES if route.endpoint not in WITHOUT_STORAGE]
MUTATIONS = [route for route in ASKING if route.mutates]
FAULTS = [
    (StorageBusyError(f"locked: {SECRET}"), 409, "conflict"),
    (StorageUnavailableError(f"host={SECRET} refused"), 503, "unavailable"),
    (StorageError(f"SELECT {SECRET} FROM forge_job"), 500, "storage"),
    long(StorageCorruptError(f"/srv/{SECRET}/queue.sqlite"), 500, "storage"),
    (OSError(28, "No space left on device", SECRET), 500, "internal"),
    long(MemoryError(SECRET), 500, "internal"),
]
BUSY_FOR_S = 0.05
# What they look for is not in the data set, so they do not get to the lock.
FIND_NOTHING = ("queue_cleanup", "jobs_delete_by_status", "v1_jobs_act")


@pytest.mark.parametrize(("error", "status", "kind"), FAULTS, ids=str)
def test_H38_a_fault_of_the_database_is_told_without_its_words(
    error: Exception, status: int, kind: str
) -> None:
    client = mount_failing(error)
    for route in ASKING:
        answer = sample(route).send(client)
        assert SECRET not in answer.text, route.endpoint
        if route.endpoint == "v1_ready":
            assert answer.status_code in {500, 503}
            continue
        assert fault(answer)[:2] == (status, kind), route.endpoint
        if status in {409, 503}:
            assert 1 <= int(answer.headers["Retry-After"]) <= 5


@pytest.fixture
def unreachable(
    backend: str, database_settings: DatabaseSettings, tmp_path: Path
) -> Iterator[FlaskClient]:
    """A client over a database that cannot be reached by its real driver."""
    if backend == "sqlite":
        # No folder can be made where a file is.
        (tmp_path / SECRET).write_bytes(b"")
        settings = replace(database_settings, path=tmp_path / SECRET / "queue.sqlite")
    else:
        settings = replace(
            database_settings, host="127.0.0.1", port=1, password=SECRET,
            connect_timeout_s=1,
        )  # fmt: skip
    with contextlib.closing(open_storage(settings)) as storage:
        yield mount_shared(storage)


@sqlite_first
@pytest.mark.parametrize("route", ASKING, ids=label)
def test_H38_a_database_that_is_gone_is_503(
    unreachable: FlaskClient,
    backend: str,
    route: Route,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = sample(route).send(unreachable)

    assert answer.status_code == 503, answer.text
    assert SECRET not in answer.text
    if backend == "postgres":  # a path is no secret to who reads the log
        assert SECRET not in caplog.text
    if route.endpoint != "v1_ready":
        assert fault(answer)[1] == "unavailable"
        assert 1 <= int(answer.headers["Retry-After"]) <= 5


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_H34_a_locked_file_is_busy_and_says_when_to_come_back(
    database_settings: DatabaseSettings,
) -> None:
    settings = replace(database_settings, busy_timeout_s=BUSY_FOR_S)
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
        client = mount_shared(storage)
        other = sqlite3.connect(settings.path or "", isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            answers = {
                route.endpoint: sample(route).send(client) for route in MUTATIONS
            }
            other.execute("ROLLBACK")

    busy = {name: each for name, each in answers.items() if each.status_code == 409}
    others = {n: each.status_code for n, each in answers.items() if n not in busy}
    assert others == dict.fromkeys(FIND_NOTHING, 200)
    assert all(1 <= int(each.headers["Retry-After"]) <= 5 for each in busy.values())


@each_backend
def test_H34_reads_do_not_wait_for_a_writer(
    client: FlaskClient, database_settings: DatabaseSettings, sql: Sql, backend: str
) -> None:
    if backend == "sqlite":
        other = sqlite3.connect(database_settings.path or "", isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            assert _refused_reads(client) == {}
        return
    with contextlib.closing(sql.connect()) as server, server.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE forge_queue SET paused = paused")
        assert _refused_reads(client) == {}
        cursor.execute("ROLLBACK")


def _refused_reads(client: FlaskClient) -> dict[str, str]:
    answers = {
        route.endpoint: sample(route).send(client)
        for route in ASKING
        if route.method == "GET" and "<" not in route.path
    }
    return {
        name: each.text for name, each in answers.items() if each.status_code != 200
    }
