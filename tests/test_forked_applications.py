"""Applications that fork: within a task, within a request, with a worker beside."""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.state import state_of
from tests.support.applications import LIMIT_S, worker
from tests.support.processes import Child, Peer
from tests.support.sql import Sql
from tests.support.waiting import wait_until

COUNT = 5


class Forking:
    """An application whose code starts children that enqueue."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.forge = ForgeJobs(app, open_to_loopback=True)
        self.children: SimpleQueue[Child] = SimpleQueue()
        self.forge.task(kind="fork")(self.fork)
        app.post("/fork")(self.fork)

    def fork(self) -> str:
        """Start a child."""
        self.children.put(Child(self._produce))
        return "forked"

    def _produce(self, parent: Peer) -> None:
        with self.app.app_context():
            self.forge.enqueue("child", {}, queue="elsewhere")
            parent.say()
            parent.hear()
            for _ in range(COUNT):
                self.forge.enqueue("child", {}, queue="elsewhere")

    def finish(self, sql: Sql) -> None:
        """Let the child outlive its parent; see that all that it stored is there."""
        child = self.children.get(timeout=LIMIT_S)
        assert child.hear() == "go on"
        state_of(self.app).storage.close()
        child.say()
        assert child.end() == 0
        stored = sql.value("SELECT COUNT(*) FROM forge_job WHERE kind = 'child'")
        assert stored == 1 + COUNT


@pytest.fixture
def forking(database_url: str) -> Forking:
    app = Flask("forking")
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    return Forking(app)


def test_a_child_that_a_task_forks_outlives_its_worker(
    forking: Forking, sql: Sql
) -> None:
    with worker(forking.app) as runs, forking.app.app_context():
        forking.forge.enqueue("fork", {})
        runs.wait_for(1)

    assert sql.value("SELECT status FROM forge_job WHERE kind = 'fork'") == "done"
    forking.finish(sql)


def test_a_child_that_a_request_forks_outlives_its_server(
    forking: Forking, sql: Sql
) -> None:
    with forking.app.app_context():
        forking.forge.enqueue("noop", {}, queue="elsewhere")

    assert forking.app.test_client().post("/fork").text == "forked"

    forking.finish(sql)


def _is_long(found: list[int], count: int) -> bool:
    return len(found) == count


def test_a_worker_goes_on_while_requests_fork(forking: Forking, sql: Sql) -> None:
    """Its dispatcher, heartbeat and listener find their connections closed."""
    ran: list[int] = []
    forking.forge.task(kind="noop")(lambda: ran.append(1))

    with worker(forking.app), forking.app.app_context():
        for number in range(1, 5):
            forking.app.test_client().post("/fork")
            forking.forge.enqueue("noop", {})
            wait_until(partial(_is_long, ran, number), "it ran")
            child = forking.children.get(timeout=LIMIT_S)
            child.hear()
            child.say()
            assert child.end() == 0

    done = "SELECT COUNT(*) FROM forge_job WHERE status = 'done' AND attempts = 1"
    assert sql.value(done) == 4
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 4 + 4 * (1 + COUNT)
