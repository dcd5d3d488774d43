"""The warning about a server whose certificate is not checked."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.postgres import connection as postgres_connection
from flask_forge_jobs.storage.postgres.connection import warn_of_unchecked_server


def _connection(host: str | None, mode: str, **parameters: str) -> Any:
    return SimpleNamespace(
        info=SimpleNamespace(host=host, dsn_parameters={"sslmode": mode, **parameters})
    )


@pytest.mark.parametrize(
    "host", ["db", "db.example.org", "10.0.0.7", "0.0.0.0", "fd00::7", "localhost.evil"]
)
@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca"])
def test_sec_S45_other_machine_without_a_checked_name_is_warned_of(
    host: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_unchecked_server(_connection(host, mode))

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"PostgreSQL on {host} uses sslmode={mode}" in caplog.text


@pytest.mark.parametrize("addresses", ["10.0.0.7", "127.0.0.1,10.0.0.7"])
def test_sec_S45_name_of_this_machine_with_another_address_is_warned_of(
    addresses: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As PGHOSTADDR makes it."""
    warn_of_unchecked_server(_connection("localhost", "prefer", hostaddr=addresses))

    assert f"PostgreSQL on {addresses} uses sslmode=prefer" in caplog.text


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("db.example.org", "verify-full"),
        ("127.0.0.1", "disable"),
        ("127.8.0.1", "prefer"),
        ("::1", "prefer"),
        ("localhost", "prefer"),
        ("LOCALHOST", "prefer"),
        ("/run/postgresql", "prefer"),
        ("@socket", "prefer"),
        (None, "prefer"),
    ],
)
def test_sec_S45_checked_names_and_this_machine_are_fine(
    host: str | None, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_unchecked_server(_connection(host, mode))

    assert caplog.records == []


def test_sec_S45_warning_comes_once_when_the_database_is_opened(
    postgres_database: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check reads the mode of a live connection."""
    monkeypatch.setattr(postgres_connection, "is_here", lambda _host: False)
    settings = DatabaseSettings.from_url(postgres_database)

    with contextlib.closing(open_storage(settings)) as storage:
        for _ in range(3):
            storage.open()
            storage.queues.all()

    said = [text for text in caplog.messages if "uses sslmode=prefer" in text]
    assert len(said) == 1
