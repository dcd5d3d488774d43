"""``queue_database.toml``: a file that names the database for every program."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from flask_forge_jobs.config.checks import TEXT, near_match
from flask_forge_jobs.config.settings import POOL_SIZE
from flask_forge_jobs.config.urls import (
    ADDRESS,
    BACKENDS,
    PARAMETERS,
    Location,
    parse_url,
    put,
    sqlite_path,
)
from flask_forge_jobs.errors import InvalidInputError

FILE_NAME = "queue_database.toml"
SEARCH_DEPTH = 4  # the start directory and three parents

_ADDRESS_KEYS = {
    "host": "host", "port": "port", "database": "dbname", "username": "user",
}  # fmt: skip
_DETAILS = [name for name in PARAMETERS if name not in ADDRESS]
_SQLITE_KEYS = ("adapter", "path", "url")
_POSTGRES_KEYS = (
    "adapter",
    "url",
    *_ADDRESS_KEYS,
    "password",
    "password_env",
    "max_connections",
    *_DETAILS,
)
_KEYS = dict.fromkeys((*_SQLITE_KEYS, *_POSTGRES_KEYS))


def candidates(start_dir: Path, config_dir: Path) -> Iterator[Path]:
    """Yield the places of the file, in the order of the search.

    Where a process starts may be of no concern to it: a service that dropped its rights
    may not search the home of root, and a directory may be gone.
    """
    with contextlib.suppress(FileNotFoundError):
        start = start_dir.absolute()
        for directory in [start, *start.parents][:SEARCH_DEPTH]:
            if not _is_closed(directory):
                yield directory / FILE_NAME
    yield config_dir / FILE_NAME


def _is_closed(directory: Path) -> bool:
    """Return whether we may not even look for the file in a directory."""
    try:
        (directory / FILE_NAME).lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def read_file(path: Path, environ: Mapping[str, str]) -> Location | None:
    """Return the location in a file, or None if the file does not exist.

    Raises:
        InvalidInputError: The file is invalid, cannot be read, or everybody may write
            it. The message names the file and never contains a password.
    """
    try:
        with path.open("rb") as file:
            import tomllib  # here, because most applications have no file

            folder = path.parent.stat()
            check_writers(os.fstat(file.fileno()), folder, user=os.geteuid())
            table = tomllib.loads(file.read().decode("utf-8"))
        return parse_table(table, path.parent, environ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInputError(
            FILE_NAME, f"cannot read {str(path)!r}: {error.strerror}"
        ) from error
    except UnicodeDecodeError:
        raise InvalidInputError(FILE_NAME, f"{str(path)!r} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(
            FILE_NAME, f"{str(path)!r} is not valid TOML: {error}"
        ) from None
    except InvalidInputError as error:
        raise InvalidInputError(
            error.field, f"{error.message} (in {str(path)!r})"
        ) from None


def check_writers(file: os.stat_result, folder: os.stat_result, *, user: int) -> None:
    """Refuse a file that every user may write or replace; a group may."""
    if file.st_mode & stat.S_IWOTH:
        raise InvalidInputError(FILE_NAME, "every user may write it; run chmod o-w")
    is_ours = bool(folder.st_mode & stat.S_ISVTX) and file.st_uid in (user, 0)
    if folder.st_mode & stat.S_IWOTH and not is_ours:
        raise InvalidInputError(FILE_NAME, "every user may write its directory")


def parse_table(
    table: Mapping[str, object], base_dir: Path, environ: Mapping[str, str]
) -> Location:
    """Return the location in a parsed file, or raise InvalidInputError."""
    for key in table:
        if key not in _KEYS:
            raise InvalidInputError(key, f"unknown key{near_match(key, _KEYS)}")
    location = _address(table, base_dir)
    backend = location["backend"]
    allowed = _SQLITE_KEYS if backend == "sqlite" else _POSTGRES_KEYS
    for key in table:
        if key not in allowed:
            raise InvalidInputError(key, f"is not for adapter {backend!r}")
    if backend == "postgres":
        # Like the password, they override the url.
        _put(location, table, {name: name for name in _DETAILS})
        if "max_connections" in table:
            given = table["max_connections"]
            location["pool_size"] = POOL_SIZE.of("max_connections", given)
        _read_password(location, table, environ)
    return location


def resolve_password(table: Mapping[str, object], environ: Mapping[str, str]) -> str:
    """Return ``password``, or the value of the variable in ``password_env``.

    No message repeats ``password_env``, which may hold a password by mistake.
    """
    if "password" in table:
        return str(TEXT.of("password", table["password"]))
    if "password_env" not in table:
        raise InvalidInputError("password", "is missing; set it or password_env")
    variable = TEXT.of("password_env", table["password_env"])
    if not environ.get(variable):
        raise InvalidInputError(
            "password_env", "names an environment variable that is not set"
        )
    return str(TEXT.of("password_env", environ[variable]))


def _address(table: Mapping[str, object], base_dir: Path) -> Location:
    adapter = table.get("adapter")
    if "adapter" in table and adapter not in BACKENDS:
        raise InvalidInputError("adapter", f"must be one of {', '.join(BACKENDS)}")
    if "url" not in table:
        if adapter == "sqlite":
            return _sqlite_address(table, base_dir)
        if adapter == "postgres":
            return _postgres_address(table)
        raise InvalidInputError("adapter", "is missing; set it or url")
    for key in ("path", *_ADDRESS_KEYS):
        if key in table:
            raise InvalidInputError(key, "cannot be used with url")
    location = parse_url(table["url"], base_dir)
    if adapter is not None and adapter != location["backend"]:
        raise InvalidInputError("adapter", f"{adapter!r} contradicts url")
    return location


def _sqlite_address(table: Mapping[str, object], base_dir: Path) -> Location:
    location: Location = {"backend": "sqlite"}
    if "path" in table:
        path = TEXT.of("path", table["path"])
        location["path"] = sqlite_path(path, base_dir)
    return location


def _postgres_address(table: Mapping[str, object]) -> Location:
    for key in ("host", "database", "username"):
        if key not in table:
            raise InvalidInputError(key, "is missing; adapter 'postgres' needs it")
    location: Location = {"backend": "postgres"}
    _put(location, table, _ADDRESS_KEYS)
    return location


def _put(
    location: Location, table: Mapping[str, object], names: Mapping[str, str]
) -> None:
    """Copy keys of a table into a location, given their names in libpq."""
    for key, name in names.items():
        if key in table:
            put(location, name, PARAMETERS[name].check.of(key, table[key]))


def _read_password(
    location: Location, table: Mapping[str, object], environ: Mapping[str, str]
) -> None:
    is_given = "password" in table or "password_env" in table
    if "url" in table and not is_given:
        return
    if "password" in location:
        raise InvalidInputError("url", "has a password, too; leave one of them out")
    location["password"] = resolve_password(table, environ)
