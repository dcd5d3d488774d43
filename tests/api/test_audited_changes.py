"""S42: what a request changes and its entry in the audit trail, both or neither."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api import request
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageOutcomeUnknownError
from flask_forge_jobs.handlers import bulk
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.storage import entries, queues, request_batches
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Database, Transaction, TransientError
from flask_forge_jobs.storage.pace import Pace
from tests.api.changes import CHANGES, JOB, RUNS, Call, fill, placed
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.backends import each_backend
from tests.support.jobs import QUEUE
from tests.support.sql import Sql

DIED = 7
CHANGED_TABLES = (
    "forge_job", "forge_queue", "forge_cron", "forge_rate_limit", "forge_request_key",
    "forge_bulk_run", "forge_batch",
)  # fmt: skip


def _change(client: FlaskClient, change: str, names: dict[str, str]) -> int:
    method, path, body = placed(change, names)
    return client.open(PREFIX + path, method=method, json=body).status_code


def _records(storage: Storage) -> list[AuditRecord]:
    """Return what the trail says, the oldest first."""
    return [each.record for each in reversed(storage.audit.page(AuditFilter(), 1000))]


def _everything(sql: Sql) -> list[list[str]]:
    return [
        sorted(map(repr, sql.run(f"SELECT * FROM {table}"))) for table in CHANGED_TABLES
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_sec_S42_change_whose_entry_fails_is_not_stored(
    storage: Storage, sql: Sql, change: str
) -> None:
    client = client_with_token(storage, "admin")
    names = fill(storage)
    before = _everything(sql)

    with sql.full_trail():
        status = _change(client, change, names)

    assert status == 500
    assert _everything(sql) == before

    status = _change(client, change, names)

    assert status < 300
    assert _everything(sql) != before
    records = _records(storage)
    assert sum(record.changed for record in records) >= 1 or change in RUNS
    assert {record.status for record in records} == {status}


def test_every_route_that_changes_something_is_tried() -> None:
    tried = [(method, path.split("?")[0]) for method, path, _ in CHANGES.values()]
    # Those of the reference are there twice, the second time below /v1.
    tried += [(method, f"/v1{path}") for method, path in tried]
    missing = [
        route.endpoint
        for route in all_routes(enable_demo=True)
        if route.mutates
        and not any(
            route.method == method
            and re.fullmatch(re.sub("<[^>]*>", "[^/]+", route.path), path)
            for method, path in tried
        )
    ]

    assert missing == []


@each_backend
def test_nobody_waits_for_a_body_within_a_transaction(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bool] = []
    begun: list[int] = []
    read_body, begin = request.read_body, type(storage.database).begin

    def note(*given: Any) -> bytes:
        read.append(bool(begun))
        return read_body(*given)

    def note_begin(database: Database, attempt: int) -> object:
        if threading.current_thread() is threading.main_thread():  # not a flush
            begun.append(attempt)
        return begin(database, attempt)

    monkeypatch.setattr(request, "read_body", note)
    monkeypatch.setattr(type(storage.database), "begin", note_begin)
    client = client_with_token(storage, "admin")
    names = fill(storage)

    for change in CHANGES:
        begun.clear()
        _change(client, change, names)

    assert len(read) >= sum(body is not None for _, _, body in CHANGES.values())
    assert not any(read)


def _die_before_the_entry(url: str, change: str, names: dict[str, str]) -> None:
    """In a process of its own: change something, and end where the entry is written."""
    with mock.patch.object(
        entries, "_parameters", side_effect=lambda _: os._exit(DIED)
    ):
        storage = open_storage(DatabaseSettings.from_url(url))
        _change(client_with_token(storage, "admin"), change, names)


@each_backend
@pytest.mark.parametrize("change", ["enqueue", "pause", "delete", "cleanup", "trigger"])
def test_sec_S42_process_that_dies_before_the_entry_has_changed_nothing(
    storage: Storage, sql: Sql, database_url: str, change: str
) -> None:
    names = fill(storage)
    before = _everything(sql)
    process = multiprocessing.get_context("fork").Process(
        target=_die_before_the_entry, args=(database_url, change, names)
    )

    process.start()
    process.join()

    assert process.exitcode == DIED
    assert _everything(sql) == before
    assert _records(storage) == []


HALF_WAY: dict[str, Call] = {
    "delete by state": ("POST", "/jobs/delete-by-status", {"status": "pending"}),
    "delete a queue": ("DELETE", f"/v1/queues/{QUEUE}?force=true", None),
    "act": ("POST", "/v1/jobs/actions", {"action": "cancel", "all": True}),
}


@each_backend
@pytest.mark.parametrize("verb", HALF_WAY)
def test_sec_S42_bulk_verb_that_fails_half_way_leaves_what_it_did(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for module in (bulk, queues):
        monkeypatch.setattr(module, "BATCH", 2)
    begun: list[object] = []

    def fail_third(batch: Callable[..., object]) -> Callable[..., object]:
        def run(*given: Any, **values: Any) -> object:
            begun.append(given)
            if len(begun) == 3:
                raise RuntimeError("no third one")
            return batch(*given, **values)

        return run

    for _ in range(7):
        storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))
    # A batch is a transaction or, on PostgreSQL, may be one statement.
    for owner, name in ((Pace, "write"), (request_batches.BatchExecutor, "at_once")):
        monkeypatch.setattr(owner, name, fail_third(getattr(owner, name)))
    method, path, body = HALF_WAY[verb]
    client = client_with_token(storage, "admin")

    answer = client.open(
        PREFIX + path, method=method, json=body, headers={"X-Request-Id": "r-1"}
    )

    assert answer.status_code == 500
    assert storage.queues.waiting([QUEUE]) == {QUEUE: 3}
    records = _records(storage)
    assert [record.changed for record in records] == [2, 2, 0]
    assert [record.status >= 500 for record in records] == [False, False, True]
    assert {record.request_id for record in records} == {"r-1"}


@each_backend
def test_repetition_stores_everything_once(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit went through, and nobody heard of it."""
    begin = type(storage.database).begin

    @contextlib.contextmanager
    def lose_first_answer(database: Database, attempt: int) -> Iterator[Transaction]:
        with begin(database, attempt) as transaction:
            yield transaction
        if not attempt:
            raise TransientError(StorageOutcomeUnknownError())

    monkeypatch.setattr(type(storage.database), "begin", lose_first_answer)
    client = client_with_token(storage, "operator")
    body = {"items": [JOB, {**JOB, "dedupe_key": "one"}]}

    answer = client.post(f"{PREFIX}/v1/jobs/bulk", json=body)

    assert answer.status_code == 201
    ids = [result["id"] for result in answer.get_json()["results"]]
    assert sorted(storage.job_reader.ids_in(ids)) == sorted(ids)
    assert storage.job_reader.total(JobFilter()) == 2
    assert [record.changed for record in _records(storage)] == [2]
    counted = storage.recorder.take().values()
    assert sum(tally.enqueued for tally in counted) == 2
