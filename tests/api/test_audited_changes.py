"""S42: what a request changes and its entry in the audit trail, both or neither."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
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
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.storage import queues, units
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Database, Transaction, TransientError
from flask_forge_jobs.storage.pace import Pace
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.jobs import QUEUE, job_with
from tests.support.sql import Sql

JOB: dict[str, object] = {"kind": "k", "payload": {"to": "x"}}
NAMED: dict[str, object] = {"name": "new", "kind": "k", "cron_expr": "5 4 * * *"}
LIMIT: dict[str, object] = {"capacity": 1, "refill_per_sec": 1}
RETENTION: dict[str, object] = {"done_days": 1, "dead_days": 1}
BACKOFF: dict[str, object] = {"enabled": True, "base_seconds": 2, "max_seconds": 3}
Call = tuple[str, str, dict[str, object] | None]
# One of each kind of verb, by how it stores what it does.
CHANGES: dict[str, Call] = {
    "enqueue": ("POST", "/jobs/enqueue", {**JOB, "queue_name": QUEUE}),
    "enqueue to a new queue": ("POST", "/jobs/enqueue", {**JOB, "queue_name": "new"}),
    "enqueue with a key": ("POST", "/v1/jobs", {**JOB, "dedupe_key": "one"}),
    "enqueue many": ("POST", "/v1/jobs/bulk", {"items": [JOB, JOB]}),
    "demo": ("POST", "/jobs/enqueue-demo", {}),
    "run now": ("POST", "/jobs/run-now/{later}", {}),
    "delete one": ("DELETE", "/v1/jobs/{later}", None),
    "cancel": ("POST", "/v1/jobs/{later}/cancel", {}),
    "retry one": ("POST", "/v1/jobs/{dead}/retry", None),
    "reschedule": ("POST", "/v1/jobs/{later}/reschedule", {"priority": 3}),
    "retry": ("POST", "/jobs/retry", {"ids": ["{dead}"]}),
    "retry all": ("POST", "/jobs/retry-all-by-status", {"status": "dead"}),
    "delete": ("POST", "/jobs/delete", {"ids": ["{later}"]}),
    "delete all": ("POST", "/jobs/delete-by-status", {"status": "dead"}),
    "delete done": ("POST", "/jobs/delete-done-older-than", {"days": 0}),
    "act": ("POST", "/v1/jobs/actions", {"action": "delete", "ids": ["{later}"]}),
    "cleanup": ("POST", "/queue/cleanup", {}),
    "requeue": ("POST", "/jobs/requeue", {"ids": ["{dead}"]}),
    "retry failed": ("POST", "/jobs/retry-all-failed", {}),
    "set workers": ("POST", "/queue/{queue}/max-workers", {"n": 3}),
    "set retention": ("POST", "/queue/{queue}/retention", RETENTION),
    "set backoff": ("POST", "/queue/{queue}/backoff", BACKOFF),
    "set expression": ("POST", "/cron/nightly/expr", {"expr": "5 4 * * *"}),
    "set dedupe": ("POST", "/cron/nightly/dedupe", {"dedupe": True}),
    "pause": ("POST", "/queue/{queue}/paused", {"paused": True}),
    "create a queue": ("POST", "/v1/queues", {"name": "new"}),
    "change a queue": ("PATCH", "/v1/queues/{queue}", {"max_workers": 7}),
    "delete a queue": ("DELETE", "/v1/queues/empty", None),
    "delete a queue of jobs": ("DELETE", "/v1/queues/{queue}?force=true", None),
    "pause queues": ("POST", "/v1/queues/actions", {"action": "pause"}),
    "create a schedule": ("POST", "/v1/cron", NAMED),
    "change a schedule": ("PATCH", "/v1/cron/nightly", {"kind": "other"}),
    "disable": ("POST", "/cron/nightly/enabled", {"enabled": False}),
    "trigger": ("POST", "/cron/nightly/trigger", {}),
    "delete a schedule": ("DELETE", "/v1/cron/nightly", None),
    "put a limit": ("PUT", "/v1/rate-limits/new", LIMIT),
    "drain": ("POST", "/v1/rate-limits/mail/drain", {}),
    "delete a limit": ("DELETE", "/v1/rate-limits/mail", None),
}
DIED = 7
CHANGED_TABLES = (
    "forge_job", "forge_queue", "forge_cron", "forge_rate_limit", "forge_request_key",
)  # fmt: skip


def _fill(storage: Storage) -> dict[str, str]:
    """Store something of everything; return what a path may name."""
    storage.queues.ensure("empty")
    storage.queues.ensure(QUEUE)
    storage.queues.change(QUEUE, {"retain_done_for_days": 0, "retain_dead_for_days": 0})
    made = ScheduleDefinition("nightly", "digest", "0 3 * * *", '{"to":"all"}')
    storage.cron.create(made)
    storage.rate_limits.put("mail", 5, 1.0)
    job_with(storage, JobStatus.DONE)
    job_with(storage, JobStatus.FAILED)
    later = NewJob("k", queue_name=QUEUE, run_at=datetime(2040, 1, 1, tzinfo=UTC))
    return {
        "queue": QUEUE,
        "dead": job_with(storage, JobStatus.DEAD),
        "later": storage.jobs.enqueue(later).id,
    }


def _change(client: FlaskClient, change: str, names: dict[str, str]) -> int:
    method, path, body = CHANGES[change]
    text = json.dumps(body)
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
        text = text.replace(f"{{{name}}}", value)
    sent = None if body is None else json.loads(text)
    return client.open(PREFIX + path, method=method, json=sent).status_code


def _records(storage: Storage) -> list[AuditRecord]:
    """Return what the trail says, the oldest first."""
    return [each.record for each in reversed(storage.audit.page(AuditFilter(), 1000))]


def _everything(sql: Sql) -> list[list[str]]:
    return [
        sorted(map(repr, sql.run(f"SELECT * FROM {table}"))) for table in CHANGED_TABLES
    ]


@contextlib.contextmanager
def _full_trail(sql: Sql) -> Iterator[None]:
    """Let the database take no further entry."""
    if sql.backend == "sqlite":
        sql.run(
            "CREATE TRIGGER full_trail BEFORE INSERT ON forge_audit BEGIN "
            "SELECT RAISE(ABORT, 'full'); END"
        )
    else:
        sql.run(
            "ALTER TABLE forge_audit ADD CONSTRAINT full_trail CHECK (false) NOT VALID"
        )
    try:
        yield
    finally:
        if sql.backend == "sqlite":
            sql.run("DROP TRIGGER full_trail")
        else:
            sql.run("ALTER TABLE forge_audit DROP CONSTRAINT full_trail")


@pytest.mark.parametrize("change", CHANGES)
def test_sec_S42_change_whose_entry_fails_is_not_stored(
    storage: Storage, sql: Sql, change: str
) -> None:
    client = client_with_token(storage, "admin")
    names = _fill(storage)
    before = _everything(sql)

    with _full_trail(sql):
        status = _change(client, change, names)

    assert status == 500
    assert _everything(sql) == before

    status = _change(client, change, names)

    assert status < 300
    assert _everything(sql) != before
    records = _records(storage)
    assert sum(record.changed for record in records) >= 1
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
        begun.append(attempt)
        return begin(database, attempt)

    monkeypatch.setattr(request, "read_body", note)
    monkeypatch.setattr(type(storage.database), "begin", note_begin)
    client = client_with_token(storage, "admin")
    names = _fill(storage)

    for change in CHANGES:
        begun.clear()
        _change(client, change, names)

    assert len(read) >= sum(body is not None for _, _, body in CHANGES.values())
    assert not any(read)


def _die_before_the_entry(url: str, change: str, names: dict[str, str]) -> None:
    """In a process of its own: change something, and end where the entry is written."""
    with mock.patch.object(units, "_parameters", side_effect=lambda _: os._exit(DIED)):
        storage = open_storage(DatabaseSettings.from_url(url))
        _change(client_with_token(storage, "admin"), change, names)


@pytest.mark.parametrize("change", ["enqueue", "pause", "delete", "cleanup", "trigger"])
def test_sec_S42_process_that_dies_before_the_entry_has_changed_nothing(
    storage: Storage, sql: Sql, database_url: str, change: str
) -> None:
    names = _fill(storage)
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


@pytest.mark.parametrize("verb", HALF_WAY)
def test_sec_S42_bulk_verb_that_fails_half_way_leaves_what_it_did(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for module in (bulk, queues):
        monkeypatch.setattr(module, "BATCH", 2)
    write = Pace.write
    begun: list[object] = []

    def fail_third(pace: Pace, *given: Any) -> object:
        begun.append(given)
        if len(begun) == 3:
            raise RuntimeError("no third one")
        return write(pace, *given)

    for _ in range(7):
        storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))
    monkeypatch.setattr(Pace, "write", fail_third)
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
