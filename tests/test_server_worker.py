"""Slow clients of ``forge-jobs-server``: they wait, and nobody waits for them."""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from flask_forge_jobs import server_worker
from flask_forge_jobs.server_worker import GatheringWorker, RequestBuffer
from tests.support.runtimes import LIMIT_S
from tests.test_server import server, variables

CROWD = 64
HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = (
    b"POST /jobs/enqueue HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\n"
)
BODY = json.dumps({"kind": "k", "payload": {}}).encode()
SIZED = POST + b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKS = b"5;x=y\r\n" + BODY[:5] + b"\r\n%x\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS
HALVES = {
    "nothing": b"",
    "head": HEAD[:-2],
    "body": SIZED + BODY[:-1],
    "chunks": CHUNKED,
}


# -- where a request ends ------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        SIZED + BODY,
        CHUNKED + b"0\r\n\r\n",
        CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n",
        POST + b"content-length:\t4 \r\n\r\nfour",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_request_is_whole_at_its_last_byte(request_bytes: bytes, size: int) -> None:
    buffer = RequestBuffer()
    arriving = request_bytes + b"GET /next"
    taken = 0
    while not buffer.is_whole:
        taken += buffer.add(arriving[taken : taken + size])

    assert taken == len(request_bytes)
    assert bytes(buffer.data) == request_bytes


def test_the_next_request_stands_behind_what_is_left_of_the_last_body() -> None:
    buffer = RequestBuffer()
    buffer.add(SIZED + BODY)

    buffer.begin(len(SIZED))
    found = [(buffer.add(part), buffer.is_whole) for part in (HEAD, b"\r\n")]

    assert found == [(len(HEAD), False), (2, True)]
    assert bytes(buffer.data) == BODY + HEAD + b"\r\n"


@pytest.mark.parametrize("chunk", [b"nonsense\r\n", b"1;" + b"x" * 70_000])
def test_damaged_chunks_are_left_to_the_parser(chunk: bytes) -> None:
    buffer = RequestBuffer()

    buffer.add(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)

    assert buffer.is_whole


# -- a crowd of slow clients ---------------------------------------------------------


def slow_client(url: str, first: bytes) -> socket.socket:
    """Connect, send a part of a request, and read nothing."""
    parts = urlsplit(url)
    client = socket.socket()
    # So that what nobody reads waits at the server.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((str(parts.hostname), int(parts.port or 0)))
    client.sendall(first)
    return client


@contextlib.contextmanager
def crowd(url: str, first: bytes, size: int = CROWD) -> Iterator[list[socket.socket]]:
    """Connect many slow clients."""
    clients: list[socket.socket] = []
    try:
        clients += [slow_client(url, first) for _ in range(size)]
        yield clients
    finally:
        for client in clients:
            client.close()


