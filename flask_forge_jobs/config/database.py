"""Which database to open and how: from settings, a file or defaults.

The ``repr`` of these objects hides passwords.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from flask_forge_jobs.config.files import FILE_NAME, candidates, read_file
from flask_forge_jobs.config.paths import QueuePaths
from flask_forge_jobs.config.settings import MASK, Settings
from flask_forge_jobs.config.urls import (
    MEMORY,
    PARAMETERS,
    Backend,
    Location,
    parse_url,
)
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError
from flask_forge_jobs.model.queues import DEFAULT_MAX_QUEUES

URL_KEY = "FORGE_JOBS_DATABASE_URL"
READ_URL_KEY = "FORGE_JOBS_READ_DATABASE_URL"
FILE_KEY = "FORGE_JOBS_DATABASE_FILE"
DEFAULT_SOURCE = "default"  # the source of a database that nothing configures
DEFAULT_SQLITE_NAME = "queue.sqlite"
DEFAULT_POSTGRES_PORT = 5432
_STANDBY_CONNECT_TIMEOUT_S = 2

_SECRET_FIELDS = frozenset({"password", "listen_url"})


@dataclass(frozen=True, slots=True, repr=False)
class Tuning:
    """The options of a database connection, without the address.

    Args:
        pool_size: Most PostgreSQL connections per process; default 30.
        connect_timeout_s: Seconds to wait for a PostgreSQL connection; default 5.
        statement_timeout_s: Time limit of a PostgreSQL statement; default 10.
        application_name: The name of the connections in PostgreSQL.
        synchronous: ``FULL`` (default) waits for the disk at each SQLite commit;
            ``NORMAL`` may lose the last commits in a power failure. ``OFF``, for tests,
            may then also damage the file.
        busy_timeout_s: Seconds to wait for another writer of a SQLite file; default 30.
        listen_url: A PostgreSQL URL for ``LISTEN``, if the database is behind a pooler
            without it; None (default) uses the address of the database.
        max_queues: Most queues; default 1000.
    """

    pool_size: int = 30
    connect_timeout_s: int = 5
    statement_timeout_s: float = 10.0
    application_name: str = "flask-forge-jobs"
    synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL"
    busy_timeout_s: float = 30.0
    listen_url: str | None = None
    max_queues: int = DEFAULT_MAX_QUEUES

    @classmethod
    def from_settings(cls, settings: Settings) -> Tuning:
        """Return the options of an application's settings."""
        return Tuning(
            pool_size=settings.pool_size,
            connect_timeout_s=settings.connect_timeout_s,
            statement_timeout_s=settings.statement_timeout_s,
            synchronous=settings.sqlite_synchronous,
            busy_timeout_s=settings.sqlite_busy_timeout_s,
            listen_url=settings.listen_url,
            max_queues=settings.max_queues,
        )

    def __repr__(self) -> str:
        """Return the fields that differ from their defaults, with secrets masked."""
        shown = []
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value == each.default:
                continue
            hidden = each.name in _SECRET_FIELDS
            shown.append(f"{each.name}={MASK if hidden else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseSettings(Tuning):
    """The address of a database and the options of its connections.

    Args:
        backend: ``sqlite`` (default) or ``postgres``.
        path: The SQLite file; None (default) is a database in memory.
        host: Host name, address or directory of a Unix socket; several, separated by
            commas, are tried in order. None is libpq's default.
        port: TCP port, or the number in the socket's name; default 5432.
        ports: The ports of several hosts, separated by commas; None (default) means
            ``port`` for all.
        database: Name of the PostgreSQL database.
        username: Role to connect as; None is libpq's default.
        password: Its password, or None.
        sslmode: As in libpq, such as ``verify-full``; None is libpq's default.
        sslrootcert: File with the certificates of trusted authorities.
        sslcert: File with the client's certificate.
        sslkey: File with the client's key.
        libpq: Further parameters for libpq, as pairs of name and value. With several
            hosts, ``("target_session_attrs", "read-write")`` is the default.
        source: The setting or file that named the database, for log and errors;
            ``default`` if none did, None (default) for settings made by a program.
    """

    backend: Backend = "sqlite"
    path: Path | None = None
    host: str | None = None
    port: int = DEFAULT_POSTGRES_PORT
    ports: str | None = None
    database: str | None = None
    username: str | None = None
    password: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    libpq: tuple[tuple[str, str], ...] = ()
    source: str | None = field(default=None, compare=False)

    @classmethod
    def from_url(
        cls, url: str, *, base_dir: Path | None = None, tuning: Tuning | None = None
    ) -> DatabaseSettings:
        """Read a database URL.

        ``sqlite:///jobs.db`` is relative to ``base_dir``, ``sqlite:////srv/jobs.db`` is
        absolute and ``sqlite:///:memory:`` is in memory.
        ``postgresql://user:password@host:5432/name`` takes the parameters ``host`` (for
        instance the directory of a Unix socket), ``port``, ``user``, ``password``,
        ``sslmode``, ``sslrootcert``, ``sslcert``, ``sslkey``, ``connect_timeout`` (in
        seconds), ``application_name``, ``target_session_attrs``,
        ``channel_binding``, ``gssencmode``, ``options``, ``keepalives``,
        ``keepalives_idle``, ``keepalives_interval``, ``keepalives_count`` and
        ``tcp_user_timeout``. Separate several hosts by commas.
        Write reserved characters as ``%`` and two hexadecimal digits. Drivers and
        parameters of SQLAlchemy, as in ``postgresql+psycopg://``, are accepted.

        Args:
            url: The URL.
            base_dir: The start of a relative SQLite path; the current directory by
                default.
            tuning: The options that the URL does not set.

        Raises:
            InvalidInputError: The URL is invalid. The field is ``url``; the message
                never contains the password.
        """
        location = parse_url(url, base_dir or Path.cwd())
        return cls.from_location(location, tuning or Tuning())

    @classmethod
    def from_location(
        cls, location: Location, tuning: Tuning, source: str | None = None
    ) -> DatabaseSettings:
        """Return the settings of a checked location and a tuning."""
        base = DatabaseSettings(**dataclasses.asdict(tuning), source=source)
        return dataclasses.replace(base, **location)

    @property
    def is_memory(self) -> bool:
        """Whether the database is in memory."""
        return self.backend == "sqlite" and self.path is None

    @property
    def is_unnamed(self) -> bool:
        """Whether no setting, file or program names the database."""
        return self.source == DEFAULT_SOURCE

    @property
    def dsn_for_display(self) -> str:
        """The address as a URL, with ``***`` in place of the password."""
        if self.backend == "sqlite":
            return f"sqlite:///{self.path or MEMORY}"
        password = f":{MASK}" if self.password else ""
        user = f"{quote(self.username, safe='')}{password}@" if self.username else ""
        hosts = (self.host or "").split(",")
        ports = (
            (self.ports or "").split(",") if self.ports else [self.port] * len(hosts)
        )
        places = [f"{_shown(h)}:{p}" for h, p in zip(hosts, ports, strict=True)]
        return f"postgresql://{user}{','.join(places)}/{quote(self.database or '')}"

    @property
    def named(self) -> str:
        """The end of an address in an error, which names the setting."""
        if self.source is None:
            return ""
        if self.is_unnamed:
            return " (by default; FORGE_JOBS_DATABASE_URL names another)"
        return f" (from {self.source})"

    def listener(self) -> DatabaseSettings:
        """Return the settings for ``LISTEN``: ``listen_url`` if set, else these."""
        if self.listen_url is None:
            return self
        tuning = Tuning(
            connect_timeout_s=self.connect_timeout_s,
            statement_timeout_s=self.statement_timeout_s,
            application_name=self.application_name,
        )
        settings = DatabaseSettings.from_url(self.listen_url, tuning=tuning)
        return dataclasses.replace(settings, source="FORGE_JOBS_LISTEN_URL")

    def standby(self, url: str) -> DatabaseSettings:
        """Return the settings for reads on a hot standby, whose URL this is.

        Of several hosts, one that is a standby is the default.

        Raises:
            ConfigurationError: The jobs are not on PostgreSQL.
        """
        if self.backend != "postgres":
            raise ConfigurationError(
                READ_URL_KEY,
                "names a standby, but the jobs are on SQLite, which has none",
            )
        tuning = Tuning(
            pool_size=self.pool_size,
            # A standby that is gone delays a read, which the primary then answers.
            connect_timeout_s=min(self.connect_timeout_s, _STANDBY_CONNECT_TIMEOUT_S),
            statement_timeout_s=self.statement_timeout_s,
            application_name=self.application_name,
            max_queues=self.max_queues,
        )
        settings = DatabaseSettings.from_url(url, tuning=tuning)
        libpq = dict(settings.libpq)
        if "," in (settings.host or ""):
            libpq.setdefault("target_session_attrs", "standby")
        return dataclasses.replace(
            settings, libpq=tuple(libpq.items()), source=READ_URL_KEY
        )

    def connect_parameters(self) -> dict[str, Any]:
        """Return the PostgreSQL address as libpq's connection parameters.

        Of several hosts, the one that takes writes is the default.
        """
        several = "," in (self.host or "")
        default = {"target_session_attrs": "read-write"} if several else {}
        named = {
            name: getattr(self, each.field)
            for name, each in PARAMETERS.items()
            if each.field is not None
        }
        named["port"] = self.ports or self.port
        given = {name: value for name, value in named.items() if value is not None}
        return default | given | dict(self.libpq)


def _shown(host: str) -> str:
    quoted = quote(host, safe=":")
    return f"[{quoted}]" if ":" in quoted else quoted


@dataclass(frozen=True, slots=True)
class ChosenDatabase:
    """The chosen database."""

    settings: DatabaseSettings

    @property
    def source(self) -> str:
        """The setting or file that named it; ``default`` if none did."""
        return self.settings.source or DEFAULT_SOURCE

    def require_shared(self) -> None:
        """Raise ConfigurationError if other processes cannot see the database."""
        if self.settings.is_memory:
            raise ConfigurationError(
                self.source,
                "keeps jobs in the memory of one process, where others do not see "
                "them; name a file or a PostgreSQL database",
            )

    @classmethod
    def load(
        cls,
        paths: QueuePaths,
        explicit_file: Path | None = None,
        start_dir: Path | None = None,
        *,
        tuning: Tuning | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> ChosenDatabase:
        """Find and read ``queue_database.toml``.

        Searches ``start_dir`` and three parents, those that this user may search, then
        the configuration directory. Without a file, the database is the SQLite file
        ``queue.sqlite`` in the data directory. Creates nothing.

        Args:
            paths: The configuration and the data directory.
            explicit_file: The only file to read; None searches.
            start_dir: Where the search starts; the current directory by default.
            tuning: The options that the file does not set.
            environ: The environment for ``password_env``; that of the process by
                default.

        Raises:
            InvalidInputError: The file is invalid or cannot be read, or
                ``explicit_file`` does not exist.
            ConfigurationError: ``paths`` does not know a directory.
        """
        environ = os.environ if environ is None else environ
        files = (
            candidates(start_dir or Path(), paths.config_dir())
            if explicit_file is None
            else [explicit_file.absolute()]
        )
        for path in files:
            location = read_file(path, environ)
            if location is not None:
                return cls._chosen(location, str(path), paths, tuning)
        if explicit_file is not None:
            raise InvalidInputError(
                "explicit_file", f"{str(explicit_file)!r} is missing"
            )
        return cls._chosen({"backend": "sqlite"}, DEFAULT_SOURCE, paths, tuning)

    @classmethod
    def resolve(
        cls,
        settings: Settings,
        paths: QueuePaths,
        start_dir: Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        url_key: str = URL_KEY,
    ) -> ChosenDatabase:
        """Choose the database of an application.

        ``FORGE_JOBS_DATABASE_URL`` comes first, then ``FORGE_JOBS_DATABASE_FILE``, then
        what :meth:`load` finds.

        Raises:
            ConfigurationError: A file is missing, invalid or cannot be read, or
                ``paths`` does not know a directory. The key is the one that was read.
        """
        tuning = Tuning.from_settings(settings)
        if settings.database_url is not None:
            location = parse_url(settings.database_url, paths.data_dir())
            return cls._chosen(location, url_key, paths, tuning)
        file = settings.database_file
        if file is not None and not file.exists():
            raise ConfigurationError(FILE_KEY, f"{str(file)!r} does not exist")
        try:
            return cls.load(paths, file, start_dir, tuning=tuning, environ=environ)
        except InvalidInputError as error:
            key = FILE_NAME if file is None else FILE_KEY
            message = error.message if error.field == key else str(error)
            raise ConfigurationError(key, message) from error

    @classmethod
    def _chosen(
        cls, location: Location, source: str, paths: QueuePaths, tuning: Tuning | None
    ) -> ChosenDatabase:
        if location["backend"] == "sqlite" and "path" not in location:
            path = paths.data_dir().absolute() / DEFAULT_SQLITE_NAME
            location = {**location, "path": path}
        return cls(DatabaseSettings.from_location(location, tuning or Tuning(), source))
