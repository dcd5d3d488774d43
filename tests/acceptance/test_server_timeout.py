"""gunicorn gives up a server process while that runs jobs, too (fault matrix A5)."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance import evidence as stored
from tests.acceptance.application import (
    EMBEDDED_THREADS,
    EMBEDDED_VARIABLE,
    HANG_S,
    KIND,
    LEDGER_VARIABLE,
    PROCESS_HEADER,
    STARTED,
)
from tests.acceptance.checker import Checker, table
from tests.acceptance.ledger import Ack, Evidence, Kill, Life, Line, read_ledger
from tests.acceptance.serving import serving
from tests.support.client import Request, post_json, send
from tests.support.programs import Program
from tests.support.sql import Sql
from tests.support.waiting import wait_until

HANGS = 2
LEASE_S = 2
# Longer than a process takes to start, which counts.
SERVER_TIMEOUT_S = 3
# Beyond the lease: sweeps, a beat, and a busy machine.
RECOVERY_SLACK_S = 3.0


@dataclass(slots=True)
class Scene:
    """One server process that answers requests and runs jobs, and its successors."""

    server: Program
    sql: Sql
    ledger: Path
    evidence: Evidence = field(default_factory=Evidence)
    _since_ns: int = field(default_factory=time.monotonic_ns)

    def hang(self, query: str) -> None:
        """Have the process run jobs and hang in a request, until they ran again."""
        jobs = [self._enqueue() for _ in range(EMBEDDED_THREADS)]
        wait_until(lambda: len(self._started(jobs)) == len(jobs), "the jobs run")
        (pid,) = {line.pid for line in self._started(jobs)}
        hanging = Request("GET", f"/hang{query}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            # SIGABRT leaves gunicorn the time for an answer.
            assert send(self.server.port(), hanging, prefix="").status == 500
        wait_until(lambda: self._has_another(pid), "another process took over")
        self._note_death(self._started(jobs)[0])
        wait_until(lambda: not self._unfinished(), "every job has ended")

    def _enqueue(self) -> str:
        payload = {"number": 0, "sleep_ms": int(HANG_S * 1000), "again_ms": 1}
        job = {"kind": KIND, "payload": payload}
        job_id = str(send(self.server.port(), post_json("/jobs/enqueue", job)).json())
        self.evidence.acks.append(Ack(job_id))
        return job_id

    def _started(self, jobs: list[str]) -> list[Line]:
        lines = read_ledger(self.ledger)
        return [each for each in lines if each.job_id in jobs and each.event == STARTED]

    def _has_another(self, pid: int) -> bool:
        """Whether another process answers; one that is ended cuts its connections."""
        try:
            return self._answering_pid() != pid
        except (OSError, http.client.HTTPException):
            return False

    def _answering_pid(self) -> int:
        answer = send(self.server.port(), Request("GET", "/health"))
        return int(answer.headers[PROCESS_HEADER])

    def _note_death(self, line: Line) -> None:
        """Take in that the only process is another one, so the first is dead."""
        now_ns = time.monotonic_ns()
        rows = self.sql.run(
            "SELECT id, attempts FROM forge_job "
            "WHERE status = 'in_progress' AND worker_id = ?",
            line.worker_id,
        )
        held = frozenset((job_id, int(attempt)) for job_id, attempt in rows)
        self.evidence.kills.append(Kill(line.pid, line.worker_id, now_ns, held))
        self._note_life(line.pid)

    def _note_life(self, pid: int) -> None:
        now_ns = time.monotonic_ns()
        self.evidence.lives.append(Life(pid, self._since_ns, now_ns))
        self._since_ns = now_ns

    def _unfinished(self) -> int:
        return int(
            self.sql.value("SELECT COUNT(*) FROM forge_job WHERE completed_at IS NULL")
        )

    def read_the_end(self, url: str) -> None:
        """Take in what is stored once all is over."""
        self._note_life(self._answering_pid())
        app = Flask("observer")
        app.config["FORGE_JOBS_DATABASE_URL"] = url
        app.testing = True
        forge = ForgeJobs(app)
        offset_ns = time.monotonic_ns() - time.time_ns()
        self.evidence.recovery_limit_s = LEASE_S + RECOVERY_SLACK_S
        self.evidence.lines += read_ledger(self.ledger)
        self.evidence.rows += stored.final_rows(self.sql, monotonic_offset_ns=offset_ns)
        self.evidence.counts |= stored.counts(self.sql, app.test_client())
        self.evidence.damage += stored.damage(self.sql, DatabaseSettings.from_url(url))
        with app.app_context():
            forge.storage.close()


@contextmanager
def scene_of(url: str, folder: Path) -> Iterator[Scene]:
    """Serve with one process, which gunicorn replaces when it does not answer."""
    ledger = folder / "ledger"
    options = ("--workers=1", f"--timeout={SERVER_TIMEOUT_S}")
    environ = {
        EMBEDDED_VARIABLE: "1",
        LEDGER_VARIABLE: str(ledger),
        "FLASK_FORGE_JOBS_LEASE_S": str(LEASE_S),
    }
    sql = Sql(DatabaseSettings.from_url(url))
    with serving(url, folder, *options, **environ) as server:
        server.port()
        yield Scene(server, sql, ledger)


@pytest.mark.long
@pytest.mark.parametrize("query", ["", "?deaf"], ids=["ABRT", "KILL"])
def test_jobs_of_a_server_process_that_timed_out_run_again(
    database_url: str, tmp_path: Path, query: str
) -> None:
    """The server ends it with SIGABRT, and with SIGKILL when it does not listen."""
    with scene_of(database_url, tmp_path) as scene:
        for _ in range(HANGS):
            scene.hang(query)
        scene.read_the_end(database_url)

    verdicts = Checker(scene.evidence).check()
    assert not any(each.violations for each in verdicts), table(verdicts)
    held = [len(kill.held) for kill in scene.evidence.kills]
    assert held == [EMBEDDED_THREADS] * HANGS
    output = scene.server.text
    assert output.count("WORKER TIMEOUT") == HANGS
    assert output.count("was sent SIGKILL") == (HANGS if query else 0)
