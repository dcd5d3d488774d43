"""The gunicorn worker of forge-jobs-server: slow clients occupy no thread.

gunicorn's threads wait for their clients, so a few connections that send or read a byte
now and then block all of them. Here the main thread collects each request and passes
only complete ones to a thread, and sends what a client is slow to read. Waiting
connections are bounded in time and number, and all buffers together in size.
Large requests are answered one after the other, with all that has arrived meanwhile in
between, and ``/health`` by a thread of its own.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers import gthread
from gunicorn.workers.gthread import ThreadWorker

from flask_forge_jobs.api.streams import CAPACITY, STOPPING
from flask_forge_jobs.loaded import leave_out_of_collections
from flask_forge_jobs.server_connections import AT_ONCE, BufferBudget, ClientSocket
from flask_forge_jobs.server_threads import LargeRequests, RequestThreads

# How long a client may take to send a request, and again to read its answer.
PATIENCE_S = 30.0
# Connections of one process that wait for clients; beyond it the oldest is closed.
MAX_WAITING = 256
# Bytes of requests and answers that one process buffers. Beyond it, those waiting
# connections are closed that have kept most for longest.
MAX_BYTES = 67_108_864
LONGEST_BODY = 8_388_608
# Python's default, 5 ms, is longer than most requests take.
SWITCH_INTERVAL_S = 0.001
# gunicorn stops a process that has not reported for 30 seconds.
REPORT_EVERY_S = 1.0
# All at once would leave none to the other processes.
ACCEPTED_AT_ONCE = 16
# How long a process with a client for each thread, but fewer than that, leaves the next
# one to others: clients keep their connections. New requests of its own wait as long;
# without a pause its loop would spin, as the socket stays ready.
LEFT_TO_OTHERS_S = 0.001
# A request of more bytes is large.
LARGE = 65_536
# While as many wait for a thread, no further ones are read; then so many are.
MAX_LARGE = 1
READ_ON = 4
# Open pages occupy a quarter of the threads at most.
THREADS_PER_STREAM = 4
TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


# Older releases have none: there, threads go on with connections themselves.
_Queue: Any = getattr(gthread, "PollableMethodQueue", object)


class AnsweredConnections(_Queue):  # type: ignore[misc]  # gunicorn has no types
    """What threads leave to the main thread: nothing, for most connections.

    Waking it for each answer would cost more than to wait for the next request here.

    Args:
        goes_on: Takes what the main thread would call; returns whether it needs not.
    """

    def __init__(self, goes_on: Callable[..., bool]) -> None:
        super().__init__()
        self._goes_on = goes_on

    def defer(self, callback: Callable[..., object], *args: Any) -> None:
        """Have something called by the main thread, if need be."""
        if not self._goes_on(callback, *args):
            super().defer(callback, *args)


class GatheringWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with collected requests.

    ``longest_body`` of gunicorn's application limits a collected body, in bytes with
    its chunk headers. It does not speak TLS; a proxy in front does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = self.cfg.limit_request_fields * (self.cfg.limit_request_field_size + 2)
        # A longer body reaches the application truncated, and ends its connection.
        body = getattr(self.app, "longest_body", LONGEST_BODY)
        self._longest = self.cfg.limit_request_line + fields + body
        self._budget = BufferBudget(max(MAX_BYTES, 2 * self._longest))
        # Connection to the time at which it is closed; the oldest first.
        self._waiting: dict[Any, float] = {}
        self._large = LargeRequests()
        # Connections with more of them, which are not read meanwhile, by when that
        # began.
        self._paused: dict[Any, float] = {}
        self._quick_requests = getattr(self.app, "quick_requests", ())
        # Connections with one that is not answered yet.
        self._quick: set[Any] = set()
        self._stopping = threading.Event()
        self._reported_at = 0.0
        # Those that threads have answered, which the main thread counts as idle.
        self._answered: deque[Any] = deque()
        if _Queue is not object:
            self.method_queue = AnsweredConnections(self._goes_on)

    def init_process(self) -> None:
        """Serve; the main thread waits for busy ones at each call to a socket."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # As attributes: gunicorn calls two functions for each look at a setting, and
        # looks at thirty for each request.
        settings = self.cfg.settings.items()
        self.cfg.__dict__.update((name, each.get()) for name, each in settings)
        super().init_process()

    def load_wsgi(self) -> None:
        """Tell the application when the server stops and how many streams it holds."""
        super().load_wsgi()
        application: Any = self.wsgi  # type: ignore[has-type]
        # One thread is for /health.
        streams = (self.cfg.threads - 1) // THREADS_PER_STREAM

        def knowing(environ: dict[str, Any], start_response: Any) -> Any:
            environ |= {STOPPING: self._stopping, CAPACITY: streams}
            return application(environ, start_response)

        self.wsgi = knowing

    def handle_exit(self, *args: Any) -> None:
        """Stop gracefully."""
        self._stopping.set()
        super().handle_exit(*args)

    def handle_quit(self, *args: Any) -> None:
        """Stop at once."""
        self._stopping.set()
        super().handle_quit(*args)

    def run(self) -> None:
        """Look at the sockets until the end."""
        # Collecting all that the application has loaded would stop requests for 50 ms.
        leave_out_of_collections()
        with self._reachable():
            super().run()

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Let threads wake the main thread, as an older gunicorn does not."""
        reader, self._waker = socket.socketpair()
        reader.setblocking(False)
        self._waker.setblocking(False)
        with reader, self._waker:
            self.poller.register(reader, selectors.EVENT_READ, lambda _: reader.recv(1))
            yield

    def notify(self) -> None:
        """Report that the process lives; gunicorn asks at each look at its sockets."""
        now = time.monotonic()
        if now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            super().notify()

    def accept(self, *args: Any) -> None:
        """Accept some connections; gunicorn accepts one each time around its loop."""
        enough = range(self.cfg.threads - 1, ACCEPTED_AT_ONCE)
        for _ in range(ACCEPTED_AT_ONCE):
            before = self.nr_conns
            active = before - len(getattr(self, "keepalived_conns", ()))
            is_left = self.cfg.workers > 1 and active in enough
            if is_left:
                time.sleep(LEFT_TO_OTHERS_S)
            super().accept(*args)
            is_full = before + 1 >= self.worker_connections
            if is_left or is_full or self.nr_conns == before:
                return

    def enqueue_req(self, conn: Any) -> None:
        """Take a connection on which data may have arrived."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(conn.sock, self._longest, self._budget)
        conn.data_ready = True  # else a thread of newer gunicorn releases waits for it
        if not conn.sock.begin():
            self._drop(conn)
            return
        try:
            is_complete = conn.sock.gather()
        except OSError:
            self._drop(conn)
            return
        if is_complete:
            self._serve(conn)
        else:
            self._wait(conn, selectors.EVENT_READ, self._gather)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request, dropping headers with "_", which WSGI takes for "-".

        Newer releases of gunicorn drop them themselves.
        """
        req.headers = [pair for pair in req.headers if "_" not in pair[0]]
        with conn.sock.answering():
            return super().handle_request(req, conn)

    def finish_request(self, *args: Any) -> None:
        """Go on with a connection once its answer is sent."""
        conn = args[0] if len(args) > 1 else args[0].conn  # depends on the release
        self._large.finish(conn)
        conn.sock.rest()
        if conn.sock.is_sending:
            # An older gunicorn that is stopping has no selector any more.
            with contextlib.suppress(ValueError):
                self._wait(conn, selectors.EVENT_WRITE, partial(self._flush, args))
                self._quick.discard(conn)
                self._tidy()
                return
        super().finish_request(*args)
        self._quick.discard(conn)
        self._tidy()

    def _goes_on(self, callback: Callable[..., object], *args: Any) -> bool:
        """Wait for the next request of an answered connection, in its thread.

        Return False if the main thread has to do more than that.
        """
        if callback != self.finish_request or args[0] in self._quick:
            return False
        conn, answered = args
        self._large.finish(conn)  # first, lest one comes that nobody serves
        if self._large or self._paused or not self.alive:
            return False
        is_kept = not answered.cancelled() and not answered.exception()
        is_kept = is_kept and answered.result() is True
        if not is_kept or conn.sock.is_sending or conn.parser.unreader.buf.getvalue():
            return False
        conn.sock.rest()
        conn.set_timeout()
        self._answered.append(conn)
        readable = partial(self._take_next, conn)
        with contextlib.suppress(ValueError, KeyError, OSError):  # closed at the end
            self.poller.register(conn.sock, selectors.EVENT_READ, readable)
        return True

    def _take_next(self, *args: Any) -> None:
        self._count_answered()
        self.on_client_socket_readable(*args)

    def _count_answered(self) -> None:
        while self._answered:
            self.keepalived_conns.append(self._answered.popleft())

    def murder_keepalived(self, *args: Any, **kwargs: Any) -> None:
        """Close connections that waited too long, and serve a large request if due.

        gunicorn calls this after each look at its sockets, at least every second.
        """
        self._count_answered()
        super().murder_keepalived(*args, **kwargs)
        self._serve_large()
        self._tidy()
        if not self.alive:
            self._stopping.set()
            # All now: the threads of an older gunicorn take no more after this.
            while len(self._large):
                super().enqueue_req(self._large.take())
            for conn in list(self._paused):
                self._refuse(conn, BUSY)
        now = time.monotonic()
        for conn, until in list(self._waiting.items()):
            if now < until and self.alive:
                break
            if now >= until or not conn.sock.is_sending:
                self._give_up(conn)

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the threads that answer requests, one of them for ``/health`` only."""
        return RequestThreads(self.cfg.threads, self._quick_requests)

    def _serve(self, conn: Any) -> None:
        """Pass a whole request to a thread, unless too much is buffered already."""
        self._bound_bytes()
        if self._budget.is_exceeded and conn.sock.held > AT_ONCE:
            self._refuse(conn, BUSY)
            return
        if conn.sock.held > LARGE:
            self._large.add(conn)
            return
        if conn.sock.starts_with(self._quick_requests):
            self._quick.add(conn)
        super().enqueue_req(conn)

    def _serve_large(self) -> None:
        """Pass the next large request to a thread, once all others are answered."""
        if not self._large.is_next_due:
            return
        if self.alive and not self._large.is_pause_over and self._has_others():
            return
        super().enqueue_req(self._large.take())

    def _has_others(self) -> bool:
        return bool(self._quick or self.poller.select(0))

    def _wait(self, conn: Any, event: int, go_on: Callable[[Any], None]) -> None:
        self.poller.register(conn.sock, event, lambda _: self._go_on(conn, go_on))
        self._waiting[conn] = time.monotonic() + PATIENCE_S
        if len(self._waiting) > MAX_WAITING:
            self._give_up(next(iter(self._waiting)))

    def _go_on(self, conn: Any, go_on: Callable[[Any], None]) -> None:
        if conn not in self._waiting:  # closed since the selector reported it
            return
        try:
            go_on(conn)
        except OSError:
            self._drop(conn)

    def _gather(self, conn: Any) -> None:
        if conn.sock.held >= AT_ONCE and len(self._large) >= MAX_LARGE:
            # Bytes that it sends wait in the system's buffers, and cost nothing.
            self._leave(conn)
            self._paused[conn] = time.monotonic()
        elif conn.sock.gather():
            self._leave(conn)
            self._serve(conn)
        else:
            self._bound_bytes()

    def _flush(self, args: tuple[Any, ...], conn: Any) -> None:
        if conn.sock.flush():
            self._leave(conn)
            super().finish_request(*args)

    def _tidy(self) -> None:
        """Close connections that hold too much, and read on where there is room."""
        if threading.current_thread() is not threading.main_thread():
            # Of an older gunicorn, whose main thread may sleep for a second.
            if self._large or self._paused:
                with contextlib.suppress(OSError):  # it is awake, or has ended
                    self._waker.send(b"!")
            return
        self._bound_bytes()
        # One may be slow, so more are read on than have room.
        more = READ_ON if self._large.is_any_under_way else len(self._paused)
        if len(self._large) < MAX_LARGE:
            for conn in list(self._paused)[:more]:
                del self._paused[conn]
                self._wait(conn, selectors.EVENT_READ, self._gather)

    def _bound_bytes(self) -> None:
        """Close those that have kept most bytes for longest, until the rest fits.

        A client that reads or sends at once has kept nothing for long.
        """
        while self._budget.is_exceeded:
            now = time.monotonic()
            # A copy: threads of an older gunicorn add connections meanwhile.
            waiting = list(self._waiting.items())
            since = {conn: until - PATIENCE_S for conn, until in waiting}
            costs = {
                conn: (conn.sock.held * (now - start), conn.sock.held)
                for conn, start in (since | self._paused).items()
                if conn.sock.held
            }
            if not costs:
                return
            self._give_up(max(costs, key=costs.__getitem__), BUSY)

    def _leave(self, conn: Any) -> None:
        del self._waiting[conn]
        self.poller.unregister(conn.sock)

    def _give_up(self, conn: Any, answer: bytes = TIMED_OUT) -> None:
        if conn.sock.held and not conn.sock.is_sending:
            self._refuse(conn, answer)
        else:
            self._drop(conn)

    def _refuse(self, conn: Any, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            conn.sock.sendall(answer)
        self._drop(conn)

    def _drop(self, conn: Any) -> None:
        if conn in self._waiting:
            self._leave(conn)
        self._paused.pop(conn, None)
        self.nr_conns -= 1
        conn.close()
