"""Hostile clients against the real server: odd headers, and more clients than locks."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flask_forge_jobs.auth.tokens import new_token
from tests.support.parsers import strict_only
from tests.test_server import server, variables

TOKEN, DIGEST = new_token("ci")
CLIENTS = 200
# Who is not answered by then gives up with an error.
PATIENCE_S = 30.0
MAX_TRIES = 5


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a server that knows one token."""
    folder = tmp_path_factory.mktemp("server")
    entry = {"id": "ci", "sha256": DIGEST, "role": "operator"}
    given = variables(folder) | {"FORGE_JOBS_TOKENS": json.dumps([entry])}
    with server(given, folder) as (_, url):
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def _raw(address: tuple[str, int], *headers: bytes) -> int:
    """Send headers as they are; return the status, 0 for a cut connection."""
    lines = [b"GET /queue/overview HTTP/1.1", b"Host: 127.0.0.1", *headers, b"", b""]
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(b"\r\n".join(lines))
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n" not in answer and (chunk := connection.recv(4096)):
                answer += chunk
    return int(answer.split()[1]) if answer else 0


GOOD = b"Authorization: Bearer " + TOKEN.encode()


def test_good_request_is_answered(address: tuple[str, int]) -> None:
    assert _raw(address, GOOD) == 200


@pytest.mark.parametrize(
    "headers",
    [
        [GOOD, GOOD],
        [GOOD, b"Authorization: Bearer wrong"],
        [GOOD + b"\xe9"],
        pytest.param([b"Authorization\xc3\xa9: x", GOOD], marks=strict_only),
        [b"Authorization : Bearer " + TOKEN.encode()],
    ],
    ids=range(5),
)
def test_sec_H24_odd_headers_are_a_4xx(
    address: tuple[str, int], headers: list[bytes]
) -> None:
    assert 400 <= _raw(address, *headers) < 500


def _post(address: tuple[str, int]) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(
            "POST",
            "/jobs/enqueue",
            json.dumps({"kind": "k", "payload": {}}),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
    return answer.status, answer.getheader("Retry-After")


def _post_again(address: tuple[str, int]) -> int:
    """Come back when told to; who was turned away shortens the waits of the next."""
    status = 0
    for _ in range(MAX_TRIES):
        status, after = _post(address)
        if after is None:
            break
        threading.Event().wait(float(after))
    return status


@pytest.mark.long
def test_sec_H34_locked_database_answers_in_time_and_says_when_to_come_back(
    tmp_path: Path,
) -> None:
    """More clients than threads; who finds the database busy is told 409 or 503."""
    entry = {"id": "ci", "sha256": DIGEST, "role": "operator"}
    given = variables(tmp_path) | {"FORGE_JOBS_TOKENS": json.dumps([entry])}
    with server(given, tmp_path) as (_, url):
        parts = urlsplit(url)
        place = (str(parts.hostname), int(parts.port or 0))
        assert _post(place)[0] == 200
        blocker = sqlite3.connect(tmp_path / "data" / "queue.sqlite")
        with contextlib.closing(blocker):
            blocker.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(CLIENTS) as pool:
                answers = list(pool.map(_post, [place] * CLIENTS))
            read = _raw(place, GOOD)
            blocker.execute("ROLLBACK")

        assert {status for status, _ in answers} <= {409, 503}
        assert {after for _, after in answers} <= {"1", "5"}
        assert read == 200
        with ThreadPoolExecutor(CLIENTS) as pool:
            afterwards = list(pool.map(_post_again, [place] * CLIENTS))
        assert set(afterwards) == {200}
