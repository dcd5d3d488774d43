"""The environment variables of ``forge-jobs-server``.

A blank variable counts as unset, as an empty line in a container's environment file
leaves it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flask_forge_jobs.config.database import DEFAULT_SOURCE, DatabaseConfig
from flask_forge_jobs.config.hints import near_match
from flask_forge_jobs.config.paths import (
    CONFIG_DIR_VARIABLE,
    DATA_DIR_VARIABLE,
    EnvironmentPaths,
    FixedPaths,
)
from flask_forge_jobs.config.settings import PREFIX, Settings
from flask_forge_jobs.config.urls import POOL_SIZE_RANGE, Backend, parse_url
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError

BACKENDS: tuple[Backend, ...] = ("sqlite", "postgres")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
URL_KEY = "DATABASE_URL"
DEFAULT_LOG_LEVEL = "INFO"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8787
# 0 lets the system choose a free one.
PORT_RANGE = (0, 65_535)

# Keys of an application that a server without one can be given too.
SERVED_KEYS = (
    f"{PREFIX}TOKENS",
    f"{PREFIX}METRICS_AUTH",
    f"{PREFIX}READ_ONLY",
    f"{PREFIX}ALLOWED_HOSTS",
    f"{PREFIX}CORS_ORIGINS",
    f"{PREFIX}RATE_LIMITS",
    f"{PREFIX}REDACT_KEYS",
    f"{PREFIX}MAX_BODY_BYTES",
)
_NUMBER = re.compile(r"[0-9]{1,9}")
_ADDRESS = re.compile(
    r"(\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>[0-9]{1,5})"
)


@dataclass(frozen=True, slots=True)
class Variable:
    """What the reference page says about one variable.

    Args:
        name: The variable.
        default: The value when it is unset or blank, in words.
        meaning: What it does.
    """

    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable(
        "QUEUE_BACKEND",
        "whatever the database's address says",
        "``sqlite`` or ``postgres``. It chooses nothing by itself: the start fails "
        "when the address that was found is for the other one.",
    ),
    Variable(
        "DATABASE_URL",
        "``queue_database.toml``, then SQLite in the data directory",
        "The database. Required when ``QUEUE_BACKEND`` is ``postgres`` and no file "
        "names one. A relative SQLite path starts in the data directory.",
    ),
    Variable(
        "DATABASE_MAX_CONNECTIONS",
        "30",
        "Most PostgreSQL connections of one process, 1 to 1000.",
    ),
    Variable("JOBS_API_BIND", "``127.0.0.1`` and the port", "Address and port."),
    Variable(
        "JOBS_API_PORT",
        "8787",
        "The port when ``JOBS_API_BIND`` is not set; 0 is any free one.",
    ),
    Variable(
        CONFIG_DIR_VARIABLE,
        "``jobs/config``",
        "Directory that may hold ``queue_database.toml``.",
    ),
    Variable(DATA_DIR_VARIABLE, "``jobs/data``", "Directory of the SQLite file."),
    *(
        Variable(
            key, "the key's", "The key of the same name, as JSON or as plain text."
        )
        for key in SERVED_KEYS
    ),
    Variable(
        "FORGE_JOBS_LOG_LEVEL", DEFAULT_LOG_LEVEL, f"One of {', '.join(LOG_LEVELS)}."
    ),
)


@dataclass(frozen=True, slots=True)
class ServerEnvironment:
    """What the environment says, checked.

    Args:
        host: Address to listen on; an IPv6 address without brackets.
        port: Port to listen on; 0 is any free one.
        paths: The two directories, absolute.
        log_level: A level name of :mod:`logging`.
        backend: What the database must be; None accepts both.
        settings: The keys that the variables stand for, such as the database's URL.
    """

    host: str
    port: int
    paths: FixedPaths
    log_level: str
    backend: Backend | None
    settings: Settings

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], base_dir: Path | None = None
    ) -> ServerEnvironment:
        """Read the variables.

        Args:
            environ: The environment.
            base_dir: What relative directories start from; the current directory by
                default.

        Raises:
            ConfigurationError: A value does not pass; the key is the variable's name.
        """
        given = {name: value.strip() for name, value in environ.items()}
        given = {name: value for name, value in given.items() if value}
        paths = EnvironmentPaths(given, base_dir)
        host, port = _listen_address(given)
        return cls(
            host=host,
            port=port,
            paths=FixedPaths(paths.config_dir(), paths.data_dir()),
            log_level=_log_level(given),
            backend=_backend(given),
            settings=_settings(given),
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def database(
        self,
        start_dir: Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> DatabaseConfig:
        """Choose the database, by the rules of :meth:`DatabaseConfig.resolve`.

        Args:
            start_dir: Where the look for ``queue_database.toml`` begins; the current
                directory by default.
            environ: Where ``password_env`` is looked up; the environment of this
                process by default.

        Raises:
            ConfigurationError: The database is not of the kind that ``QUEUE_BACKEND``
                demands, or a file cannot be read or says something that does not
                pass.
        """
        chosen = DatabaseConfig.resolve(
            self.settings, self.paths, start_dir, environ=environ, url_key=URL_KEY
        )
        if self.backend in (None, chosen.settings.backend):
            return chosen
        if chosen.source == DEFAULT_SOURCE:
            raise ConfigurationError(
                URL_KEY, f"is required when QUEUE_BACKEND is {self.backend!r}"
            )
        raise ConfigurationError(
            "QUEUE_BACKEND",
            f"is {self.backend!r}, but {chosen.source} names "
            f"{chosen.settings.backend!r}",
        )


def _listen_address(given: Mapping[str, str]) -> tuple[str, int]:
    bind = given.get("JOBS_API_BIND")
    if bind is None:
        return DEFAULT_HOST, _integer(given, "JOBS_API_PORT", DEFAULT_PORT, PORT_RANGE)
    match = _ADDRESS.fullmatch(bind)
    if match is None or int(match["port"]) > PORT_RANGE[1]:
        raise ConfigurationError(
            "JOBS_API_BIND", f"{bind!r} is no address:port such as 127.0.0.1:8787"
        )
    if match["v6"] is None:
        return match["host"], int(match["port"])
    try:
        return str(ipaddress.IPv6Address(match["v6"])), int(match["port"])
    except ValueError:
        raise ConfigurationError(
            "JOBS_API_BIND", f"{bind!r} holds no IPv6 address"
        ) from None


def _backend(given: Mapping[str, str]) -> Backend | None:
    word = given.get("QUEUE_BACKEND", "").lower()
    for backend in BACKENDS:
        if word == backend:
            return backend
    if not word:
        return None
    raise ConfigurationError("QUEUE_BACKEND", _not_one_of(word, BACKENDS))


def _log_level(given: Mapping[str, str]) -> str:
    word = given.get("FORGE_JOBS_LOG_LEVEL", DEFAULT_LOG_LEVEL).upper()
    if word not in LOG_LEVELS:
        raise ConfigurationError("FORGE_JOBS_LOG_LEVEL", _not_one_of(word, LOG_LEVELS))
    return word


def _settings(given: Mapping[str, str]) -> Settings:
    url = given.get(URL_KEY)
    pool_size = _integer(
        given, "DATABASE_MAX_CONNECTIONS", Settings().pool_size, POOL_SIZE_RANGE
    )
    if url is not None:
        try:
            parse_url(url, Path())
        except InvalidInputError as error:
            raise ConfigurationError(URL_KEY, error.message) from None
    return replace(
        Settings.from_mapping(
            {key: _json_or_text(given[key]) for key in SERVED_KEYS if key in given}
        ),
        database_url=url,
        pool_size=pool_size,
    )


def _json_or_text(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _integer(
    given: Mapping[str, str], name: str, default: int, limits: tuple[int, int]
) -> int:
    text = given.get(name)
    if text is None:
        return default
    low, high = limits
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise ConfigurationError(
            name, f"{text!r} is no whole number from {low} to {high}"
        )
    return int(text)


def _not_one_of(word: str, known: tuple[str, ...]) -> str:
    return f"{word!r} is not one of {', '.join(known)}{near_match(word, known)}"
