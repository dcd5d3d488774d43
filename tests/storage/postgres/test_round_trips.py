"""How many messages each route sends: a change one, a read two at most.

A walk over all routes, each with the request of the contract. What is above the limit
stands in ``ABOVE`` with its number, which may not grow.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import IO

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.handlers import kinds
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.jobs import known_queues
from flask_forge_jobs.storage.postgres import process as process_module
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction
from tests.api.mounting import PREFIX, mount_shared
from tests.conformance.requests import sample
from tests.conformance.seeding import seed, seed_schedule
from tests.conftest import empty_tables
from tests.support.sql import Sql

ROUTES = all_routes(enable_demo=True)
CHANGE, READ = 1, 2
# Of the requests that enqueue.
KINDS = ("welcome", "noop_echo", "send_receipt")
JOB = {"kind": "welcome", "payload": {}}
# By the action of the route, which is the same below /v1.
ABOVE: dict[str, int] = {
    "batch_create": 4,
    "batch_add": 4,
    "batch_seal": 4,
    "batch_cancel": 17,
    "batch_retry": 8,
    "batch_delete": 11,
    "queue_cleanup": 3,
    "jobs_list": 4,
    "jobs_retry_all_failed": 5,
    "jobs_retry_all_by_status": 5,
    "jobs_delete_done_older_than": 3,
    "jobs_delete_by_status": 8,
    "cron_set_enabled": 2,
    "cron_set_expr": 2,
    "cron_set_dedupe": 2,
    "cron_trigger": 2,
    "jobs_act": 2,
    "bulk_run_begin": 4,
    "bulk_run_stop": 2,
    "cron_create": 2,
    "cron_change": 2,
    "delete_queue": 10,
}


@pytest.fixture(scope="module")
def settings(postgres_database: str) -> DatabaseSettings:
    return DatabaseSettings.from_url(postgres_database)


@pytest.fixture(scope="module")
def sent() -> Iterator[list[str]]:
    """The messages of this thread; those of the flusher are not a request's."""
    texts: list[str] = []
    own = threading.get_ident()

    class Counting(PostgresTransaction):
        def __init__(self, connection: Connection, *args: object, **options: object):
            super().__init__(connection, *args, **options)  # type: ignore[arg-type]  # as given
            inner = self._cursor

            class Cursor:
                def execute(self, text: str, parameters: object = None) -> None:
                    if threading.get_ident() == own:
                        texts.append(text)
                    inner.execute(text, parameters)  # type: ignore[arg-type]  # as given

                def copy_expert(self, text: str, source: IO[bytes]) -> None:
                    # The server is ready to read, and then it has read.
                    texts.extend((text, text))
                    inner.copy_expert(text, source)

                def __getattr__(self, name: str) -> object:
                    return getattr(inner, name)

            self._cursor = Cursor()  # type: ignore[assignment]  # stands in for one

    with pytest.MonkeyPatch.context() as patched:
        # It is looked up again now and then, which would depend on the machine.
        patched.setattr(kinds, "KNOWN_KIND_S", 3600.0)
        patched.setattr(process_module, "PostgresTransaction", Counting)
        yield texts


def limit_of(route: Route) -> int:
    return ABOVE.get(route.action, CHANGE if route.mutates else READ)


def test_no_route_sends_more_messages_than_it_must(
    settings: DatabaseSettings, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow walk would outlast the cached queues and kinds, and count their reads.
    for module, name in ((kinds, "KNOWN_KIND_S"), (known_queues, "KNOWN_QUEUE_S")):
        monkeypatch.setattr(module, name, 3600.0)
    counted: dict[str, int] = {}
    with contextlib.closing(open_storage(settings, jitter=None)) as storage:
        storage.open()
        client = mount_shared(storage)
        is_fresh = False
        for route in ROUTES:
            if route.mutates or not is_fresh:
                empty_tables(settings)
                seed(storage, Sql(settings))
                seed_schedule(client)
                # What is kept of queues and kinds is read.
                for kind in 2 * KINDS:
                    client.post(f"{PREFIX}/v1/jobs", json={**JOB, "kind": kind})
            is_fresh = not route.mutates
            request = sample(route)
            if not route.mutates:
                request.send(client)
            sent.clear()
            answer = request.send(client)
            assert answer.status_code < 400, (route.endpoint, answer.text)
            counted[route.endpoint] = len(sent)
            for thread in threading.enumerate():
                if thread.name.startswith("forge-bulk-run"):
                    thread.join(30)

    limits = {route.endpoint: limit_of(route) for route in ROUTES}
    assert {
        endpoint: (number, limits[endpoint])
        for endpoint, number in counted.items()
        if number > limits[endpoint]
    } == {}


@pytest.mark.parametrize(
    ("path", "body", "most"),
    [
        ("jobs/bulk", {"items": 20 * [JOB]}, 1),
        ("batches", {"name": "b", "jobs": 20 * [JOB]}, 5),
        ("jobs/actions", {"action": "cancel"}, 1),
    ],
    ids=["plain jobs", "batch of plain jobs", "ids of plain jobs"],
)
def test_usual_requests_send_fewer_messages_than_the_samples(
    settings: DatabaseSettings,
    sent: list[str],
    path: str,
    body: dict[str, object],
    most: int,
) -> None:
    with contextlib.closing(open_storage(settings, jitter=None)) as storage:
        storage.open()
        empty_tables(settings)
        client = mount_shared(storage)
        for _ in range(2):  # the first one fills the caches of queues and kinds
            ids = [storage.jobs.enqueue(NewJob("welcome")).id for _ in range(3)]
            request = {**body, "ids": ids} if "action" in body else body
            sent.clear()
            answer = client.post(f"{PREFIX}/v1/{path}", json=request)
            assert answer.status_code < 300, answer.text

    assert len(sent) == most
