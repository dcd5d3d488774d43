"""Short forms of group C of the fault table, and of what injects it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.faults import pooler
from tests.acceptance.faults.fault import Bench, Scale
from tests.acceptance.faults.matrix import FAULTS
from tests.support.proxy import Proxy, proxied
from tests.support.sql import Sql
from tests.support.wire import QUERY, MessageStream

# The others wait for time-outs, or need PgBouncer; the command runs all of them.
IN_THE_GATE = ("C1", "C3", "C4")


@pytest.mark.long
@pytest.mark.parametrize("backend", ["postgres"])
@pytest.mark.parametrize("name", IN_THE_GATE)
def test_the_network_and_the_server_may_fail(
    backend: str, name: str, database_url: str, tmp_path: Path
) -> None:
    (fault,) = [each for each in FAULTS if each.name == name]
    source = random.Random(f"{SHORT_SEED}-{name}-{backend}")

    seen = fault.run(Bench(backend, database_url, source, Scale.SHORT, tmp_path))

    assert "0 extra runs" in seen, seen


def test_messages_are_found_in_whatever_pieces_they_come() -> None:
    wish = struct.pack("!II", 8, 80877103)
    start = struct.pack("!II", 12, 3 << 16) + b"me\0\0"
    query = QUERY + struct.pack("!I", 4 + 9) + b"SELECT 1\0"
    stream = MessageStream(begins_bare=True)

    data = wish + start + query + query[:3]
    found = [each for byte in data for each in stream.feed(bytes([byte]))]

    assert [name for name, _ in found] == [b"", b"", QUERY]
    assert found[-1][1] == b"SELECT 1\0"
    assert stream.feed(query[3:]) == [(QUERY, b"SELECT 1\0")]


@contextlib.contextmanager
def _through(proxy: Proxy, url: str) -> Iterator[psycopg2.extensions.connection]:
    address = DatabaseSettings.from_url(proxy.url_of(DatabaseSettings.from_url(url)))
    with contextlib.closing(Sql(address).connect()) as connection:
        yield connection


@pytest.mark.parametrize("backend", ["postgres"])
def test_a_proxy_loses_the_answer_to_a_commit_that_was_carried_out(
    database_url: str, sql: Sql
) -> None:
    sql.run("CREATE TABLE kept (n INTEGER)")
    with (
        proxied(DatabaseSettings.from_url(database_url)) as proxy,
        _through(proxy, database_url) as connection,
    ):
        proxy.weather.loses = lambda transaction: b"VALUES (1)" in transaction
        cursor = connection.cursor()
        cursor.execute("BEGIN; INSERT INTO kept VALUES (1)")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("COMMIT")

    assert proxy.weather.lost == 1
    assert sql.run("SELECT n FROM kept") == [(1,)]


@pytest.mark.parametrize("backend", ["postgres"])
def test_a_proxy_freezes_the_connections_that_there_are(database_url: str) -> None:
    with (
        proxied(DatabaseSettings.from_url(database_url)) as proxy,
        _through(proxy, database_url),
    ):
        frozen = proxy.freeze()
        with _through(proxy, database_url) as other:
            other.cursor().execute("SELECT 1")

        assert (frozen, proxy.accepted) == (1, 2)
        assert proxy.cut() >= 1


def test_a_cut_loses_the_data_that_a_silence_held() -> None:
    ours, server = socket.socketpair()
    proxy = Proxy(lambda: ours)
    with (
        contextlib.closing(proxy),
        server,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        client.sendall(b"before")
        assert server.recv(100) == b"before"

        proxy.weather.is_silent = True
        client.sendall(b"held")
        proxy.cut()

        assert server.recv(100) == b""


def test_a_missing_pooler_is_told_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pooler, "_SBIN", os.devnull)
    monkeypatch.setenv("PATH", os.devnull)

    with pytest.raises(RuntimeError, match="apt-get install -y pgbouncer"):
        pooler._program()
