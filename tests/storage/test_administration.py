from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    InvalidInputError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage import administration
from flask_forge_jobs.storage.administration import (
    create_database,
    drop_database,
    live_workers,
)
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.sqlite.wake import WakeSockets
from tests.support.threads import run_together

LEASE_S = 60.0
NAME = "forge_test_administration"


@pytest.fixture
def missing(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[DatabaseSettings]:
    """Settings of a database that does not exist."""
    if backend == "sqlite":
        yield DatabaseSettings(path=tmp_path / "data" / "queue.sqlite")
        return
    server = DatabaseSettings.from_url(request.getfixturevalue("postgres_server"))
    settings = dataclasses.replace(server, database=NAME)
    drop_database(settings)
    yield settings
    drop_database(settings)


def exists(settings: DatabaseSettings) -> bool:
    if settings.path is not None:
        return settings.path.exists()
    try:
        psycopg2.connect(**settings.connect_parameters()).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_create_makes_a_database_once(missing: DatabaseSettings) -> None:
    before = exists(missing)

    create_database(missing)
    create_database(missing)

    assert not before
    assert exists(missing)


def test_drop_removes_it_and_is_content_without_it(missing: DatabaseSettings) -> None:
    create_database(missing)

    drop_database(missing)
    drop_database(missing)

    assert not exists(missing)


@pytest.mark.parametrize("is_old", [False, True])
def test_drop_ends_the_sessions_of_others(
    missing: DatabaseSettings, monkeypatch: pytest.MonkeyPatch, *, is_old: bool
) -> None:
    """With and without ``WITH (FORCE)``, which PostgreSQL 12 does not know."""
    if is_old:
        monkeypatch.setattr(administration, "_FORCE_SINCE", 99_00_00)
    create_database(missing)
    with contextlib.closing(open_storage(missing)) as storage:
        storage.open()

        drop_database(missing)

    assert not exists(missing)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_drop_removes_what_lies_beside_the_file(
    missing: DatabaseSettings, tmp_path: Path
) -> None:
    """Log, locks, and the sockets of workers that were killed."""
    create_database(missing)
    folder = tmp_path / "data"
    for name in ("queue.sqlite-wal", "queue.sqlite-shm"):
        (folder / name).touch()
    assert missing.path is not None
    receiver, _ = WakeSockets(missing.path).bind()
    receiver.close()

    drop_database(missing)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_drop_removes_a_link_beside_the_file_and_nothing_behind_it(
    missing: DatabaseSettings, tmp_path: Path
) -> None:
    create_database(missing)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "notes").touch()
    Path(f"{missing.path}-wake").symlink_to(victim)

    drop_database(missing)

    assert list((tmp_path / "data").iterdir()) == []
    assert (victim / "notes").exists()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_drop_by_a_link_removes_the_file(
    missing: DatabaseSettings, tmp_path: Path
) -> None:
    link = tmp_path / "link.sqlite"
    assert missing.path is not None
    link.symlink_to(missing.path)
    create_database(missing)

    drop_database(DatabaseSettings(path=link))

    assert not exists(missing)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_drop_that_is_not_possible_names_the_file(
    missing: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_database(missing)

    def refuse(path: Path, *, missing_ok: bool) -> None:
        del path, missing_ok
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageUnavailableError, match=r"queue\.sqlite: Permission"):
        drop_database(missing)
    monkeypatch.undo()

    assert exists(missing)


@pytest.mark.parametrize("backend", ["postgres"])
def test_databases_made_by_several_at_once_are_an_error_at_worst(
    missing: DatabaseSettings,
) -> None:
    """PostgreSQL has no ``IF NOT EXISTS`` here; the loser gets a clear error."""

    def create() -> str:
        try:
            create_database(missing)
        except StorageError as error:
            return str(error)
        return ""

    errors = [text for text in run_together([create] * 4) if text]

    assert exists(missing)
    assert all(NAME in text for text in errors)


@pytest.mark.parametrize("backend", ["postgres"])
def test_what_the_role_may_not_do_is_told_without_a_traceback(
    missing: DatabaseSettings,
) -> None:
    administrator = dataclasses.replace(missing, database="postgres")
    with contextlib.closing(
        psycopg2.connect(**administrator.connect_parameters())
    ) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE ROLE forge_test_weak LOGIN PASSWORD 'weak'")
        try:
            weak = dataclasses.replace(
                missing, username="forge_test_weak", password="weak"
            )
            with pytest.raises(StorageError, match="permission denied"):
                create_database(weak)
        finally:
            cursor.execute("DROP ROLE forge_test_weak")


@pytest.mark.parametrize("backend", ["postgres"])
@pytest.mark.parametrize(
    "name", ["with space", 'quo"te', "semi;colon", "1st", "ü", "a-b", "x" * 64]
)
def test_names_that_need_quotes_are_refused(
    missing: DatabaseSettings, name: str
) -> None:
    settings = dataclasses.replace(missing, database=name)

    with pytest.raises(InvalidInputError, match="1 to 63 letters"):
        create_database(settings)
    with pytest.raises(InvalidInputError):
        drop_database(settings)


@pytest.mark.parametrize("call", [create_database, drop_database])
def test_an_unreachable_server_is_named(call: object) -> None:
    settings = DatabaseSettings.from_url("postgresql://x:secret@127.0.0.1:1/nothing")

    with pytest.raises(StorageUnavailableError, match=r"127\.0\.0\.1") as raised:
        call(settings)  # type: ignore[operator]  # one of the two functions

    assert "secret" not in str(raised.value)


def test_live_workers_counts_those_within_the_lease(missing: DatabaseSettings) -> None:
    create_database(missing)
    with contextlib.closing(open_storage(missing)) as storage:
        storage.workers.beat("one", None, ["default"], [])
        storage.workers.beat("two", None, ["default"], [])

        assert live_workers(missing, LEASE_S) == 2
        assert live_workers(missing, 0.0) == 0


def test_live_workers_neither_needs_nor_makes_a_database(
    missing: DatabaseSettings,
) -> None:
    assert live_workers(missing, LEASE_S) == 0
    assert not exists(missing)


@pytest.mark.parametrize("backend", ["postgres"])
def test_live_workers_makes_no_schema(missing: DatabaseSettings) -> None:
    create_database(missing)

    assert live_workers(missing, LEASE_S) == 0
    with contextlib.closing(open_storage(missing, migrate=False)) as storage:
        assert storage.database.schema_versions() is None


def test_a_file_in_use_is_not_checkpointed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes that have it open make the checkpoints, each on its guard."""
    monkeypatch.setattr(
        "flask_forge_jobs.storage.sqlite.shared_file.has_wal_reset_bug", lambda: True
    )
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()

    with administration._file(settings) as file:
        assert file is not None
        assert file.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
