"""Old and new code side by side over an additive and a breaking step, both ways.

Real processes: the new code is this one with steps that do not exist yet.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import JobStateError
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.runtime.foreground import EXIT_TAINTED
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import long
from tests.support.later_steps import ADDITIVE, BREAKING, later_storage, take_back
from tests.support.rolling_shop import FOLDER_VARIABLE, STEPS_VARIABLE
from tests.support.sql import Sql
from tests.support.waiting import wait_until

LIMIT_S = 60.0
FAILED = JobFilter(statuses=(JobStatus.FAILED,))
LEASE_S = 4
REASON = "upgrade flask-forge-jobs"
WORKER = "-m", "flask", "--app", "tests.support.rolling_shop", "forge-jobs", "worker"
Answer = tuple[int, str]


class Web:
    """A web process; the first question waits until it has started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @cached_property
    def _url(self) -> str:
        assert self._process.stdout is not None
        return f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def ask(self, path: str, body: object = None) -> Answer:
        """Get a path, or post to it; return the status and the text."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def order(self, task: str, number: int) -> Answer:
        """Let the application enqueue a job in Python."""
        return self.ask(f"/{task}/{number}", {})

    def order_by_api(self, number: int) -> Answer:
        """Enqueue a job over HTTP."""
        job = {"kind": "ship", "payload": {"number": number}}
        return self.ask("/forge-jobs/jobs/enqueue", job)

    def readiness(self) -> tuple[int, bool]:
        """Return the status and whether the schema is right."""
        status, text = self.ask("/forge-jobs/v1/health/ready")
        return status, json.loads(text)["checks"][1]["ok"]


class Fleet:
    """The processes of one test, of any version."""

    def __init__(self, folder: Path, url: str, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._environ = os.environ | {
            FOLDER_VARIABLE: str(folder),
            "FLASK_FORGE_JOBS_DATABASE_URL": url,
            "FLASK_FORGE_JOBS_LEASE_S": str(LEASE_S),
        }

    def web(self, *sorts: str) -> Web:
        """Start a web process whose code knows these further steps."""
        return Web(self._start(sorts, "-m", "tests.support.rolling_shop"))

    def worker(self, *sorts: str) -> subprocess.Popen[str]:
        """Start a worker that runs one job at a time."""
        return self._start(sorts, *WORKER, "--threads", "1", "--grace", "5")

    def ledger(self) -> list[tuple[str, int]]:
        """Return which code has run which order, in order."""
        path = self.folder / "ledger"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [(code, int(number)) for code, number in map(str.split, lines)]

    def wait_for(self, *numbers: int, code: str | None = None) -> None:
        """Wait until orders have been run, by one code or by any."""

        def all_ran() -> bool:
            ran = {number for by, number in self.ledger() if code in (None, by)}
            return ran.issuperset(numbers)

        wait_until(all_ran, f"{numbers} ran", LIMIT_S)

    def _start(self, sorts: tuple[str, ...], *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / "log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self._environ | {STEPS_VARIABLE: " ".join(sorts)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def fleet(
    database_url: str, database_settings: DatabaseSettings, tmp_path: Path
) -> Iterator[Fleet]:
    """Processes that are gone in the end, with what they did to the schema."""
    with contextlib.ExitStack() as stack:
        stack.callback(take_back, database_settings)
        yield Fleet(tmp_path, database_url, stack)


@contextlib.contextmanager
def keeps_ordering(order: Callable[[int], Answer]) -> Iterator[list[Answer]]:
    """Order one after the other, until one is refused or the block ends."""
    answers: list[Answer] = []
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set() and all(status == 200 for status, _ in answers[-1:]):
            answers.append(order(1000 + len(answers)))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        thread.join(LIMIT_S)


@pytest.mark.parametrize("backend", ["sqlite", long("postgres")])
def test_an_additive_step_disturbs_nobody_and_can_be_taken_back(fleet: Fleet) -> None:
    old, old_worker = fleet.web(), fleet.worker()
    assert old.order("ship", 1)[0] == 200
    fleet.wait_for(1, code="old")

    with keeps_ordering(lambda number: old.order("ship", number)) as answers:
        new, new_worker = fleet.web(ADDITIVE), fleet.worker(ADDITIVE)
        assert new.readiness() == old.readiness() == (200, True)
        assert new.order("ship", 2)[0] == old.order_by_api(3)[0] == 200
        old_worker.terminate()
        assert old_worker.wait(LIMIT_S) == 0
        assert old.order("ship", 4)[0] == 200
        fleet.wait_for(4, code=ADDITIVE)
        # And back: the code of before starts on the schema of the newer one.
        fleet.worker()
        new_worker.terminate()
        assert new_worker.wait(LIMIT_S) == 0
        assert old.order("ship", 5)[0] == 200
        fleet.wait_for(5, code="old")

    assert {status for status, _ in answers} == {200}
    fleet.wait_for(1, 2, 3, *range(1000, 1000 + len(answers)))
    ran = [number for _, number in fleet.ledger()]
    assert len(ran) == len(set(ran))


@pytest.mark.long
@pytest.mark.parametrize("backend", [long("sqlite"), "postgres"])
def test_a_breaking_step_shuts_the_old_code_out_and_loses_nothing(
    fleet: Fleet, storage: Storage, database_settings: DatabaseSettings
) -> None:
    old, old_worker = fleet.web(), fleet.worker()
    assert old.order("pack", 1)[0] == 200
    fleet.wait_for(1, code="old")

    with later_storage(database_settings, BREAKING) as later:
        with keeps_ordering(lambda number: old.order("ship", number)) as answers:
            wait_until(lambda: answers, "it is under load", LIMIT_S)
            new = fleet.web(BREAKING)
            assert new.order("ship", 2)[0] == 200  # it has migrated
            wait_until(lambda: answers[-1][0] != 200, "it is refused", LIMIT_S)
        refused = answers.pop()
        assert refused[1].startswith("SchemaTooNewError: ")
        status, text = old.order_by_api(3)
        assert (status, json.loads(text)["kind"]) == (503, "unavailable")
        assert REASON in text
        assert (old.readiness(), new.readiness()) == ((503, False), (200, True))

        # What it runs now ends, and is not stored; what waits it leaves.
        (fleet.folder / "packed").touch()
        assert old_worker.wait(LIMIT_S) == EXIT_TAINTED
        assert fleet.ledger() == [("old", 1)]
        # And back: the code of before does not start.
        fleet.worker(BREAKING)
        assert fleet.worker().wait(LIMIT_S) == 1
        log = (fleet.folder / "log").read_text("utf-8")
        assert f"Error: {refused[1].partition(': ')[2]}\n" in log

        wait_until(lambda: later.jobs.running() == [], "the lease is over", LIMIT_S)
        for packing in storage.job_reader.page(FAILED, 10, 0).rows:
            with contextlib.suppress(JobStateError):  # it may have begun by itself
                later.job_admin.run_now(packing.id)
        fleet.wait_for(1, 2, *range(1000, 1000 + len(answers)), code=BREAKING)
        late = "SELECT id FROM forge_job WHERE later_shape = 0"
        stored_late = {job_id for (job_id,) in Sql(database_settings).run(late)}
        assert stored_late.isdisjoint(job_id for _, job_id in answers)
