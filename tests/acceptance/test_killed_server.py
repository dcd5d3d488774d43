"""kill -9 of server processes while clients enqueue and retry (fault matrix A4)."""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.acceptance.application import PROCESS_HEADER
from tests.acceptance.client import post_json, send
from tests.acceptance.programs import serving
from tests.support.sql import Sql
from tests.support.threads import run_together

CLIENTS = 4
KEYS_A_CLIENT = 150
KILL_EVERY = 50
MOST_TRIES = 50


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


def _enqueue_all(port: int, client: int, killer: Killer) -> dict[str, str]:
    """Enqueue one job a key; try again until the server has answered."""
    return {
        key: _enqueue(port, key, killer)
        for key in (f"key-{client}-{number}" for number in range(KEYS_A_CLIENT))
    }


def _enqueue(port: int, key: str, killer: Killer) -> str:
    request = post_json(
        "/jobs/enqueue", {"kind": "retried", "payload": {}, "dedupe_key": key}
    )
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
    raise AssertionError(f"no answer for {key} in {MOST_TRIES} tries")


def _pauses_s(key: str) -> Iterator[float]:
    source = random.Random(key)
    return (source.uniform(0.01, 0.2) for _ in range(MOST_TRIES))


def test_retried_enqueues_are_stored_once(
    database_url: str, sql: Sql, tmp_path: Path
) -> None:
    killer = Killer()

    with serving(database_url, tmp_path, "--workers=4") as server:
        port = server.port()
        answers = run_together(
            [partial(_enqueue_all, port, client, killer) for client in range(CLIENTS)]
        )

    acknowledged = {key: job_id for each in answers for key, job_id in each.items()}
    stored = sql.run("SELECT dedupe_key, id FROM forge_job WHERE kind = 'retried'")
    assert len(killer.killed) >= CLIENTS
    assert len(stored) == CLIENTS * KEYS_A_CLIENT
    assert dict(stored) == acknowledged
