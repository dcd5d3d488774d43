"""Slow clients of ``forge-jobs-server``: they wait, and nobody waits for them."""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import selectors
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn, ThreadWorker

from flask_forge_jobs import server_threads, server_worker
from flask_forge_jobs.server_connections import ClientSocket
from flask_forge_jobs.server_worker import GatheringWorker
from tests.support.runtimes import LIMIT_S
from tests.test_server import call, server, variables
from tests.test_server_connections import BODY, CHUNKED, HEAD, POST, SIZED

QUICK = b"GET /quick HTTP/"
CROWD = 64
# gunicorn's own threads wait 5 s for a first byte, and for ever for a second.
SOON_S = 4.5
HALVES = {
    "nothing": b"",
    "head": HEAD[:-2],
    "body": SIZED + BODY[:-1],
    "chunks": CHUNKED,
}


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
    """Ask a thread that answers all requests; only a bare ``/health`` has its own."""
    with urllib.request.urlopen(f"{url}/health?by=all", timeout=limit_s) as answer:
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
        assert health(address, limit_s=SOON_S) == b"ok"


def test_sec_L08_answers_that_nobody_reads_hold_no_thread(address: str) -> None:
    ask = b"GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    # Together more than the system keeps for a connection, and answered by turns.
    with crowd(address, ask * 40, size=4):
        for _ in range(40):
            assert health(address, limit_s=SOON_S) == b"ok"


@pytest.mark.long
def test_answers_that_nobody_reads_take_little_memory(tmp_path: Path) -> None:
    """60 answers of 6 MiB; who reads its own gets it whole meanwhile."""
    few = ("--open", "--workers", "1", "--threads", "2")
    with server(variables(tmp_path), tmp_path, *few) as (started, url):
        schedule = {"kind": "k", "cron_expr": "0 0 1 1 *", "enabled": False}
        schedule |= {"payload": {"text": "x" * 1_048_000}}
        for name in "abcdef":
            assert call(f"{url}/v1/cron", schedule | {"name": name})[0] == 201
        (process,) = psutil.Process(started.process.pid).children()
        assert len(call(f"{url}/cron")[1]) == 6
        before = process.memory_info().rss
        ask = b"GET /cron HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with crowd(url, ask, size=60):
            for _ in range(3):
                assert len(call(f"{url}/cron")[1]) == 6
            more = process.memory_info().rss - before
    assert more < server_worker.MAX_BYTES * 1.5


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
    app = SimpleNamespace(longest_body=200_000, quick_requests=(QUICK,))
    made = GatheringWorker(0, 0, [], app, 30, Config(), logging.getLogger(__name__))
    made.poller = selectors.DefaultSelector()
    made._lock = threading.RLock()  # of an older gunicorn
    with made.poller, contextlib.closing(made.tmp):
        yield made
        made.alive = False
        made.murder_keepalived()
        for conn in list(made._waiting):
            made._drop(conn)  # the rest sends on
        for key in made.poller.get_map().values():  # an older gunicorn waits for them
            key.fileobj.close()


@pytest.mark.usefixtures("_what_is_loaded_is_left_out_again")
def test_what_is_loaded_is_left_to_no_collection(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[bool] = []

    def serve(_: object) -> None:
        walked.append(any(each is walked for each in gc.get_objects()))

    monkeypatch.setattr(ThreadWorker, "run", serve)

    worker.run()

    assert walked == [False]


def test_settings_are_at_hand(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadWorker, "init_process", lambda _: None)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)

    worker.init_process()

    cfg = worker.cfg
    assert len(cfg.settings) > 50
    for name, setting in cfg.settings.items():
        assert vars(cfg)[name] == setting.get()
    assert cfg.threads == 1


def test_a_worker_reports_once_a_second(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, reports = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.tmp, "notify", lambda: reports.append(now[0]))

    for now[0] in (100.0, 100.9, 101.0, 101.5, 103.0):
        worker.notify()

    assert reports == [100.0, 101.0, 103.0]


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
    monkeypatch.setattr(server_worker, "MAX_WAITING", 1)

    with connected(worker, b"") as first, connected(worker, b"") as second:
        assert first.recv(1) == b""
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.recv(1)
    assert worker.nr_conns == 1


