"""Measures what requests that were once expensive cost the serving process.

Run it with ``python -m tests.acceptance.request_costs --backend both``. It starts
``forge-jobs-server`` with one process on a database of 100,000 jobs, 12,000 of them
dead with an error of 8 KiB, and as many schedules and rate limits as may be. Each
request is sent alone, for its CPU seconds and the memory that it takes at its peak, and
then 200 times at once, for the longest wait of ``/health`` meanwhile. At last, clients
ask for large answers and never read them. ``--only`` chooses requests by a part of
their name or by their group, ``bodies`` or ``reads``, or only those clients, by
``readers``. It prints a table; the exit
status is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.acceptance.costly_requests import (
    ADMIN,
    KINDS,
    LIMITED_OPERATOR,
    LIMITED_VIEWER,
    OPERATOR,
    QUEUES,
    ROWS,
    VIEWER,
    Wish,
    fill_history,
    requests,
)
from tests.acceptance.driving import add_backend, measure_each
from tests.support.databases import fresh_url
from tests.support.sql import Sql
from tests.support.waiting import wait_until
from tests.test_server import server, variables

CPU_LIMIT_S = 0.3
MEMORY_LIMIT_MIB = 50.0
HEALTH_LIMIT_S = 0.5
MIB = 1 << 20
DEAD = 12_000
# Of schedules and of rate limits.
LISTED = 1_000
AT_ONCE = 10_000
CROWD = 200
# How long a crowd is watched; those that are unanswered by then leave.
CROWD_S = 5.0
PATIENCE_S = 600.0
HEALTH_PERIOD_S = 0.05
REST_S = 0.5
READERS = "readers"
SLOW_READERS = 60
SLOW_S = 10.0
# What the server buffers, and the answers that its four threads make meanwhile.
SLOW_LIMIT_MIB = 64.0 + 4 * 32.0
LARGEST = ("/v1/jobs?limit=1000&status=dead&count=none", "/cron", "/v1/openapi.json")
_ROLES: Mapping[str, tuple[str, list[str] | None]] = {
    VIEWER: ("viewer", None),
    OPERATOR: ("operator", None),
    ADMIN: ("admin", None),
    LIMITED_VIEWER: ("viewer", ["q0"]),
    LIMITED_OPERATOR: ("operator", ["q0"]),
}
# A process of its own, so that its threads do not slow down who asks for /health.
_CROWD = """
import contextlib, os, socket, sys, threading, time
host, port, size, limit_s = sys.argv[1], *map(float, sys.argv[2:])
message = sys.stdin.buffer.read()
ends_at = time.monotonic() + limit_s
def send():
    with contextlib.suppress(OSError):
        with socket.create_connection((host, int(port)), limit_s) as connection:
            connection.sendall(message)
            while connection.recv(65536):
                connection.settimeout(max(ends_at - time.monotonic(), 0.001))
crowd = [threading.Thread(target=send, daemon=True) for _ in range(int(size))]
for each in crowd:
    each.start()
for each in crowd:
    each.join(max(ends_at - time.monotonic(), 0))
os._exit(0)
"""
_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one request costs.

    Args:
        name: Of the request.
        status: Of its answer.
        cpu_s: Of the serving process, in seconds.
        memory_mib: More than before at the peak.
        health_s: The longest wait of ``/health`` beside a crowd of them; None if there
            was no crowd.
        is_answered: Whether the answer is one that shows the costs.
    """

    name: str
    status: int
    cpu_s: float
    memory_mib: float
    health_s: float | None = None
    is_answered: bool = True

    @property
    def missed(self) -> list[str]:
        """Names of the limits that it misses."""
        return [
            name
            for name, is_missed in (
                ("answer", not self.is_answered),
                ("CPU", self.cpu_s > CPU_LIMIT_S),
                ("memory", self.memory_mib > MEMORY_LIMIT_MIB),
                ("/health", (self.health_s or 0.0) > HEALTH_LIMIT_S),
            )
            if is_missed
        ]


