"""kill -9 of server processes while clients enqueue and retry (fault matrix A4)."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.application import PROCESS_HEADER
from tests.acceptance.serving import serving
from tests.support.backends import long
from tests.support.client import Request, post_json, send
from tests.support.sql import Sql
from tests.support.threads import run_together

CLIENTS = 4
KEYS_A_CLIENT = 40
KILL_EVERY = 25
MAX_TRIES = 50


@dataclass(slots=True)
class Killer:
    """Kills the process that has just answered, after every so many answers."""

    killed: set[int] = field(default_factory=set)
    _answers: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, pid: int) -> None:
        """Take in who answered."""
        with self._lock:
            self._answers += 1
            if self._answers % KILL_EVERY == 0 and pid not in self.killed:
                self.killed.add(pid)
                os.kill(pid, signal.SIGKILL)


def _by_dedupe_key(key: str) -> Request:
    job = {"kind": "retried", "payload": {"key": key}, "dedupe_key": key}
    return post_json("/jobs/enqueue", job)


def _by_request_key(key: str) -> Request:
    request = post_json("/jobs/enqueue", {"kind": "retried", "payload": {"key": key}})
    return replace(request, headers={**request.headers, "Idempotency-Key": key})


def _enqueue_all(
    port: int, client: int, killer: Killer, request_for: Callable[[str], Request]
) -> dict[str, str]:
    """Enqueue one job a key; try again until the server has answered."""
    return {
        key: _enqueue(port, key, killer, request_for(key))
        for key in (f"key-{client}-{number}" for number in range(KEYS_A_CLIENT))
    }


def _enqueue(port: int, key: str, killer: Killer, request: Request) -> str:
    pause = threading.Event()
    for wait_s in _pauses_s(key):
        try:
            answer = send(port, request)
        except (OSError, http.client.HTTPException):
            pause.wait(wait_s)
            continue
        assert answer.status == 200, answer
        killer.note(int(answer.headers[PROCESS_HEADER]))
        return str(answer.json())
    raise AssertionError(f"no answer for {key} in {MAX_TRIES} tries")


def _pauses_s(key: str) -> Iterator[float]:
    source = random.Random(key)
    return (source.uniform(0.01, 0.2) for _ in range(MAX_TRIES))


@pytest.mark.parametrize(
    ("backend", "request_for"),
    [
        long("sqlite", _by_dedupe_key),
        ("postgres", _by_request_key),
        long("sqlite", _by_request_key),
        long("postgres", _by_dedupe_key),
    ],
)
def test_retried_enqueues_are_stored_once(
    database_url: str, sql: Sql, tmp_path: Path, request_for: Callable[[str], Request]
) -> None:
    killer = Killer()

    # Those that follow are forked, which takes less than to load the application.
    with serving(database_url, tmp_path, "--preload", "--workers=4") as server:
        port = server.port()
        answers = run_together(
            [
                partial(_enqueue_all, port, client, killer, request_for)
                for client in range(CLIENTS)
            ]
        )

    acknowledged = {key: job_id for each in answers for key, job_id in each.items()}
    rows = sql.run("SELECT payload, id FROM forge_job WHERE kind = 'retried'")
    stored = {json.loads(payload)["key"]: job_id for payload, job_id in rows}
    assert len(killer.killed) >= CLIENTS
    assert len(rows) == CLIENTS * KEYS_A_CLIENT
    assert stored == acknowledged