def test_beyond_the_bytes_the_one_that_holds_most_is_closed(
    worker: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker._budget, "limit", 100_000)
    head = POST + b"Content-Length: 150000\r\n\r\n"

    with connected(worker, head) as large, connected(worker, HEAD) as small:
        for _ in range(2):
            large.sendall(b"x" * 60_000)
            for key, _ in worker.poller.select(LIMIT_S):
                key.data(key.fileobj)

        with contextlib.suppress(ConnectionResetError):
            assert large.recv(4096).startswith(b"HTTP/1.1 503 ")
        small.setblocking(False)
        with pytest.raises(BlockingIOError):
            small.recv(1)
    assert worker.nr_conns == 1


def test_a_thread_may_add_a_connection_while_the_others_are_weighed(
    worker: GatheringWorker,
) -> None:
    """Threads of an older gunicorn do, when a client is slow to read."""
    other = object()

    class Meanwhile(float):
        def __sub__(self, patience: float) -> float:
            worker._waiting[other] = float(self)
            return float(self) - patience

    with connected(worker, HEAD) as client:
        (conn,) = worker._waiting
        worker._waiting[conn] = Meanwhile(worker._waiting[conn])
        worker._budget.limit = 1

        worker._bound_bytes()

        assert client.recv(4096).startswith(b"HTTP/1.1 503 ")
    assert list(worker._waiting) == [other]
    worker._waiting.clear()


# Of gunicorn's own methods; older releases have other arguments.
IS_OLDER = "conn" not in inspect.signature(ThreadWorker.finish_request).parameters


def answered(
    worker: GatheringWorker, size: int, *, stays: bool = False
) -> tuple[socket.socket, TConn]:
    """Return the client's end of a connection with an answer, and the connection."""
    client, accepted = socket.socketpair()
    client.settimeout(LIMIT_S)
    conn = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("", 0))
    conn.sock = ClientSocket(conn.sock, 200_000, worker._budget)
    worker.nr_conns += 1
    conn.sock.sendall(b"x" * size)
    finish(worker, conn, stays=stays)
    return client, conn


def finish(worker: GatheringWorker, conn: TConn, *, stays: bool = False) -> None:
    """Do what gunicorn does when a thread has answered."""
    ended: Future[bool] = Future()
    ended.set_result(stays)
    ended.conn = conn  # type: ignore[attr-defined]  # an older gunicorn looks there
    worker.finish_request(*((ended,) if IS_OLDER else (conn, ended)))


def read_on(worker: GatheringWorker, client: socket.socket, size: int) -> int:
    """Read an answer while the worker sends it; return how many bytes came."""
    count = 0
    while count < size:
        for key, _ in worker.poller.select(0):
            key.data(key.fileobj)
        count += len(client.recv(65_536))
    return count


def test_answers_that_nobody_reads_count(worker: GatheringWorker) -> None:
    """Who reads is served; who has kept most for longest is closed."""
    worker._budget.limit = 2_000_000
    size = 1_000_000
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(answered(worker, size)[0])
            assert worker._budget.used <= worker._budget.limit
        last = stack.enter_context(answered(worker, size)[0])

        assert read_on(worker, last, size) == size
        assert 0 < worker._budget.used <= worker._budget.limit
        assert 0 < worker.nr_conns < 6


def whole(worker: GatheringWorker, size: int) -> socket.socket:
    """Connect with a whole request of a size."""
    client = connected(worker, POST + b"Content-Length: %d\r\n\r\n" % size)
    client.sendall(b"x" * size)
    while any(not conn.sock._request.is_whole for conn in worker._waiting):
        for key, _ in worker.poller.select(LIMIT_S):
            key.data(key.fileobj)
    return client


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[TConn]:
    """The connections whose requests have been passed to a thread."""
    passed: list[TConn] = []
    monkeypatch.setattr(
        ThreadWorker, "enqueue_req", lambda _worker, conn: passed.append(conn)
    )
    return passed


