"""The buffers of a connection of ``forge-jobs-server``."""

from __future__ import annotations

import json
import os
import socket
import tracemalloc
from collections.abc import Iterator

import pytest

from flask_forge_jobs.server_connections import (
    BufferBudget,
    ClientSocket,
    RequestBuffer,
)
from tests.support.runtimes import LIMIT_S

HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = (
    b"POST /jobs/enqueue HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\n"
)
BODY = json.dumps({"kind": "k", "payload": {}}).encode()
SIZED = POST + b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKS = b"5;x=y\r\n" + BODY[:5] + b"\r\n%x\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS


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


# -- what a connection buffers ---------------------------------------------------------

Pair = tuple[socket.socket, ClientSocket, BufferBudget]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client, the server's end of its connection, and the budget of that."""
    client, accepted = socket.socketpair()
    client.settimeout(LIMIT_S)
    budget = BufferBudget(1_000_000)
    with client, ClientSocket(accepted, 200_000, budget) as served:
        yield client, served, budget


def test_a_request_counts_until_it_is_answered(pair: Pair) -> None:
    client, served, budget = pair
    client.sendall(SIZED + BODY + HEAD)

    assert served.gather()
    assert budget.used == served.held == len(SIZED + BODY)
    assert served.recv(10_000) == SIZED + BODY
    assert served.send(b"") == 0  # counts anew
    assert budget.used == served.held == len(SIZED + BODY)
    served.rest()
    assert budget.used == served.held == 0
    served.begin()
    assert not served.gather()
    assert budget.used == len(HEAD)


def test_no_call_makes_a_connection_wait(pair: Pair) -> None:
    _, served, _ = pair

    served.setblocking(True)
    served.settimeout(LIMIT_S)

    assert not os.get_blocking(served.fileno())
    assert served.gettimeout() == 0.0
    assert not served.gather()


def test_a_request_is_freed_once_it_is_taken(pair: Pair) -> None:
    client, served, budget = pair
    request = POST + b"Content-Length: 100000\r\n\r\n" + bytes(100_000)
    client.sendall(request)

    tracemalloc.start()
    try:
        while not served.gather():
            pass
        gathered, _ = tracemalloc.get_traced_memory()
        while served.recv(8192):
            pass
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert gathered > len(request) > 10 * taken
    assert budget.used == len(request)
    served.rest()
    assert budget.used == 0


def test_an_answer_counts_until_it_is_sent(pair: Pair) -> None:
    client, served, budget = pair
    served.sendall(b"x" * 1_000_000)

    count = 0
    while budget.used:
        assert budget.used == served.held
        count += len(client.recv(65_536))
        served.flush()
    assert not served.is_sending
    assert served.held == 0 < count


def test_the_head_of_an_answer_travels_with_the_body(pair: Pair) -> None:
    client, served, _ = pair
    client.setblocking(False)
    with served.answering():
        served.sendall(b"head ")
        with pytest.raises(BlockingIOError):
            client.recv(9)
        served.sendall(b"body")
        assert client.recv(99) == b"head body"
        served.sendall(b" more")
        assert client.recv(99) == b" more"
    with served.answering():
        served.sendall(b"head alone")
    assert client.recv(99) == b"head alone"
    with served.answering():
        served.sendall(b"head")
        served.close()
    assert client.recv(99) == b""


def test_what_is_closed_counts_no_more(pair: Pair) -> None:
    client, served, budget = pair
    client.sendall(HEAD)
    served.gather()
    served.sendall(b"x" * 1_000_000)
    assert budget.used > len(HEAD)

    served.close()

    assert budget.used == 0
    assert not budget.is_exceeded


def test_an_answer_far_beyond_the_budget_is_cut_off(pair: Pair) -> None:
    _, served, budget = pair
    with pytest.raises(BrokenPipeError, match="too many answers"):
        served.sendall(b"x" * 4_000_000)

    assert budget.used == 0


def test_a_long_body_is_read_to_its_end_and_no_further(pair: Pair) -> None:
    client, served, _ = pair
    body = b"x" * 100_000
    client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + HEAD)

    while not served.gather():
        pass

    assert served.recv(1_000_000).endswith(b"\r\n\r\n" + body)
    served.begin()
    assert not served.gather()
    assert served.held == len(HEAD)


def test_a_request_is_known_by_its_beginning(pair: Pair) -> None:
    client, served, _ = pair
    client.sendall(HEAD + b"\r\n")
    served.gather()

    assert served.starts_with((b"POST ", b"GET /health HTTP/"))
    assert not served.starts_with((b"GET /health/",))
    assert not served.starts_with(())
