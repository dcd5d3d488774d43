from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.config.urls import ADDRESS, PARAMETERS, Location, parse_url, put
from flask_forge_jobs.errors import InvalidInputError

BASE = Path("/srv/app")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rel.db", Path("/srv/app/rel.db")),
        ("sqlite:///a/b.db", Path("/srv/app/a/b.db")),
        ("sqlite:////abs/q.db", Path("/abs/q.db")),
        ("sqlite:///a%20b%3Fc%23.db", Path("/srv/app/a b?c#.db")),
        ("sqlite:///:memory:", None),
        ("sqlite://:memory:", None),
        ("sqlite://", None),
        ("sqlite+pysqlite:///rel.db", Path("/srv/app/rel.db")),
        ("sqlite+pysqlite_numeric:////abs/q.db", Path("/abs/q.db")),
        ("sqlite:///rel.db?timeout=5&check_same_thread=false", BASE / "rel.db"),
        ("sqlite:///file:a%2520b.db?uri=true", Path("/srv/app/a b.db")),
        ("sqlite:///file:///abs/q.db?mode=rwc&uri=1", Path("/abs/q.db")),
        ("sqlite:///file:a?mode=memory&uri=true", None),
    ],
)
def test_parse_url_reads_sqlite(url: str, path: Path | None) -> None:
    assert parse_url(url, BASE) == {"backend": "sqlite", "path": path}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/d", {"host": "h"}),
        ("postgres://h/d", {"host": "h"}),
        ("postgresql:///d", {}),
        ("postgresql://h:6432/d", {"host": "h", "port": 6432}),
        (
            "postgresql://u%40x:p%40s%2Fs%25@h/d",
            {"host": "h", "username": "u@x", "password": "p@s/s%"},
        ),
        ("postgresql://u:@h/d", {"host": "h", "username": "u", "password": ""}),
        ("postgresql://u@[::1]:5433/d", {"host": "::1", "port": 5433, "username": "u"}),
        ("postgresql://%2FVar%2Frun/d", {"host": "/Var/run"}),
        (
            "postgresql://u@/d?host=/var/run&port=5433",
            {"host": "/var/run", "port": 5433, "username": "u"},
        ),
        ("postgresql://h1,h2/d", {"host": "h1,h2"}),
        ("postgresql://h1:1,h2:1/d", {"host": "h1,h2", "port": 1}),
        (
            "postgresql://u@h1:1,h2/d",
            {"host": "h1,h2", "port": 1, "ports": "1,5432", "username": "u"},
        ),
        (
            "postgresql:///d?host=h1,h2&port=1,2",
            {"host": "h1,h2", "port": 1, "ports": "1,2"},
        ),
        (
            "postgresql://h/d?options=-csearch_path%3Dx&keepalives_idle=5",
            {
                "host": "h",
                "libpq": (("options", "-csearch_path=x"), ("keepalives_idle", "5")),
            },
        ),
        ("postgresql:///d?user=u&password=p%26", {"username": "u", "password": "p&"}),
        (
            "postgresql://h/d?sslmode=verify-full&sslrootcert=/ca&sslcert=/c&sslkey=/k",
            {
                "host": "h",
                "sslmode": "verify-full",
                "sslrootcert": "/ca",
                "sslcert": "/c",
                "sslkey": "/k",
            },
        ),
        ("postgresql+psycopg2://h/d", {"host": "h"}),
        ("postgres+psycopg_async://h/d", {"host": "h"}),
        (
            "postgresql+asyncpg://h/d?ssl=require&prepared_statement_cache_size=0",
            {"host": "h", "sslmode": "require"},
        ),
        (
            "postgresql+pg8000:///d?unix_sock=/run/p:r:i/.s.PGSQL.5433",
            {"host": "/run/p:r:i", "port": 5433},
        ),
        (
            "postgresql+psycopg2:///d?host=a:1&host=b",
            {"host": "a,b", "port": 1, "ports": "1,5432"},
        ),
        ("postgresql+psycopg:///d?host=a&host=b", {"host": "a,b"}),
        ("postgresql:///d?host=a:1", {"host": "a", "port": 1}),
        (
            "postgresql://h/d?channel_binding=require&gssencmode=disable",
            {
                "host": "h",
                "libpq": (("channel_binding", "require"), ("gssencmode", "disable")),
            },
        ),
        (
            "postgresql:///d?connect_timeout=3&application_name=my%20app",
            {"connect_timeout_s": 3, "application_name": "my app"},
        ),
    ],
)
def test_parse_url_reads_postgres(url: str, expected: Location) -> None:
    base = {"backend": "postgres", "database": "d"}

    assert parse_url(url, BASE) == base | expected


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (None, "is not text"),
        (b"sqlite:///a", "is not text"),
        ("", "must start with"),
        ("mysql://h/d", "must start with"),
        ("jobs.db", "must start with"),
        ("mysql+pymysql://h/d", "must start with"),
        ("sqlite+pysqlcipher://:word@/a.db", "encrypted"),
        (" sqlite:///a", "a space at its start or end"),
        ("sqlite:///a\n", "control character"),
        ("sqlite:///a%00b", "control character"),
        ("sqlite:///%ff", "not UTF-8"),
        ("sqlite:///a%2", "two hexadecimal digits"),
        ("sqlite:///a#b", "write it as %23"),
        ("sqlite:///a?mode=ro", "parameter 'mode'"),
        ("sqlite:///file:a?mode=ro&uri=true", "read-only"),
        ("sqlite:///file:a?vfs=unix-none&uri=true", "parameter 'vfs'"),
        ("sqlite://a.db", "three slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:", "names no file"),
        ("postgresql://h", "must name one database"),
        ("postgresql://h/", "must name one database"),
        ("postgresql://h/a/b", "must name one database"),
        ("postgresql://h:0/d", "port that must be a whole number from 1 to 65535"),
        ("postgresql://h:65536/d", "from 1 to 65535"),
        ("postgresql://h:/d", "not a whole number"),
        ("postgresql://h:x/d", "not a whole number"),
        ("postgresql://h:٣/d", "not a whole number"),
        ("postgresql://h1,h2:x/d", "not a whole number"),
        ("postgresql://h1,h2,h3/d?port=1,2", "one for each host"),
        ("postgresql://h/d?port=1,2", "one for each host"),
        (
            "postgresql://h/d?target_session_attrs=standby",
            "must be one of any, primary",
        ),
        ("postgresql://h/d?keepalives=2", "from 0 to 1"),
        ("postgresql://h/d?tcp_user_timeout=3s", "not a whole number"),
        ("postgresql://u:p/w@h/d", "after the host"),
        ("postgresql://[::1/d", "is not valid"),
        ("postgresql://h/d?sslmod=x", "did you mean 'sslmode'"),
        ("postgresql://h/d?sslmode=on", "must be one of disable"),
        ("postgresql://h/d?application_name=", "non-empty"),
        ("postgresql://h/d?connect_timeout=0", "from 1 to 600"),
        ("postgresql://h/d?connect_timeout=3s", "not a whole number"),
        ("postgresql://h/d?port=1&port=2", "twice"),
        ("postgresql://h/d?service=x", "unknown parameter"),
    ],
)
def test_parse_url_refuses(url: object, part: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_url(url, BASE)

    assert raised.value.field == "url"
    assert part in raised.value.message


printable = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)


