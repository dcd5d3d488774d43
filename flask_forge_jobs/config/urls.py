"""Database URLs, and the connection parameters of libpq that they may hold.

A password with an unescaped character can look like a host, a port or a parameter. So
no message repeats a part of the URL that may be a password, and causes are dropped,
since ``urllib`` quotes what it could not parse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
MEMORY = ":memory:"
POSTGRES_SCHEMES = ("postgresql", "postgres")
DEFAULT_PORT = "5432"
PORT_RANGE = (1, 65_535)
CONNECT_TIMEOUT_RANGE_S = (1, 600)

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Location(TypedDict, total=False):
    """What a URL or a file says about a database; the rest is default."""

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
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused(
            "is not valid; write reserved characters in the user name or password "
            "as % and two hexadecimal digits"
        ) from None
    if "#" in url:
        raise _refused("has a #; write it as %23")
    if parts.scheme == "sqlite":
        return _parse_sqlite(parts, base_dir)
    if parts.scheme in POSTGRES_SCHEMES:
        return _parse_postgres(parts)
    if parts.scheme.partition("+")[0] in ("sqlite", *POSTGRES_SCHEMES):
        raise _refused("names a driver; leave out the + and what follows it")
    raise _refused("must start with sqlite:/// or postgresql://")


def sqlite_path(text: str, base_dir: Path) -> Path | None:
    """Return the absolute path of a SQLite file, or None for ``:memory:``."""
    return None if text == MEMORY else base_dir.absolute() / text


def _parse_sqlite(parts: SplitResult, base_dir: Path) -> Location:
    if parts.query:
        raise _refused("has parameters; a SQLite URL takes none (write ? as %3F)")
    if parts.netloc == MEMORY and not parts.path:
        return {"backend": "sqlite", "path": None}
    if parts.netloc:
        raise _refused(
            "needs three slashes before a relative path and four before an absolute one"
        )
    text = _decode("path", parts.path.removeprefix("/"))
    if not text:
        raise _refused("names no file; for memory use sqlite:///:memory:")
    return {"backend": "sqlite", "path": sqlite_path(text, base_dir)}


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
    _read_parameters(location, parts.query)
    hosts = (location.get("host") or "").count(",") + 1
    if location.get("ports", "").count(",") + 1 not in (1, hosts):
        raise _refused("needs one port, or one for each host")
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


def _read_parameters(location: Location, query: str) -> None:
    seen: set[str] = set()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            hint = near_match(name, _PARAMETERS)
            raise _refused(f"has the unknown parameter {name!r}{hint}")
        if name in seen:
            raise _refused(f"has the parameter {name!r} twice")
        seen.add(name)
        if name == "port":
            _take_ports(location, value.split(","))
        else:
            put(location, name, _checked(name, value))


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