def test_large_requests_that_wait_for_a_thread_count(
    worker: GatheringWorker, served: list[TConn]
) -> None:
    worker._budget.limit = 150_000

    with whole(worker, 100_000), whole(worker, 100_000) as late, whole(worker, 9):
        dispatch(worker)
        assert late.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert [conn.sock.held > 1000 for conn in served] == [False, True]
        for conn in served:
            conn.close()
    assert worker._budget.used == 0


def dispatch(worker: GatheringWorker) -> None:
    """Do as the loop of gunicorn, until the selector reports nothing."""
    worker.murder_keepalived()
    while events := worker.poller.select(0):
        for key, _ in events:
            key.data(key.fileobj)
        worker.murder_keepalived()


def test_no_further_large_request_is_read_while_there_are_some(
    worker: GatheringWorker, served: list[TConn]
) -> None:
    with (
        whole(worker, 100_000),
        whole(worker, 100_000),
        connected(worker, POST + b"Content-Length: 100000\r\n\r\n") as late,
        connected(worker, HEAD) as small,
    ):
        for _ in range(2):
            late.sendall(b"x" * 40_000)
            dispatch(worker)
        late.sendall(b"x" * 20_000)
        small.sendall(b"\r\n")
        dispatch(worker)

        # The first large one and the small one; the second waits for its turn.
        assert len(served) == 2
        assert worker._paused
        finish(worker, served[0])
        dispatch(worker)
        assert len(served) == 3
        assert not worker._paused
        finish(worker, served[2])
        dispatch(worker)
        assert len(served) == 4
        for conn in (served[1], served[3]):
            finish(worker, conn)


def test_a_thread_wakes_the_main_one_to_go_on_with_large_requests(
    worker: GatheringWorker, served: list[TConn]
) -> None:
    """A thread of an older gunicorn, whose main thread may sleep for a second."""
    with (
        worker._reachable(),
        whole(worker, 100_000),
        whole(worker, 100_000),
        connected(worker, POST + b"Content-Length: 100000\r\n\r\n") as late,
    ):
        for part in (b"x" * 70_000, b"x" * 30_000):
            dispatch(worker)
            late.sendall(part)
        dispatch(worker)
        assert worker._paused

        thread = threading.Thread(target=finish, args=(worker, served[0]))
        thread.start()
        thread.join()
        assert worker.poller.select(0)
        dispatch(worker)

        assert len(served) == 2
        assert not worker._paused
        for number in (1, 2):
            finish(worker, served[number])
            dispatch(worker)


def test_a_stopping_worker_serves_all_large_requests(
    worker: GatheringWorker, served: list[TConn]
) -> None:
    """At once: the threads of an older gunicorn take no more a moment later."""
    with whole(worker, 100_000), whole(worker, 100_000):
        worker.murder_keepalived()
        worker.alive = False
        worker.murder_keepalived()

        assert len(served) == 2
        for conn in served:
            finish(worker, conn)


@pytest.mark.parametrize(
    ("pause_s", "order"), [(LIMIT_S, [True, False, True]), (0.0, [True, True, False])]
)
def test_others_are_served_between_two_large_requests(
    worker: GatheringWorker,
    served: list[TConn],
    monkeypatch: pytest.MonkeyPatch,
    pause_s: float,
    order: list[bool],
) -> None:
    """They are for a while, so that they cannot keep large requests from a thread."""
    monkeypatch.setattr(server_threads, "LONGEST_PAUSE_S", pause_s)
    with (
        whole(worker, 100_000),
        whole(worker, 100_000),
        connected(worker, HEAD) as small,
    ):
        dispatch(worker)
        small.sendall(b"\r\n")
        finish(worker, served[0])
        dispatch(worker)

        assert [conn.sock.held > 90_000 for conn in served[1:]] == order[1:]
        for conn in served[1:]:
            finish(worker, conn)


