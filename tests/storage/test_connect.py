"""Opening stores from settings imports only the driver it needs."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import ConfigurationError, StorageUnavailableError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from tests.support.clocks import MovingClock
from tests.support.jobs import claim_one, enqueue, rescue_all


def test_the_backend_is_that_of_the_settings() -> None:
    sqlite = open_storage(DatabaseSettings())
    postgres = open_storage(DatabaseSettings(backend="postgres", database="jobs"))

    assert isinstance(sqlite.database, SqliteDatabase)
    assert isinstance(postgres.database, PostgresDatabase)


def test_sqlite_needs_no_postgres_driver() -> None:
    script = (
        "import sys; sys.modules['psycopg2'] = None\n"
        "from flask_forge_jobs.config.database import DatabaseSettings\n"
        "from flask_forge_jobs.storage.base import open_storage\n"
        "storage = open_storage(DatabaseSettings()); storage.open(); storage.close()\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("DATABASE_URL", "DATABASE_URL"),
        ("FORGE_JOBS_DATABASE_URL", "FORGE_JOBS_DATABASE_URL"),
        ("/etc/shop/queue_database.toml", "/etc/shop/queue_database.toml"),
        (None, "backend"),
    ],
)
def test_a_missing_driver_is_a_clear_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, source: str | None, key: str
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    for name in ("database", "pool", "listener"):
        monkeypatch.delitem(
            sys.modules, f"flask_forge_jobs.storage.postgres.{name}", raising=False
        )

    with pytest.raises(
        ConfigurationError, match=r"flask-forge-jobs\[postgres\]"
    ) as caught:
        open_storage(DatabaseSettings(backend="postgres", source=source))

    assert caught.value.key == key


def test_clock_and_ids_are_those_passed_in() -> None:
    clock = MovingClock()
    ids = UlidGenerator(clock, lambda _: 7)
    expected = UlidGenerator(clock, lambda _: 7).new()

    with contextlib.closing(
        open_storage(DatabaseSettings(), clock=clock, ids=ids)
    ) as stores:
        job_id = stores.jobs.enqueue(NewJob("noop")).id
        enqueued_at = stores.job_reader.get(job_id).enqueued_at

    assert job_id == expected
    assert enqueued_at.timestamp() == clock.monotonic()


@pytest.mark.parametrize(("jitter", "delay_s"), [(None, 200), (lambda: 0.5, 210)])
def test_jitter_spreads_the_retries(jitter: object, delay_s: float) -> None:
    clock = MovingClock()
    stores = open_storage(
        DatabaseSettings(),
        clock=clock,
        jitter=jitter,  # type: ignore[arg-type]  # None or a function
    )
    with contextlib.closing(stores):
        enqueue(stores)
        stores.queues.change(
            "default",
            {
                "backoff_enabled": True,
                "backoff_base_seconds": 100,
                "backoff_max_seconds": 9999,
            },
        )
        claim_one(stores)
        rescue_all(stores)

        assert stores.jobs.next_due_in_s(["default"]) == delay_s


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("DATABASE_URL", " (from DATABASE_URL): "),
        ("FORGE_JOBS_DATABASE_URL", " (from FORGE_JOBS_DATABASE_URL): "),
        ("/etc/queue_database.toml", " (from /etc/queue_database.toml): "),
        ("default", " (by default; FORGE_JOBS_DATABASE_URL names another): "),
    ],
)
def test_a_database_that_cannot_be_opened_is_named_with_its_setting(
    tmp_path: Path, backend: str, source: str, part: str
) -> None:
    (tmp_path / "no folder").touch()
    bad = {
        "sqlite": DatabaseSettings(path=tmp_path / "no folder" / "queue.sqlite"),
        "postgres": DatabaseSettings.from_url("postgresql://nobody@127.0.0.1:1/none"),
    }
    storage = open_storage(dataclasses.replace(bad[backend], source=source))

    with pytest.raises(StorageUnavailableError) as caught:
        storage.open()

    assert part in str(caught.value)
