"""A database that hangs leaves a server of the dashboard one thread for the rest."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from http import HTTPStatus
from pathlib import Path

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.handlers.attention import cache
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.postgres import request_gate
from tests.api.mounting import PREFIX, mount
from tests.dashboard.sites import PERSON
from tests.support.cluster import Cluster, cluster
from tests.support.outages import frozen
from tests.support.waiting import LIMIT_S

THREADS = 4
# Less than the ten seconds of a call that hangs, and more than a busy machine needs.
SOON_S = 8.0
# Of the pages, those that say so in place of their content.
SAY_SO = ("/", "/system")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


class Site:
    """An application with our routes and one of its own, behind a few threads."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.storage = open_storage(settings)
        admin = Principal.with_role("ann", "admin")
        options = BlueprintOptions(authenticator=lambda _: admin)
        self._app = mount(self.storage, options, testing=False).application
        self._app.add_url_rule("/own", view_func=lambda: "own")
        self._threads = ThreadPoolExecutor(THREADS)

    def ask(self, path: str, before: Callable[[], object] = int) -> Future[int]:
        def ask() -> int:
            before()
            client = self._app.test_client()
            return client.get(path, headers=PERSON).status_code

        return self._threads.submit(ask)

    def know_all_threads(self) -> None:
        """Let each thread answer a request that asks the database."""
        together = threading.Barrier(THREADS)
        asked = [
            self.ask(f"{PREFIX}/", lambda: together.wait(LIMIT_S))
            for _ in range(THREADS)
        ]
        assert {each.result(LIMIT_S) for each in asked} == {HTTPStatus.OK}

    def close(self) -> None:
        self._threads.shutdown()
        self.storage.close()


@pytest.mark.long
@pytest.mark.parametrize(
    "path", ["/", "/queues", "/errors", "/system", "/v1/attention"]
)
def test_pages_that_wait_for_one_another_leave_a_thread(
    server: Cluster, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """They wait for one read together, and it does not come back."""
    monkeypatch.setattr(request_gate, "YOUNG_S", 0.0)
    monkeypatch.setattr(cache, "KEPT_S", 0.0)
    with contextlib.closing(Site(DatabaseSettings.from_url(server.url))) as site:
        site.know_all_threads()
        with frozen(server):
            pages = [site.ask(f"{PREFIX}{path}") for _ in range(2 * THREADS)]
            own = site.ask("/own")

            assert own.result(SOON_S) == HTTPStatus.OK
            answered = [page.result(0) for page in pages if page.done()]
            assert len(answered) >= THREADS
            if path not in SAY_SO:
                assert set(answered) == {HTTPStatus.SERVICE_UNAVAILABLE}
        assert not wait(pages, LIMIT_S).not_done


def test_pages_do_not_wait_for_a_writer_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    with contextlib.closing(Site(DatabaseSettings(path=path))) as site:
        site.know_all_threads()
        with contextlib.closing(sqlite3.connect(path)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            pages = [site.ask(f"{PREFIX}/queues") for _ in range(2 * THREADS)]

            assert {page.result(LIMIT_S) for page in pages} == {HTTPStatus.OK}
