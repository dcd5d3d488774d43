"""The environment variables of ``forge-jobs-server``; a blank one counts as unset."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask_forge_jobs.config.checks import (
    Check,
    RefusedError,
    integer,
    is_service_link,
    near_match,
    one_of,
    with_prefix,
)
from flask_forge_jobs.config.database import DEFAULT_SOURCE, ChosenDatabase
from flask_forge_jobs.config.database import URL_KEY as DATABASE_URL_KEY
from flask_forge_jobs.config.paths import (
    CONFIG_DIR_VARIABLE,
    DATA_DIR_VARIABLE,
    EnvironmentPaths,
    FixedPaths,
)
from flask_forge_jobs.config.settings import (
    LOG_LEVELS,
    POOL_SIZE,
    PREFIX,
    Settings,
    options,
)
from flask_forge_jobs.config.urls import BACKENDS, Backend, url_or_none
from flask_forge_jobs.errors import ConfigurationError

URL_KEY = "DATABASE_URL"
POOL_SIZE_VARIABLE = "DATABASE_MAX_CONNECTIONS"
DEFAULT_LOG_LEVEL = "INFO"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8787
PORT = integer(0, 65_535)
DEFAULT_WORKERS = 2
DEFAULT_THREADS = 4
WORKER_RANGE = (1, 64)
WORKERS = integer(*WORKER_RANGE)

TOKENS_KEY = f"{PREFIX}TOKENS"
LOG_LEVEL_KEY = f"{PREFIX}LOG_LEVEL"
# Defaults that differ from those of an application.
SERVER_DEFAULTS: Mapping[str, object] = {
    f"{PREFIX}URL_PREFIX": "",
    # A client should get an error within 10 s while another process locks the file. A
    # request may wait this long twice: for a thread of its process, and for the file.
    f"{PREFIX}SQLITE_BUSY_TIMEOUT_S": 4.0,
}
_NUMBER = re.compile(r"[0-9]{1,9}")
_ADDRESS = re.compile(
    r"(\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>[0-9]{1,5})"
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A row of the reference page, with the default in words."""

    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable(
        "QUEUE_BACKEND",
        "that of the database's address",
        "``sqlite`` or ``postgres``. The server does not start if the address of the "
        "database is for the other one.",
    ),
    Variable(
        "DATABASE_URL",
        "``queue_database.toml``, then SQLite in the data directory",
        "The database. Required if ``QUEUE_BACKEND`` is ``postgres`` and no file names "
        "one. A relative SQLite path starts in the data directory.",
    ),
    Variable(
        POOL_SIZE_VARIABLE, "30", "Most PostgreSQL connections per process, 1 to 1000."
    ),
    Variable("JOBS_API_BIND", "``127.0.0.1`` and the port", "Address and port."),
    Variable(
        "JOBS_API_PORT",
        "8787",
        "The port if ``JOBS_API_BIND`` is not set; 0 for any free port.",
    ),
    Variable(
        CONFIG_DIR_VARIABLE,
        "``jobs/config``",
        "Directory that may hold ``queue_database.toml``.",
    ),
    Variable(DATA_DIR_VARIABLE, "``jobs/data``", "Directory of the SQLite file."),
    Variable(
        "WEB_CONCURRENCY",
        str(DEFAULT_WORKERS),
        "Server processes, 1 to 64; ``--workers`` overrides it.",
    ),
    Variable(
        "JOBS_API_THREADS",
        str(DEFAULT_THREADS),
        "Threads per server process, 1 to 64; ``--threads`` overrides it.",
    ),
    Variable(LOG_LEVEL_KEY, DEFAULT_LOG_LEVEL, f"One of {', '.join(LOG_LEVELS)}."),
)


