from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from flask_forge_jobs.config.engine_urls import engine_location
from flask_forge_jobs.config.urls import Location
from flask_forge_jobs.errors import InvalidInputError

BASE = Path("/srv/app")

QUERY = (
    "host=/var/run",
    "sslmode=require",
    "channel_binding=require",
    "application_name=web",
    "client_encoding=utf8",
)
SERVERS: list[tuple[str | URL, Location]] = [
    (
        "postgresql+pg8000://ann:p%40s%2Fs%25%23%3F%20x@db:6432/shop",
        {"host": "db", "port": 6432, "username": "ann", "password": "p@s/s%#? x"},
    ),
    (
        URL.create("postgresql+psycopg", "ann", "%41@:/", "::1", 1, "a/b"),
        {
            "host": "::1",
            "port": 1,
            "username": "ann",
            "password": "%41@:/",
            "database": "a/b",
        },
    ),
    (
        f"postgresql+psycopg2:///shop?{'&'.join(QUERY)}",
        {
            "host": "/var/run",
            "sslmode": "require",
            "application_name": "web",
            "libpq": (("channel_binding", "require"),),
        },
    ),
    (
        "postgresql+psycopg2:///shop?host=a:1&host=b:2",
        {"host": "a,b", "port": 1, "ports": "1,2"},
    ),
    ("postgresql+psycopg:///shop?host=a&host=b", {"host": "a,b"}),
    (
        "postgresql+pg8000:///shop?unix_sock=/cloudsql/p:r:i/.s.PGSQL.5433",
        {"host": "/cloudsql/p:r:i", "port": 5433},
    ),
]


@pytest.mark.parametrize(("url", "expected"), SERVERS)
def test_engine_location_reads_postgres(url: str | URL, expected: Location) -> None:
    base = {"backend": "postgres", "database": "shop"}

    assert engine_location(make_url(url), {}, BASE) == base | expected


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a.db?timeout=5", BASE / "a.db"),
        ("sqlite+pysqlite:////abs/a.db", Path("/abs/a.db")),
        ("sqlite:///file:a.db?mode=rw&uri=true", BASE / "a.db"),
        (URL.create("sqlite", database="a%20b?#.db"), BASE / "a%20b?#.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:a?mode=memory&uri=true", None),
    ],
)
def test_engine_location_reads_sqlite(url: str | URL, path: Path | None) -> None:
    expected = {"backend": "sqlite", "path": path}

    assert engine_location(make_url(url), {"timeout": 3}, BASE) == expected


def test_arguments_of_the_driver_count_if_libpq_knows_them() -> None:
    location = engine_location(
        make_url("postgresql+psycopg2://db?sslmode=prefer"),
        {
            "database": "shop",
            "sslmode": "verify-full",
            "keepalives": 1,
            "autocommit": True,
            "cursor_factory": object,
        },
        BASE,
    )

    assert location == {
        "backend": "postgres",
        "host": "db",
        "database": "shop",
        "sslmode": "verify-full",
        "libpq": (("keepalives", "1"),),
    }


@pytest.mark.parametrize(
    ("url", "arguments", "part"),
    [
        ("mysql://h/d", {}, "neither SQLite nor PostgreSQL"),
        ("postgresql://u:hunter2@h", {}, "must name one database"),
        ("postgresql://h/d?service=x", {}, "unknown parameter 'service'"),
        ("postgresql+pg8000://h/d", {"ssl_context": object()}, "ssl_context"),
        ("postgresql+asyncpg://h/d", {"ssl": object()}, "connect_args['ssl']"),
        (
            URL.create("postgresql", "a\nb", "w", "h", 1, "d"),
            {},
            "character in its user",
        ),
        ("sqlite+pysqlcipher://:hunter2@/a.db", {}, "encrypted"),
        ("sqlite:///file:a.db?immutable=1&uri=true", {}, "parameter 'immutable'"),
    ],
)
def test_engine_location_refuses(
    url: str | URL, arguments: dict[str, object], part: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        engine_location(make_url(url), arguments, BASE)

    assert raised.value.field == "url"
    assert part in raised.value.message
    assert "hunter2" not in str(raised.value)
