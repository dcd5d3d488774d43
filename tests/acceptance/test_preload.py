"""gunicorn --preload with a used storage before the fork (fault matrix F1, F2)."""

from __future__ import annotations

import http.client
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.application import EAGER_VARIABLE, PROCESS_HEADER
from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.serving import serving
from tests.support.backends import long
from tests.support.client import Request, post_json, send
from tests.support.sql import Sql
from tests.support.threads import run_together

CLIENTS = 8
REQUESTS = 320
SERVER_WORKERS = 4


@dataclass(slots=True)
class Client:
    """One of several clients at once; remembers what it stored and what went wrong."""

    number: int
    port: int
    source: random.Random
    stored: dict[str, dict[str, object]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    answered_by: Counter[str] = field(default_factory=Counter)

    def run(self, requests: int) -> Client:
        """Send so many requests."""
        for number in range(requests):
            choice = self.source.random()
            try:
                if choice < 0.4 or not self.stored:
                    self._enqueue(number)
                elif choice < 0.8:
                    self._inspect()
                else:
                    self._overview()
            except (OSError, http.client.HTTPException) as error:
                self.complaints.append(f"the connection was cut: {error!r}")
        return self

    def _ask(self, request: Request) -> Any:
        """Return the JSON of a good answer; note anything else and return None."""
        request_id = f"client-{self.number}-{secrets.token_hex(8)}"
        headers = {**request.headers, "X-Request-Id": request_id}
        sent = Request(request.method, request.path, request.body, headers)
        answer = send(self.port, sent)
        self.answered_by[answer.headers[PROCESS_HEADER]] += 1
        if answer.status != 200:
            self.complaints.append(f"{request.path}: {answer.status} {answer.body!r}")
            return None
        if answer.headers.get("X-Request-Id") != request_id:
            self.complaints.append(f"{request.path}: the answer to another request")
            return None
        return answer.json()

    def _enqueue(self, number: int) -> None:
        payload: dict[str, object] = {"client": self.number, "number": number}
        document = {"kind": "preload", "payload": payload}
        job_id = self._ask(post_json("/jobs/enqueue", document))
        if job_id in self.stored:
            self.complaints.append(f"two jobs got the id {job_id}")
        elif job_id is not None:
            self.stored[job_id] = payload

    def _inspect(self) -> None:
        job_id = self.source.choice(list(self.stored))
        found = self._ask(Request("GET", f"/jobs/inspect/{job_id}"))
        if found is None:
            return
        if (found["row"]["id"], found["payload"]) != (job_id, self.stored[job_id]):
            self.complaints.append(f"asked for {job_id}, got {found}")

    def _overview(self) -> None:
        queues = self._ask(Request("GET", "/queue/overview"))
        if queues is not None and [queue["name"] for queue in queues] != ["default"]:
            self.complaints.append(f"an overview of {queues}")


@pytest.mark.parametrize(
    ("backend", "worker_class"),
    [
        long("sqlite", "gthread"),
        ("postgres", "sync"),
        long("sqlite", "sync"),
        long("postgres", "gthread"),
    ],
)
def test_preloaded_server_mixes_up_no_connections(
    database_url: str, sql: Sql, tmp_path: Path, worker_class: str
) -> None:
    options = ["--preload", f"--workers={SERVER_WORKERS}"]
    options += [f"--worker-class={worker_class}", "--threads=2"]
    if worker_class == "sync":
        options.pop()

    with serving(database_url, tmp_path, *options, **{EAGER_VARIABLE: "1"}) as server:
        port = server.port()
        clients = [
            Client(number, port, random.Random(SHORT_SEED + number))
            for number in range(CLIENTS)
        ]
        run_together([partial(client.run, REQUESTS // CLIENTS) for client in clients])

    complaints = [each for client in clients for each in client.complaints]
    assert not complaints, f"{complaints[:10]}\n{server.text}"
    stored = {job_id for client in clients for job_id in client.stored}
    assert sum(len(client.stored) for client in clients) == len(stored)
    rows = sql.run("SELECT id FROM forge_job WHERE kind = 'preload'")
    assert {job_id for (job_id,) in rows} == stored
    eager = sql.value("SELECT payload FROM forge_job WHERE kind = 'acceptance.eager'")
    pids = Counter[str]()
    for client in clients:
        pids += client.answered_by
    assert len(pids) == SERVER_WORKERS, pids
    assert f'{{"pid":{server.process.pid}}}' == eager, "it was not used before the fork"
