from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.deployment import findings_of
from flask_forge_jobs.storage.sqlite import files


@pytest.fixture
def path(sqlite: Storage, sqlite_settings: DatabaseSettings) -> Path:
    """The file of the jobs, in use, in a folder of its own."""
    sqlite.open()
    assert sqlite_settings.path is not None
    sqlite_settings.path.parent.chmod(0o700)
    return sqlite_settings.path


def codes(storage: Storage) -> list[str]:
    return [each.code for each in findings_of(storage.database, SystemClock())]


@pytest.mark.usefixtures("path")
def test_a_private_file_is_sound(sqlite: Storage) -> None:
    assert codes(sqlite) == []


def test_a_file_that_everybody_can_read_or_write(sqlite: Storage, path: Path) -> None:
    path.chmod(0o644)
    (readable,) = findings_of(sqlite.database, SystemClock())
    path.chmod(0o666)
    (writable,) = findings_of(sqlite.database, SystemClock())

    assert readable == Finding(
        "file_readable", f"Everybody can read {path}.", f"chmod 640 {path}"
    )
    assert writable.text == f"Everybody can write {path}."
    assert writable.remedy == f"chmod 660 {path}"


def test_a_folder_that_everybody_can_write_to(sqlite: Storage, path: Path) -> None:
    path.parent.chmod(0o1777)

    (finding,) = findings_of(sqlite.database, SystemClock())

    assert finding.code == "folder_writable"
    assert str(path.parent) in finding.text
    assert finding.remedy.startswith("use a folder")


@pytest.mark.usefixtures("path")
def test_a_network_file_system(
    sqlite: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_file_system_of", lambda _: "nfs4")

    assert codes(sqlite) == ["network_file_system"]
