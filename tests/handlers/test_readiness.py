from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import MigrationError, StorageUnavailableError
from flask_forge_jobs.handlers.readiness import (
    OLD_SNAPSHOT_S,
    ReadinessCheck,
    ReadyStatus,
    readiness,
)
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.storage.base import OpenSnapshot, Storage, open_storage
from flask_forge_jobs.storage.catalogue import load_migrations
from tests.api.faulty import faulty_storage
from tests.support.backends import each_backend
from tests.support.sql import Sql

SECRET = "/srv/queue.sqlite: disk I/O error"


def test_a_service_with_a_live_worker_is_ready(storage: Storage, backend: str) -> None:
    storage.workers.beat("H", None, ["mail"], [])

    found = readiness(storage)

    newest = load_migrations(backend)[-1].version
    assert found.status is ReadyStatus.OK
    assert found.checks == (
        ReadinessCheck("storage", True),
        ReadinessCheck("schema", True, f"version {newest}, this code knows {newest}"),
        ReadinessCheck("workers", True, "1 live"),
        ReadinessCheck("services", True),
        ReadinessCheck("snapshots", True),
        ReadinessCheck("queues", True),
    )
    assert found.services == []


def test_queues_that_nobody_serves_are_told_and_fail_nothing(storage: Storage) -> None:
    storage.workers.beat("H", None, ["mail"], [])
    for name in ("mail", "slow", "bills"):
        storage.queues.ensure(name)
    # A worker would start none of their jobs either.
    storage.queues.create(QueueSettings("held", paused=True))
    storage.queues.create(QueueSettings("shut", max_workers=0))

    found = readiness(storage)

    assert found.status is ReadyStatus.OK
    assert (found.registered, found.queues) == (5, 3)
    assert list(found.unserved) == ["bills", "slow"]
    assert found.checks[5] == ReadinessCheck(
        "queues", True, "no worker serves bills, slow"
    )


def test_a_service_that_does_not_tick_is_told(storage: Storage, sql: Sql) -> None:
    storage.workers.beat("H", None, ["mail"], [], [ServiceAge("cron", 1.0, 5.0)])
    fresh = readiness(storage)
    storage.workers.beat("I", None, ["mail"], [], [ServiceAge("cron", 41.0, 5.0)])
    sql.age(5)

    late = readiness(storage)

    assert (fresh.status, late.status) == (ReadyStatus.OK, ReadyStatus.DEGRADED)
    (age,) = late.services
    assert (age.name, age.is_late) == ("cron", True)
    assert 46 <= age.whole_age_s < 60
    assert late.checks[3] == ReadinessCheck(
        "services", False, f"no tick of cron for {age.whole_age_s} s"
    )


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (OLD_SNAPSHOT_S, "session 7 has had a transaction open for 60 s"),
        (OLD_SNAPSHOT_S - 0.1, None),
    ],
)
def test_a_snapshot_that_stays_open_is_told_and_fails_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, age_s: float, said: str | None
) -> None:
    """C20"""
    storage.workers.beat("H", None, ["mail"], [])
    snapshot = OpenSnapshot(age_s, "session 7")
    monkeypatch.setattr(Storage, "oldest_snapshot", lambda _: snapshot)

    found = readiness(storage)

    assert found.status is ReadyStatus.OK
    assert (found.checks[4].name, found.checks[4].ok) == ("snapshots", True)
    assert str(found.checks[4].detail).partition(";")[0] == str(said)


@each_backend
def test_who_keeps_a_snapshot_open_is_named(
    storage: Storage, sql: Sql, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C20, with a real one."""
    monkeypatch.setattr("flask_forge_jobs.handlers.readiness.OLD_SNAPSHOT_S", 0.0)
    if backend == "sqlite":
        assert readiness(storage).checks[4].detail is None
        return
    with contextlib.closing(sql.connect()) as reader:
        reader.cursor().execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")

        detail = readiness(storage).checks[4].detail

        assert detail is not None
        assert detail.startswith(f"session {reader.info.backend_pid} has had")


def test_a_service_without_workers_is_degraded(storage: Storage) -> None:
    found = readiness(storage)

    assert found.status is ReadyStatus.DEGRADED
    assert found.checks[2] == ReadinessCheck("workers", False, "0 live")


@pytest.mark.parametrize(
    ("error", "is_reachable", "details"),
    [
        (StorageUnavailableError(SECRET), False, ["does not answer", "unknown"]),
        (MigrationError(9, SECRET), True, [None, "does not fit"]),
    ],
)
def test_a_service_whose_database_fails_is_unavailable(
    error: Exception, is_reachable: bool, details: list[str | None]
) -> None:
    found = readiness(faulty_storage(error))

    assert found.status is ReadyStatus.UNAVAILABLE
    assert [check.ok for check in found.checks] == [is_reachable, *[False] * 5]
    assert [check.detail for check in found.checks[:2]] == details
    assert SECRET not in repr(found)


def test_a_schema_that_may_not_be_made_is_not_ready(tmp_path: Path) -> None:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")

    found = readiness(open_storage(settings, migrate=False))

    assert found.status is ReadyStatus.UNAVAILABLE
    assert [check.ok for check in found.checks] == [True, *[False] * 5]
