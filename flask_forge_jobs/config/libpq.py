"""The supported connection parameters of libpq, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, cast

from flask_forge_jobs.config.checks import TEXT, Check, integer, one_of

Backend = Literal["sqlite", "postgres"]
PORT_RANGE = (1, 65_535)
CONNECT_TIMEOUT_RANGE_S = (1, 600)


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


def put(location: Location, name: str, value: str | int) -> None:
    """Write an accepted value into a location, replacing an earlier one."""
    field = PARAMETERS[name].field
    if field is not None:
        cast("dict[str, object]", location)[field] = value
        return
    handed_on = dict(location.get("libpq", ())) | {name: str(value)}
    location["libpq"] = tuple(handed_on.items())