@dataclass(frozen=True, slots=True)
class ServerEnvironment:
    """The checked variables.

    ``host`` is an address without brackets, ``port`` 0 any free one. ``backend`` None
    accepts both. ``url_key`` is the variable with the URL of the database.
    """

    host: str
    port: int
    paths: FixedPaths
    log_level: str
    backend: Backend | None
    workers: int
    threads: int
    settings: Settings
    url_key: str

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], base_dir: Path | None = None
    ) -> ServerEnvironment:
        """Read the variables; relative directories start in ``base_dir``.

        Raises:
            ConfigurationError: A value is invalid, a ``FORGE_JOBS_`` variable is
                unknown, or ``FORGE_JOBS_TOKENS`` is empty.
        """
        environ = {
            name: value
            for name, value in environ.items()
            if not is_service_link(name, value)
        }
        _check_names(environ)
        given = {name: value.strip() for name, value in environ.items()}
        given = {name: value for name, value in given.items() if value}
        paths = EnvironmentPaths(given, base_dir)
        host, port = _listen_address(given)
        level = given.get(LOG_LEVEL_KEY, DEFAULT_LOG_LEVEL).upper()
        return cls(
            host=host,
            port=port,
            paths=FixedPaths(paths.config_dir(), paths.data_dir()),
            log_level=_checked(LOG_LEVEL_KEY, one_of(*LOG_LEVELS), level),
            backend=_backend(given),
            workers=_integer(given, "WEB_CONCURRENCY", DEFAULT_WORKERS, WORKERS),
            threads=_integer(given, "JOBS_API_THREADS", DEFAULT_THREADS, WORKERS),
            settings=_settings(given, environ),
            url_key=URL_KEY if URL_KEY in given else DATABASE_URL_KEY,
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def database(
        self, start_dir: Path | None = None, *, environ: Mapping[str, str] | None = None
    ) -> ChosenDatabase:
        """Choose the database like :meth:`ChosenDatabase.resolve`.

        Raises:
            ConfigurationError: The database is not of ``QUEUE_BACKEND``, or its file is
                invalid or cannot be read.
        """
        chosen = ChosenDatabase.resolve(
            self.settings, self.paths, start_dir, environ=environ, url_key=self.url_key
        )
        if self.backend in (None, chosen.settings.backend):
            return chosen
        if chosen.source == DEFAULT_SOURCE:
            raise ConfigurationError(
                URL_KEY, f"is required if QUEUE_BACKEND is {self.backend!r}"
            )
        raise ConfigurationError(
            "QUEUE_BACKEND",
            f"is {self.backend!r}, but {chosen.source} names "
            f"{chosen.settings.backend!r}",
        )


def _listen_address(given: Mapping[str, str]) -> tuple[str, int]:
    bind = given.get("JOBS_API_BIND")
    if bind is None:
        return DEFAULT_HOST, _integer(given, "JOBS_API_PORT", DEFAULT_PORT, PORT)
    match = _ADDRESS.fullmatch(bind)
    if match is None:
        raise ConfigurationError(
            "JOBS_API_BIND",
            f"{bind!r} is not an address and port such as 127.0.0.1:8787",
        )
    port = int(_checked("JOBS_API_BIND", PORT, int(match["port"])))
    if match["v6"] is None:
        return match["host"], port
    try:
        return str(ipaddress.IPv6Address(match["v6"])), port
    except ValueError:
        raise ConfigurationError(
            "JOBS_API_BIND", f"{bind!r} is not an IPv6 address and port"
        ) from None


def _backend(given: Mapping[str, str]) -> Backend | None:
    word = given.get("QUEUE_BACKEND", "").lower()
    if not word:
        return None
    return cast("Backend", _checked("QUEUE_BACKEND", one_of(*BACKENDS), word))


def _check_names(environ: Mapping[str, str]) -> None:
    """Refuse unknown settings, also if they are blank."""
    known = [LOG_LEVEL_KEY, *(option.key for option in options())]
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            raise ConfigurationError(name, f"unknown setting{near_match(name, known)}")
        if meant := with_prefix(PREFIX, name, known):
            raise ConfigurationError(name, f"unknown setting; did you mean {meant!r}")


def _settings(given: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    keys: dict[str, object] = {
        name: _json_or_text(text)
        for name, text in given.items()
        if name.startswith(PREFIX) and name != LOG_LEVEL_KEY
    }
    if URL_KEY in given:
        url = _checked(URL_KEY, url_or_none(), given[URL_KEY])
        _take(keys, DATABASE_URL_KEY, URL_KEY, url)
    if POOL_SIZE_VARIABLE in given:
        pool_size = _integer(given, POOL_SIZE_VARIABLE, 0, POOL_SIZE)
        _take(keys, f"{PREFIX}POOL_SIZE", POOL_SIZE_VARIABLE, pool_size)
    settings = Settings.from_mapping({**SERVER_DEFAULTS, **keys})
    # An empty list means a mistake, and must not start a server with another token.
    if TOKENS_KEY in environ and not settings.tokens:
        raise ConfigurationError(
            TOKENS_KEY,
            "is empty; make a token with `flask forge-jobs token new`, or unset it",
        )
    return settings


def _take(keys: dict[str, object], key: str, variable: str, value: object) -> None:
    """Use the reference's variable for one of our settings."""
    if keys.setdefault(key, value) != value:
        raise ConfigurationError(variable, f"differs from {key}; unset one of them")


def _json_or_text(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _integer(given: Mapping[str, str], name: str, default: int, check: Check) -> int:
    text = given.get(name)
    if text is None:
        return default
    return int(_checked(name, check, int(text) if _NUMBER.fullmatch(text) else text))


def _checked(name: str, check: Check, value: object) -> Any:
    try:
        return check.read(value)
    except RefusedError as error:
        raise ConfigurationError(name, str(error)) from None