@given(username=printable, password=printable, database=printable)
def test_parse_url_returns_what_was_escaped(
    username: str, password: str, database: str
) -> None:
    name, word, base = (quote(text, safe="") for text in (username, password, database))

    location = parse_url(f"postgresql://{name}:{word}@h/{base}", BASE)

    assert location["username"] == username
    assert location["password"] == password
    assert location["database"] == database


def refusal(url: str) -> InvalidInputError | None:
    try:
        parse_url(url, BASE)
    except InvalidInputError as error:
        return error
    return None


@given(st.text(max_size=40))
def test_parse_url_reads_or_refuses_anything(text: str) -> None:
    for url in (text, f"sqlite:{text}", f"postgresql://{text}"):
        error = refusal(url)

        assert error is None or error.field == "url"


@given(password=st.text("abc/?#[]@:%&= ", min_size=0, max_size=8))
def test_parse_url_never_repeats_an_unescaped_password(password: str) -> None:
    error = refusal(f"postgresql://u:hunter{password}two@h/d")

    assert "hunter" not in str(error)
    assert "two" not in str(error).replace("two hexadecimal", "")


def test_every_parameter_is_kept_in_a_field_of_the_settings_or_handed_on() -> None:
    kept = {each.field for each in PARAMETERS.values() if each.field is not None}

    assert kept <= {each.name for each in fields(DatabaseSettings)}
    assert kept < Location.__annotations__.keys()
    assert set(ADDRESS) < PARAMETERS.keys()


def test_a_later_value_takes_the_place_of_an_earlier_one() -> None:
    location: Location = {"backend": "postgres"}

    for name, value in (
        ("user", "ann"), ("keepalives", 0), ("options", "-c x=1"),
        ("keepalives", 1), ("user", "bob"),
    ):  # fmt: skip
        put(location, name, value)

    assert location == {
        "backend": "postgres",
        "username": "bob",
        "libpq": (("keepalives", "1"), ("options", "-c x=1")),
    }