class Served:
    """A server with one process, seen from outside."""

    def __init__(self, url: str, pid: int, secrets: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self.address = str(parts.hostname), int(parts.port or 0)
        self.secrets = secrets
        self._process = psutil.Process(pid)
        self._status = Path(f"/proc/{pid}/status")
        self._peak = Path(f"/proc/{pid}/clear_refs")

    def cost(self, wish: Wish) -> Figure:
        """Send one request alone."""
        message = wish.message(self.secrets[wish.token])
        self._peak.write_text("5")  # from here on
        memory, cpu_s = self.memory_mib(), self._cpu_s()
        status = self.exchange(message, PATIENCE_S)
        cpu_s = self._cpu_s() - cpu_s
        memory = self.memory_mib("VmHWM") - memory
        is_answered = wish.is_answered_by(status)
        return Figure(wish.name, status, cpu_s, memory, is_answered=is_answered)

    def exchange(self, message: bytes, limit_s: float) -> int:
        """Send a message and read the whole answer; return its status, or 0."""
        first = b""
        with socket.create_connection(self.address, limit_s) as connection:
            # A server that refuses a body may answer before it has read it.
            with contextlib.suppress(ConnectionError):
                connection.sendall(message)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while chunk := connection.recv(65_536):
                    first = first or chunk
        return int(first.split()[1]) if first else 0

    def health_s(self) -> float:
        """Ask for ``/health`` on a new connection; return how long it took."""
        start = time.monotonic()
        status = self.exchange(_HEALTH, PATIENCE_S)
        assert status == 200, f"/health answers {status}"
        return time.monotonic() - start

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Return the memory of the process now, or its peak since it was reset."""
        for line in self._status.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
        raise LookupError(field)

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def crowd_health_s(self, wish: Wish, size: int, limit_s: float) -> float:
        """Send a request many times at once; return the longest wait of ``/health``."""
        message = wish.message(self.secrets[wish.token])
        crowd = subprocess.Popen(
            [sys.executable, "-c", _CROWD, *map(str, (*self.address, size, limit_s))],
            stdin=subprocess.PIPE,
        )
        assert crowd.stdin is not None
        with crowd.stdin:
            crowd.stdin.write(message)
        longest = self.health_s()
        while crowd.poll() is None:
            longest = max(longest, self.health_s())
            time.sleep(HEALTH_PERIOD_S)
        self._rest()
        return longest

    def _rest(self) -> None:
        """Wait until nothing is left of the requests of clients that have gone."""
        ends_at = time.monotonic() + PATIENCE_S
        before = -1.0
        while self._cpu_s() > before:
            assert time.monotonic() < ends_at, "the server does not come to rest"
            before = self._cpu_s()
            time.sleep(REST_S)

    def slow_readers(self, path: str, count: int, watched_s: float) -> Figure:
        """Let clients ask for an answer that they never read."""
        wish = Wish("reads", f"{count} that do not read {path}", "GET", path, VIEWER)
        message = wish.message(self.secrets[VIEWER])
        self._peak.write_text("5")
        memory = self.memory_mib()
        longest = 0.0
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(self.address)
                client.sendall(message)
            ends_at = time.monotonic() + watched_s
            while time.monotonic() < ends_at:
                longest = max(longest, self.health_s())
                time.sleep(HEALTH_PERIOD_S)
        more = self.memory_mib("VmHWM") - memory
        # Of all of them, so measured against a limit of their own.
        return Figure(
            f"{wish.name}: {more:.0f} of {SLOW_LIMIT_MIB:.0f} MiB", 0, 0.0,
            more * MEMORY_LIMIT_MIB / SLOW_LIMIT_MIB, longest,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filling:
    """How much a database holds."""

    rows: int = ROWS
    dead: int = DEAD
    listed: int = LISTED


def fill(storage: Storage, sql: Sql, filling: Filling) -> None:
    """Fill an empty database with what the requests ask for."""
    rows = filling.rows
    for first in range(0, rows, AT_ONCE):
        storage.jobs.enqueue_many(
            [
                NewJob(
                    f"k{number % KINDS}",
                    {"blob": "x" * 400, "user": number},
                    queue_name=f"q{number // KINDS % QUEUES}",
                )
                for number in range(first, min(first + AT_ONCE, rows))
            ]
        )
    words = "connection refused while reading row 17 of table orders at line 4096 "
    sql.run(
        "UPDATE forge_job SET status = 'dead', attempts = 5, completed_at = "
        "enqueued_at, last_error = 'Boom: ' || id || ' ' || CAST(? AS TEXT) WHERE id "
        f"IN (SELECT id FROM forge_job ORDER BY id LIMIT {filling.dead})",
        (words * 200)[:8_100],
    )
    for number in range(filling.listed):
        name = f"listed-{number}"
        storage.rate_limits.put(name, capacity=1, refill_per_sec=1.0)
        payload = json.dumps({"x": "y" * (1_000_000 if number < 20 else 100)})
        storage.cron.create(
            ScheduleDefinition(
                name=name, kind="k0", payload=payload, enabled=number % 2 > 0,
                cron_expr="* * * * * *" if number % 2 else "0 0 1 1 *",
            )
        )  # fmt: skip
    fill_history(storage, sql, min(rows / ROWS, 1.0))


@contextlib.contextmanager
def serving(url: str, folder: Path, *options: str) -> Iterator[Served]:
    """Run the server with one process on a database."""
    made = {name: new_token(name) for name in _ROLES}
    entries = [
        {"id": name, "sha256": made[name][1], "role": role}
        | ({} if queues is None else {"queues": queues})
        for name, (role, queues) in _ROLES.items()
    ]
    backend = "sqlite" if url.startswith("sqlite:") else "postgres"
    environ = variables(folder) | {
        "FORGE_JOBS_TOKENS": json.dumps(entries),
        "QUEUE_BACKEND": backend,
        "DATABASE_URL": url,
    }
    with server(environ, folder, *options) as (program, address):
        secrets = {name: secret for name, (secret, _) in made.items()}
        # The parent only watches it.
        parent = psutil.Process(program.process.pid)
        wait_until(parent.children, "the server forks")
        served = Served(address, parent.children()[0].pid, secrets)
        for _ in range(3):
            served.health_s()
        # What is made once, at the first of each.
        for path in ("/v1/jobs?limit=1", "/queue/overview", "/jobs/inspect/none"):
            wish = Wish("reads", path, "GET", path, VIEWER)
            served.exchange(wish.message(secrets[VIEWER]), PATIENCE_S)
        alone = max(served.health_s() for _ in range(20))
        sys.stderr.write(f"/health alone: {alone:.2f} s at most\n")
        yield served


def chosen(text: str) -> list[Wish]:
    """Return the requests of a group, or with a text in their names."""
    return [each for each in requests() if text == each.group or text in each.name]


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return the figures as text."""
    lines = [
        (
            f"{title}: at most {CPU_LIMIT_S} s of CPU, {MEMORY_LIMIT_MIB:.0f} MiB "
            f"more, and /health within {HEALTH_LIMIT_S} s beside {CROWD} of them"
        ),
        f"{'request':<62}{'status':>7}{'CPU s':>7}{'MiB':>7}{'/health':>9}",
    ]
    for each in figures:
        health = "" if each.health_s is None else f"{each.health_s:.2f}"
        verdict = f"MISSED {', '.join(each.missed)}" if each.missed else "met"
        lines.append(
            f"{each.name:<62}{each.status:>7}{each.cpu_s:>7.2f}"
            f"{each.memory_mib:>7.1f}{health:>9}  {verdict}"
        )
    return "\n".join(lines)


def measure(
    url: str,
    folder: Path,
    wishes: Sequence[Wish],
    crowd: int,
    filling: Filling = Filling(),
) -> list[Figure]:
    """Fill a database and measure requests on it; a crowd of 0 is left out."""
    settings = DatabaseSettings.from_url(url)
    storage = open_storage(settings)
    fill(storage, Sql(settings), filling)
    storage.close()
    figures = []
    with serving(url, folder) as served:
        for wish in wishes:
            found = served.cost(wish)
            if crowd:
                longest = served.crowd_health_s(wish, crowd, CROWD_S)
                found = replace(found, health_s=longest)
            figures.append(found)
            sys.stderr.write(f"{table('', [found]).splitlines()[-1]}\n")
    return figures


def measure_readers(url: str, folder: Path) -> list[Figure]:
    """Measure clients that do not read, each path on a fresh server."""
    figures = []
    for path in LARGEST:
        with serving(url, folder) as served:
            figures.append(served.slow_readers(path, SLOW_READERS, SLOW_S))
            sys.stderr.write(f"{table('', figures[-1:]).splitlines()[-1]}\n")
    return figures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--only", default="", help="a group, or a part of a name")
    parser.add_argument("--crowd", type=int, default=CROWD, help="0 leaves it out")
    arguments = parser.parse_args()

    def run(backend: str) -> tuple[str, bool]:
        with tempfile.TemporaryDirectory() as name, fresh_url(backend) as url:
            folder = Path(name)
            figures = measure(url, folder, chosen(arguments.only), arguments.crowd)
            if arguments.only in ("", READERS):
                figures += measure_readers(url, folder)
        return table(backend, figures), not any(each.missed for each in figures)

    return measure_each(arguments.backend, run)


if __name__ == "__main__":
    sys.exit(main())
