"""Database URLs, and the connection parameters of libpq that they may hold.

The spellings of SQLAlchemy are accepted, too: a driver after ``+``, parameters that
concern only a driver, and several hosts as ``host=a:5432&host=b:5432``.

A password with an unescaped character can look like a host, a port or a parameter. So
no message repeats a part of the URL that may be a password, and causes are dropped,
since ``urllib`` quotes the text that it cannot parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from flask_forge_jobs.config.checks import (
    CONTROL,
    TEXT,
    Check,
    RefusedError,
    integer,
    near_match,
    one_of,
)
from flask_forge_jobs.errors import InvalidInputError

Backend = Literal["sqlite", "postgres"]
BACKENDS: tuple[Backend, ...] = ("sqlite", "postgres")
MEMORY = ":memory:"
POSTGRES_SCHEMES = ("postgresql", "postgres")
DEFAULT_PORT = "5432"
PORT_RANGE = (1, 65_535)
CONNECT_TIMEOUT_RANGE_S = (1, 600)

# A driver of SQLAlchemy; urlsplit() refuses the underscore of psycopg_async.
_DRIVER = re.compile(r"(sqlite|postgresql|postgres)\+(\w+):")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Location(TypedDict, total=False):
    """The settings in the URL or the file of a database; the rest is default."""

    backend: Backend
    path: Path | None
    host: str | None
    port: int
    ports: str
    database: str
    username: str
    password: str
    sslmode: str
    sslrootcert: str
    sslcert: str
    sslkey: str
    pool_size: int
    connect_timeout_s: int
    application_name: str
    libpq: tuple[tuple[str, str], ...]


class LibpqParameter(NamedTuple):
    """A parameter; ``field`` None only passes it on to libpq."""

    check: Check
    field: str | None = None
    is_number: bool = False


def _number(low: int, high: int, field: str | None = None) -> LibpqParameter:
    return LibpqParameter(integer(low, high), field, is_number=True)


PARAMETERS = {
    "host": LibpqParameter(TEXT, "host"),
    "port": _number(*PORT_RANGE, "port"),
    "dbname": LibpqParameter(TEXT, "database"),
    "user": LibpqParameter(TEXT, "username"),
    "password": LibpqParameter(TEXT, "password"),
    "application_name": LibpqParameter(TEXT, "application_name"),
    "connect_timeout": _number(*CONNECT_TIMEOUT_RANGE_S, "connect_timeout_s"),
    "sslmode": LibpqParameter(
        one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "sslmode",
    ),
    "sslrootcert": LibpqParameter(TEXT, "sslrootcert"),
    "sslcert": LibpqParameter(TEXT, "sslcert"),
    "sslkey": LibpqParameter(TEXT, "sslkey"),
    "channel_binding": LibpqParameter(one_of("disable", "prefer", "require")),
    "gssencmode": LibpqParameter(one_of("disable", "prefer", "require")),
    "options": LibpqParameter(TEXT),
    # No value for standbys, which take no writes.
    "target_session_attrs": LibpqParameter(one_of("any", "primary", "read-write")),
    "keepalives": _number(0, 1),
    "keepalives_count": _number(1, 1_000),
    "keepalives_idle": _number(1, 100_000),
    "keepalives_interval": _number(1, 100_000),
    "tcp_user_timeout": _number(0, 10_000_000),
}
# The other parameters have the same name in a file.
ADDRESS = ("host", "port", "dbname", "user", "password")
# Those of a URL; the name of the database is in the path.
_PARAMETERS = [name for name in PARAMETERS if name != "dbname"]
# Parameters of SQLAlchemy and its drivers. They concern connections of the application.
_POSTGRES_DRIVERS_OWN = frozenset(
    {
        "async_fallback", "client_encoding", "executemany_batch_page_size",
        "executemany_mode", "prepared_statement_cache_size", "use_native_hstore",
    }
)  # fmt: skip
_SQLITE_DRIVERS_OWN = frozenset(
    {
        "autocommit", "cache", "cached_statements", "check_same_thread",
        "detect_types", "isolation_level", "timeout",
    }
)  # fmt: skip
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})  # as SQLAlchemy reads it
_SOCKET = re.compile(r"(/.*)/\.s\.PGSQL\.([0-9]+)")
_HOST_WITH_PORT = re.compile(r"[^/:]*:[0-9]*")


def put(location: Location, name: str, value: str | int) -> None:
    """Write an accepted value into a location, replacing an earlier one."""
    field = PARAMETERS[name].field
    if field is not None:
        cast("dict[str, object]", location)[field] = value
        return
    handed_on = dict(location.get("libpq", ())) | {name: str(value)}
    location["libpq"] = tuple(handed_on.items())


def url_or_none(*, backend: str | None = None) -> Check:
    """Accept a database URL, of one backend if given, or None."""

    def read(value: object) -> object:
        if value is None:
            return None
        try:
            location = parse_url(value, Path())
        except InvalidInputError as error:
            raise RefusedError(error.message) from None
        if backend is not None and location["backend"] != backend:
            raise RefusedError("must start with postgresql://")
        return value

    kinds = "a postgresql:// URL" if backend else "a sqlite:/// or postgresql:// URL"
    return Check(read, f"{kinds}, or None")


def parse_url(url: object, base_dir: Path) -> Location:
    """Return the location in a database URL, or raise InvalidInputError for ``url``."""
    if not isinstance(url, str):
        raise _refused("is not text")
    if CONTROL.search(url) or url != url.strip():
        raise _refused("has a control character, or a space at its start or end")
    if _BROKEN_ESCAPE.search(url):
        raise _refused("has a % without two hexadecimal digits; write % itself as %25")
    driver = ""
    if match := _DRIVER.match(url):
        driver = match[2]
        url = f"{match[1]}{url[match.end() - 1 :]}"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused(
            "is not valid; write reserved characters in the user name or password "
            "as % and two hexadecimal digits"
        ) from None
    if "#" in url:
        raise _refused("has a #; write it as %23")
    if url == "sqlite://":
        return {"backend": "sqlite", "path": None}
    if parts.scheme == "sqlite":
        return _parse_sqlite(parts, base_dir, driver)
    if parts.scheme in POSTGRES_SCHEMES:
        return _parse_postgres(parts)
    raise _refused("must start with sqlite:/// or postgresql://")


def sqlite_path(text: str, base_dir: Path) -> Path | None:
    """Return the absolute path of a SQLite file, or None for ``:memory:``."""
    return None if text == MEMORY else base_dir.absolute() / text


def sqlite_location(name: str, query: Mapping[str, str], base_dir: Path) -> Location:
    """Return the location of a SQLite file, given the parameters of its URL.

    ``name`` is the path, or a ``file:`` URI if there is a parameter ``uri=true``.

    Raises:
        InvalidInputError: The file is read-only, or a parameter unknown.
    """
    query = {key: each for key, each in query.items() if key not in _SQLITE_DRIVERS_OWN}
    if query.pop("uri", "").lower() in _TRUE:
        name = unquote(name.removeprefix("file:").removeprefix("//"))
        mode = query.pop("mode", "rwc")
        if mode == "memory":
            name = MEMORY
        elif mode not in ("rw", "rwc"):
            raise _refused("opens the file read-only")
    for unknown in query:
        raise _refused(
            f"has the parameter {unknown!r}; a SQLite URL takes those of Python's "
            "driver only (write a ? of the path as %3F)"
        )
    return {"backend": "sqlite", "path": sqlite_path(name, base_dir)}


def refuse_sqlcipher(driver: str) -> None:
    """Refuse an encrypted SQLite database."""
    if "sqlcipher" in driver:
        raise _refused("names an encrypted database, which the jobs cannot use")


def _parse_sqlite(parts: SplitResult, base_dir: Path, driver: str) -> Location:
    refuse_sqlcipher(driver)  # before its password is taken for a host
    is_memory = parts.netloc == MEMORY and not parts.path
    if parts.netloc and not is_memory:
        raise _refused(
            "needs three slashes before a relative path and four before an absolute one"
        )
    text = _decode("path", parts.path.removeprefix("/"))
    if not (text or is_memory):
        raise _refused("names no file; for memory use sqlite:///:memory:")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return sqlite_location(MEMORY if is_memory else text, query, base_dir)


def _parse_postgres(parts: SplitResult) -> Location:
    if "@" in parts.path or "@" in parts.query:
        raise _refused(
            "has an @ after the host; write reserved characters in the user name or "
            "password as % and two hexadecimal digits"
        )
    location: Location = {"backend": "postgres"}
    credentials, _, address = parts.netloc.rpartition("@")
    username, has_password, password = credentials.partition(":")
    if username:
        location["username"] = _decode("user name", username)
    if has_password:
        location["password"] = _decode("password", password)
    _read_address(location, address)
    database = _decode("database name", parts.path.removeprefix("/"))
    if not database or "/" in parts.path.removeprefix("/"):
        raise _refused("must name one database after the host, such as /jobs")
    location["database"] = database
    read_parameters(location, parse_qsl(parts.query, keep_blank_values=True))
    return location


def _read_address(location: Location, address: str) -> None:
    """Read hosts and ports, separated by commas; an IPv6 address has brackets."""
    places = [_host_and_port(place) for place in address.split(",")]
    if any(host for host, _ in places):
        location["host"] = ",".join(_decode("host", host) for host, _ in places)
    if any(port is not None for _, port in places):
        _take_ports(
            location, [port if port is not None else DEFAULT_PORT for _, port in places]
        )


def _host_and_port(place: str) -> tuple[str, str | None]:
    host, bracket, rest = place.removeprefix("[").partition("]")
    if place.startswith("[") and bracket:
        has_port, port = rest[:1], rest[1:]
    else:
        host, has_port, port = place.partition(":")
    return host, port if has_port else None


def _take_ports(location: Location, texts: Sequence[str]) -> None:
    ports = [int(_checked("port", text)) for text in texts]
    location["port"] = ports[0]
    if len(set(ports)) > 1:
        location["ports"] = ",".join(map(str, ports))


def read_parameters(location: Location, query: Iterable[tuple[str, str]]) -> None:
    """Write the parameters of a PostgreSQL URL, in pairs, into its location.

    Raises:
        InvalidInputError: A parameter is unknown or repeated, or its value is wrong.
    """
    seen: set[str] = set()
    hosts: list[str] = []
    for name, value in _in_words_of_libpq(query):
        if name not in _PARAMETERS:
            hint = near_match(name, _PARAMETERS)
            raise _refused(f"has the unknown parameter {name!r}{hint}")
        if name == "host":
            hosts.append(value)
        elif name in seen:
            raise _refused(f"has the parameter {name!r} twice")
        seen.add(name)
        if name == "port":
            _take_ports(location, value.split(","))
        elif name != "host":
            put(location, name, _checked(name, value))
    _take_hosts(location, hosts)
    count = (location.get("host") or "").count(",") + 1
    if location.get("ports", "").count(",") + 1 not in (1, count):
        raise _refused("needs one port, or one for each host")


def _in_words_of_libpq(query: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield parameters without those of a driver alone, and under libpq's names."""
    for name, value in query:
        if name in _POSTGRES_DRIVERS_OWN:
            continue
        if name == "ssl":  # asyncpg
            yield "sslmode", value
        elif name == "unix_sock" and (match := _SOCKET.fullmatch(value)):  # pg8000
            yield "host", match[1]
            yield "port", match[2]
        else:
            yield name, value


def _take_hosts(location: Location, hosts: Sequence[str]) -> None:
    """Read the parameters ``host``, each with one or several hosts."""
    if not hosts:
        return
    places = [place for host in hosts for place in host.split(",")]
    if any(_HOST_WITH_PORT.fullmatch(place) for place in places):
        _read_address(location, ",".join(places))
        return
    put(location, "host", _checked("host", ",".join(places)))


def _checked(name: str, text: str) -> str | int:
    parameter = PARAMETERS[name]
    # Never repeat the text: it may be the rest of a password with an unescaped slash.
    if parameter.is_number and not _NUMBER.fullmatch(text):
        raise _refused(
            f"has a {name} that is not a whole number; write reserved characters in "
            "the user name or password as % and two hexadecimal digits"
        )
    try:
        checked: str | int = parameter.check.read(
            int(text) if parameter.is_number else text
        )
    except RefusedError as error:
        raise _refused(f"has a {name} that {error}") from None
    return checked


def _decode(what: str, text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _refused(f"has a {what} that is not UTF-8") from None
    if CONTROL.search(decoded):
        raise _refused(f"has a {what} with a control character")
    return decoded


def _refused(message: str) -> InvalidInputError:
    return InvalidInputError("url", message)