def health(url: str, limit_s: float) -> bytes:
    with urllib.request.urlopen(f"{url}/health", timeout=limit_s) as answer:
        content: bytes = answer.read()
        return content


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with two threads."""
    folder = tmp_path_factory.mktemp("server")
    few = ("--open", "--workers", "1", "--threads", "2")
    with server(variables(folder), folder, *few) as (_, url):
        yield url


@pytest.mark.parametrize("first", HALVES.values(), ids=HALVES.keys())
def test_sec_L08_half_requests_hold_no_thread(address: str, first: bytes) -> None:
    with crowd(address, first):
        # gunicorn's own threads wait 5 s for a first byte, and for ever for a second.
        assert health(address, limit_s=4.5) == b"ok"


def test_sec_L08_answers_that_nobody_reads_hold_no_thread(address: str) -> None:
    ask = b"GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    # Together more than the system keeps for a connection, and answered by turns.
    with crowd(address, ask * 40, size=4):
        for _ in range(40):
            assert health(address, limit_s=4.5) == b"ok"


def exchange(url: str, *parts: bytes) -> bytes:
    """Send parts, each once the server has answered what it had to; return it all."""
    place = urlsplit(url)
    address = str(place.hostname), int(place.port or 0)
    with socket.create_connection(address, LIMIT_S) as connection:
        answer = b""
        for part in parts:
            connection.sendall(part)
            if part is not parts[-1]:
                answer += connection.recv(4096)
        connection.shutdown(socket.SHUT_WR)
        return answer + b"".join(iter(lambda: connection.recv(65_536), b""))


def test_requests_of_every_form_are_answered_in_order(address: str) -> None:
    answer = exchange(
        address, HEAD + b"\r\n" + SIZED + BODY + CHUNKED + b"0\r\n\r\n" + HEAD + b"\r\n"
    )

    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"ok")


def test_a_client_that_waits_for_the_word_sends_its_body_then(address: str) -> None:
    expecting = SIZED.replace(b"Host:", b"Expect: 100-continue\r\nHost:")

    answer = exchange(address, expecting, BODY)

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert answer.count(b"100 Continue") == 1


def test_answers_that_are_read_late_are_whole_and_in_order(address: str) -> None:
    ask = b"GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    one = exchange(address, ask)

    many = exchange(address, ask * 20)

    assert many.count(b"HTTP/1.1 200 OK") == 20
    assert many.endswith(one[-100_000:])


@pytest.mark.parametrize("header", [b"SCRIPT_NAME: /health", b"PATH_INFO: /nowhere"])
def test_sec_no_header_replaces_the_path(address: str, header: bytes) -> None:
    """gunicorn lets this machine's clients, a proxy's among them, name another."""
    assert exchange(address, HEAD + header + b"\r\n\r\n").endswith(b"\r\n\r\nok")


@pytest.mark.long
@pytest.mark.parametrize("first", [HEAD[:-2], SIZED], ids=["head", "body"])
def test_sec_L08_a_byte_a_second_for_a_minute(tmp_path: Path, first: bytes) -> None:
    """64 clients against the program as it is shipped; ``/health`` within 1 s."""
    slowest, is_over = 0.0, threading.Event()
    with server(variables(tmp_path), tmp_path) as (_, url), crowd(url, first) as all_:

        def drip() -> None:
            while not is_over.wait(1.0):
                for index, client in enumerate(all_):
                    try:
                        client.sendall(b"x")
                    except OSError:  # given up by the server
                        client.close()
                        all_[index] = slow_client(url, first)

        dripping = threading.Thread(target=drip)
        dripping.start()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            start = time.monotonic()
            assert health(url, limit_s=LIMIT_S) == b"ok"
            slowest = max(slowest, time.monotonic() - start)
            is_over.wait(0.2)
        is_over.set()
        dripping.join()
    assert slowest < 1.0


# -- what waits is bounded -----------------------------------------------------------


@pytest.fixture
def worker() -> Iterator[GatheringWorker]:
    """A worker process's insides, without its loop and its threads."""
    app = SimpleNamespace(longest_body=200_000)
    made = GatheringWorker(0, 0, [], app, 30, Config(), logging.getLogger(__name__))
    made.poller = selectors.DefaultSelector()
    made._lock = threading.RLock()  # of an older gunicorn
    with made.poller, contextlib.closing(made.tmp):
        yield made
        made.alive = False
        made.murder_keepalived()


def connected(worker: GatheringWorker, first: bytes) -> socket.socket:
    """Return the client's end of a connection that a worker has accepted."""
    client, accepted = socket.socketpair()
    client.settimeout(LIMIT_S)
    client.sendall(first)
    worker.nr_conns += 1
    worker.enqueue_req(TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("", 0)))
    return client


def test_who_takes_too_long_is_told_and_closed(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_worker, "PATIENCE_S", 0.0)

    with connected(worker, HEAD) as slow, connected(worker, b"") as silent:
        worker.murder_keepalived()

        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert (slow.recv(1), silent.recv(1)) == (b"", b"")
    assert worker.nr_conns == 0


def test_of_too_many_the_one_that_has_waited_longest_is_closed(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_worker, "MOST_WAITING", 1)

    with connected(worker, b"") as first, connected(worker, b"") as second:
        assert first.recv(1) == b""
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.recv(1)
    assert worker.nr_conns == 1


def test_beyond_the_bytes_the_one_that_holds_most_is_closed(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_most_bytes", 100_000)
    head = POST + b"Content-Length: 150000\r\n\r\n"

    with connected(worker, head) as large, connected(worker, HEAD) as small:
        for _ in range(2):
            large.sendall(b"x" * 60_000)
            for key, _ in worker.poller.select(LIMIT_S):
                key.data(key.fileobj)

        with contextlib.suppress(ConnectionResetError):
            assert large.recv(1) == b""
        small.setblocking(False)
        with pytest.raises(BlockingIOError):
            small.recv(1)
    assert worker.nr_conns == 1
