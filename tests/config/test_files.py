"""``queue_database.toml``; the cases of the reference keep their names."""

from __future__ import annotations

import contextlib
import os
import traceback
from pathlib import Path

import pytest

from flask_forge_jobs.config.files import (
    FILE_NAME,
    candidates,
    check_writers,
    parse_table,
    read_file,
    resolve_password,
)
from flask_forge_jobs.errors import InvalidInputError

BASE = Path("/srv/app")
POSTGRES = {
    "adapter": "postgres",
    "host": "db",
    "database": "jobs",
    "username": "app",
    "password": "hunter2",
}


def test_parses_minimal_sqlite_toml() -> None:
    assert parse_table({"adapter": "sqlite"}, BASE, {}) == {"backend": "sqlite"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data/q.db", BASE / "data/q.db"),
        ("/abs/q.db", Path("/abs/q.db")),
        (":memory:", None),
    ],
)
def test_parses_sqlite_with_custom_path(text: str, path: Path | None) -> None:
    """A relative path belongs to the file, not to the working directory."""
    location = parse_table({"adapter": "sqlite", "path": text}, BASE, {})

    assert location == {"backend": "sqlite", "path": path}


def test_parses_postgres_with_defaults() -> None:
    assert parse_table(POSTGRES, BASE, {}) == {
        "backend": "postgres",
        "host": "db",
        "database": "jobs",
        "username": "app",
        "password": "hunter2",
    }


def test_parses_postgres_with_everything() -> None:
    details = {
        "port": 6432,
        "max_connections": 5,
        "connect_timeout": 3,
        "application_name": "a",
        "sslmode": "verify-full",
        "sslrootcert": "/ca",
        "sslcert": "/c",
        "sslkey": "/k",
    }

    location = parse_table(POSTGRES | details, BASE, {})

    assert location["port"] == 6432
    assert location["pool_size"] == 5
    assert location["connect_timeout_s"] == 3
    assert location["application_name"] == "a"
    assert location["sslmode"] == "verify-full"
    assert location["sslrootcert"] == "/ca"
    assert location["sslcert"] == "/c"
    assert location["sslkey"] == "/k"


def test_parses_what_goes_to_libpq() -> None:
    details = {
        "host": "db1,db2",
        "tcp_user_timeout": 3000,
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 4,
        "target_session_attrs": "primary",
        "options": "-c search_path=x",
    }

    location = parse_table(POSTGRES | details, BASE, {})

    assert location["host"] == "db1,db2"
    assert dict(location["libpq"]) == {
        name: str(value) for name, value in details.items() if name != "host"
    }


def test_what_goes_to_libpq_comes_before_what_a_url_says() -> None:
    url = "postgresql://app@db/jobs?keepalives_idle=9&tcp_user_timeout=1"

    location = parse_table({"url": url, "keepalives_idle": 5}, BASE, {})

    assert dict(location["libpq"]) == {"keepalives_idle": "5", "tcp_user_timeout": "1"}


def test_parses_a_url_with_details_beside_it() -> None:
    table = {"url": "postgresql://app@db/jobs?connect_timeout=9", "connect_timeout": 3}

    location = parse_table(table | {"password_env": "PW"}, BASE, {"PW": "x"})

    assert location == {
        "backend": "postgres",
        "host": "db",
        "database": "jobs",
        "username": "app",
        "password": "x",
        "connect_timeout_s": 3,
    }


def test_parses_a_sqlite_url_relative_to_the_file() -> None:
    table = {"adapter": "sqlite", "url": "sqlite:///q.db"}

    assert parse_table(table, BASE, {}) == {"backend": "sqlite", "path": BASE / "q.db"}


def test_resolve_password_errors_when_neither_is_set() -> None:
    with pytest.raises(InvalidInputError, match="set it or password_env") as raised:
        resolve_password({}, {})

    assert raised.value.field == "password"


def test_resolve_password_prefers_literal_over_env() -> None:
    table = {"password": "literal", "password_env": "PW"}

    assert resolve_password(table, {"PW": "variable"}) == "literal"