def test_a_large_request_waits_for_the_answer_about_health(
    worker: GatheringWorker, served: list[TConn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_threads, "LONGEST_PAUSE_S", LIMIT_S)
    with connected(worker, QUICK + b"1.1\r\n\r\n"), whole(worker, 100_000):
        dispatch(worker)
        (health,) = served
        finish(worker, health)
        dispatch(worker)

        _, large = served
        assert large.sock.held > 90_000
        finish(worker, large)


# -- a thread goes on with a connection itself -----------------------------------------

of_newer = pytest.mark.skipif(IS_OLDER, reason="its threads do so by themselves")


def replied(worker: GatheringWorker, size: int, *, stays: bool = True) -> TConn:
    """Have a thread answer a connection; return it."""
    client, accepted = socket.socketpair()
    conn = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("", 0))
    conn.sock = ClientSocket(conn.sock, 200_000, worker._budget)
    conn.init()
    conn.client_end = client
    worker.nr_conns += 1
    conn.sock.sendall(b"x" * size)
    ended: Future[bool] = Future()
    ended.set_result(stays)
    thread = threading.Thread(
        target=worker.method_queue.defer, args=(worker.finish_request, conn, ended)
    )
    thread.start()
    thread.join()
    return conn


@pytest.fixture
def waking(worker: GatheringWorker) -> Iterator[GatheringWorker]:
    """The same worker, which threads can wake."""
    queue = worker.method_queue
    queue.init()
    with contextlib.closing(queue):
        yield worker


class Everything(set[TConn]):
    """A set that has all connections."""

    def __contains__(self, _: object) -> bool:
        return True


def is_woken(worker: GatheringWorker) -> bool:
    """Return whether something is left to the main thread."""
    return not worker.method_queue._queue.empty()


@of_newer
def test_the_main_thread_is_not_woken_by_an_answer(
    waking: GatheringWorker, served: list[TConn]
) -> None:
    conn = replied(waking, 9)
    assert not is_woken(waking)

    waking.murder_keepalived()
    with conn.client_end as client:
        assert list(waking.keepalived_conns) == [conn]
        client.sendall(HEAD + b"\r\n")
        dispatch(waking)

        assert served == [conn]
        assert not waking.keepalived_conns
        conn.close()


@of_newer
def test_a_request_that_follows_at_once_is_served(
    waking: GatheringWorker, served: list[TConn]
) -> None:
    """Before the main thread has counted the connection as idle."""
    conn = replied(waking, 9)

    with conn.client_end as client:
        client.sendall(HEAD + b"\r\n")
        for key, _ in waking.poller.select(LIMIT_S):
            key.data(key.fileobj)

        assert served == [conn]
        assert not waking.keepalived_conns
        conn.close()


@of_newer
@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("case", ["closing", "slow", "quick", "stopping", "large"])
def test_the_main_thread_is_woken_if_it_has_to_do_more(
    waking: GatheringWorker, case: str
) -> None:
    waking.alive = case != "stopping"
    if case == "large":
        waking._large.add(None)
    if case == "quick":
        waking._quick = Everything()

    conn = replied(waking, 5_000_000 if case == "slow" else 9, stays=case != "closing")

    assert is_woken(waking)
    assert not waking._answered
    conn.client_end.close()
    conn.close()


@of_newer
def test_an_answer_while_the_selector_is_closed_is_the_last(
    waking: GatheringWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = selectors.DefaultSelector()
    ended.close()
    monkeypatch.setattr(waking, "poller", ended)

    conn = replied(waking, 9)

    assert not is_woken(waking)
    conn.client_end.close()
    conn.close()


@pytest.mark.parametrize(
    ("workers", "active", "accepted"), [(1, 0, 5), (2, 0, 3), (2, 3, 1), (2, 16, 5)]
)
@of_newer
def test_connections_are_accepted_several_at_a_time(
    worker: GatheringWorker,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    active: int,
    accepted: int,
) -> None:
    """A process with a client for each of two threads leaves further ones to others."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    worker.cfg.set("workers", workers)
    worker.cfg.set("threads", 3)
    idle = (1, 2)
    worker.keepalived_conns.extend(idle)
    worker.nr_conns = active + len(idle)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                client = socket.create_connection(listener.getsockname())
                stack.enter_context(client)
            worker.accept(listener)
            worker.keepalived_conns.clear()

            assert worker.nr_conns - active - len(idle) == accepted
            assert len(pauses) == (accepted < 5)