def test_resolve_password_reads_the_named_variable() -> None:
    assert resolve_password({"password_env": "PW"}, {"PW": "variable"}) == "variable"


@pytest.mark.parametrize("environ", [{}, {"hunter2": ""}])
def test_resolve_password_errors_when_env_var_missing(environ: dict[str, str]) -> None:
    """The name is not repeated: somebody may have put the password there."""
    with pytest.raises(InvalidInputError) as raised:
        resolve_password({"password_env": "hunter2"}, environ)

    assert raised.value.field == "password_env"
    assert "not set" in raised.value.message
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "field", "part"),
    [
        ({"adapter": "mysql"}, "adapter", "must be one of sqlite, postgres"),
        ({"adapter": 1}, "adapter", "must be one of"),
        ({"adaptor": "postgres"}, "adaptor", "did you mean 'adapter'"),
        ({"pasword": "x"}, "pasword", "did you mean 'password'"),
        ({"path": "q.db"}, "path", "is not for adapter 'postgres'"),
        ({"host": ""}, "host", "non-empty"),
        ({"host": 1}, "host", "non-empty text"),
        ({"database": "a\0"}, "database", "control character"),
        ({"username": []}, "username", "non-empty text"),
        ({"password": 1234}, "password", "non-empty text"),
        ({"port": "5432"}, "port", "must be a whole number"),
        ({"port": True}, "port", "must be a whole number"),
        ({"port": 0}, "port", "from 1 to 65535"),
        ({"max_connections": 0}, "max_connections", "from 1 to 1000"),
        ({"connect_timeout": 2.5}, "connect_timeout", "must be a whole number"),
        ({"sslmode": "on"}, "sslmode", "must be one of disable"),
        ({"application_name": ""}, "application_name", "non-empty"),
        ({"sslrootcert": 1}, "sslrootcert", "non-empty text"),
        ({"options": ""}, "options", "non-empty"),
        ({"options": 1}, "options", "non-empty text"),
        ({"target_session_attrs": "standby"}, "target_session_attrs", "one of any"),
        ({"target_session_attrs": []}, "target_session_attrs", "one of any"),
        ({"keepalives": 2}, "keepalives", "from 0 to 1"),
        ({"keepalives": True}, "keepalives", "must be a whole number"),
        ({"keepalives_idle": "5"}, "keepalives_idle", "must be a whole number"),
        ({"tcp_user_timeout": -1}, "tcp_user_timeout", "from 0 to 10000000"),
        ({"keepalive": 1}, "keepalive", "did you mean 'keepalives'"),
        ({"url": "postgresql://h/d"}, "host", "cannot be used with url"),
        ({"pool": {"size": 1}}, "pool", "unknown key"),
    ],
)
def test_parse_table_refuses(change: dict[str, object], field: str, part: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_table(POSTGRES | change, BASE, {})

    assert raised.value.field == field
    assert part in raised.value.message
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("key", ["host", "database", "username", "password"])
def test_parse_table_needs_the_postgres_address(key: str) -> None:
    table = {name: value for name, value in POSTGRES.items() if name != key}

    with pytest.raises(InvalidInputError, match="is missing") as raised:
        parse_table(table, BASE, {})

    assert raised.value.field == key


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({}, "adapter"),
        ({"path": "q.db"}, "adapter"),
        ({"adapter": "sqlite", "password": "x"}, "password"),
        ({"adapter": "sqlite", "max_connections": 1}, "max_connections"),
        ({"adapter": "sqlite", "keepalives": 1}, "keepalives"),
        ({"adapter": "sqlite", "path": ""}, "path"),
        ({"adapter": "sqlite", "path": "a", "url": "sqlite:///b"}, "path"),
        ({"adapter": "sqlite", "url": "postgresql://h/d"}, "adapter"),
        ({"url": "postgresql://u:a@h/d", "password": "b"}, "url"),
        ({"url": "h/d"}, "url"),
        ({"url": 1}, "url"),
    ],
)
def test_parse_table_refuses_contradictions(
    table: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_table(table, BASE, {})

    assert raised.value.field == field


def test_candidates_are_four_directories_and_the_configuration_directory() -> None:
    found = list(candidates(Path("/a/b/c/d/e"), Path("/etc/jobs")))

    assert found == [
        Path("/a/b/c/d/e", FILE_NAME),
        Path("/a/b/c/d", FILE_NAME),
        Path("/a/b/c", FILE_NAME),
        Path("/a/b", FILE_NAME),
        Path("/etc/jobs", FILE_NAME),
    ]


def test_candidates_end_at_the_root() -> None:
    found = list(candidates(Path("/a"), Path("/etc")))

    assert found == [
        Path("/a", FILE_NAME),
        Path("/", FILE_NAME),
        Path("/etc", FILE_NAME),
    ]


def test_read_file_returns_none_for_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()

    assert read_file(tmp_path / FILE_NAME, {}) is None
    assert read_file(tmp_path / "plain" / FILE_NAME, {}) is None


def test_read_file_takes_paths_from_its_own_directory(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text('adapter = "sqlite"\npath = "data/q.db"\n')

    assert read_file(file, {}) == {"backend": "sqlite", "path": tmp_path / "data/q.db"}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("content", "field", "part"),
    [
        (b'adapter = "sqlite', FILE_NAME, "not valid TOML"),
        (b"adapter", FILE_NAME, "not valid TOML"),
        (b'adapter = "\xff"', FILE_NAME, "not UTF-8"),
        (b'adapter = "oracle"', "adapter", "must be one of"),
        (b'url = "postgresql://u:hunter2/@h/d"', "url", "after the host"),
        (b"", "adapter", "is missing"),
    ],
)
def test_read_file_names_the_file_in_its_errors(
    tmp_path: Path, content: bytes, field: str, part: str
) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(content)

    with pytest.raises(InvalidInputError) as raised:
        read_file(file, {})

    assert raised.value.field == field
    assert part in raised.value.message
    assert repr(str(file)) in raised.value.message
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_read_file_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.mkdir()

    with pytest.raises(InvalidInputError, match="cannot read"):
        read_file(file, {})


# -- who else may write it -----------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "folder_mode", "part"),
    [
        (0o666, 0o755, "every user may write it; run chmod o-w"),
        (0o602, 0o755, "every user may write it; run chmod o-w"),
        (0o644, 0o777, "every user may write its directory"),
    ],
)
def test_sec_a_file_that_anybody_may_write_is_refused(
    tmp_path: Path, mode: int, folder_mode: int, part: str
) -> None:
    """It names the database, so whoever writes it owns the workers."""
    path = tmp_path / FILE_NAME
    path.write_text('adapter = "sqlite"\n')
    path.chmod(mode)
    tmp_path.chmod(folder_mode)

    with pytest.raises(InvalidInputError) as caught:
        read_file(path, {})

    assert caught.value.field == FILE_NAME
    assert caught.value.message == f"{part} (in {str(path)!r})"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o664])
def test_a_file_that_a_group_may_write_is_read(tmp_path: Path, mode: int) -> None:
    """Many systems give each user a group of its own, and new files to both."""
    path = tmp_path / FILE_NAME
    path.write_text('adapter = "sqlite"\n')
    path.chmod(mode)

    assert read_file(path, {}) == {"backend": "sqlite"}


def _stat(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(("owner", "is_refused"), [(0, False), (7, False), (8, True)])
def test_sec_in_a_folder_for_everybody_it_has_to_be_our_own(
    owner: int, *, is_refused: bool
) -> None:
    """Such as ``/tmp``, where others may put one but not replace ours."""
    file, folder = _stat(0o100644, owner), _stat(0o041777, 0)

    with pytest.raises(InvalidInputError) if is_refused else contextlib.nullcontext():
        check_writers(file, folder, user=7)
