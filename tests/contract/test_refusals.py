"""Refused requests are counted: one entry at once, and one for the rest of a minute."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.storage import refusals as refusals_store
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.refusals import OTHERS, PERIOD_S, Refusals
from tests.support.clocks import MovingClock

RECORD = AuditRecord("ada", "jobs_delete", None, "192.0.2.1", "r-0", 403, 0, "{}")


@pytest.fixture
def refusals(storage: Storage, clock: MovingClock) -> Refusals:
    return Refusals(storage.database, storage.recorder, clock)


def _records(storage: Storage) -> list[AuditRecord]:
    entries = storage.audit.page(AuditFilter(), 9999)
    return [entry.record for entry in reversed(entries)]


def test_first_is_there_at_once_and_others_when_the_minute_is_over(
    storage: Storage, refusals: Refusals, clock: MovingClock
) -> None:
    for number in range(5):
        refusals.add(replace(RECORD, request_id=f"r-{number}"))
    refusals.flush()
    assert _records(storage) == [RECORD]
    assert refusals.is_waiting

    clock.move(PERIOD_S)
    refusals.flush()

    last = replace(RECORD, request_id="r-4", requests=4)
    assert _records(storage) == [RECORD, last]
    assert not refusals.is_waiting


def test_next_refusal_flushes_the_minute_before(
    storage: Storage, refusals: Refusals, clock: MovingClock
) -> None:
    refusals.add(RECORD)
    refusals.add(RECORD)
    clock.move(PERIOD_S)

    refusals.add(RECORD)

    assert [record.requests for record in _records(storage)] == [1, 1, 1]


@pytest.mark.parametrize(
    "change", [{"actor": "eve"}, {"action": "jobs_retry"}, {"status": 404}]
)
def test_kinds_are_told_apart(
    storage: Storage, refusals: Refusals, change: dict[str, str]
) -> None:
    other = replace(RECORD, **change)  # type: ignore[arg-type]  # one of its fields

    refusals.add(RECORD)
    refusals.add(other)

    assert _records(storage) == [RECORD, other]


def test_rows_and_memory_are_bounded(
    storage: Storage, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals_store, "MAX_KINDS", 3)

    for number in range(20):
        refusals.add(replace(RECORD, actor=f"user-{number}"))
    refusals.flush(is_last=True)

    records = _records(storage)
    assert [record.actor for record in records] == [
        "user-0", "user-1", "user-2", OTHERS, OTHERS,
    ]  # fmt: skip
    assert [record.requests for record in records] == [1, 1, 1, 1, 16]


def test_what_could_not_be_stored_is_kept(
    storage: Storage, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageUnavailableError("down")

    with monkeypatch.context() as patched:
        patched.setattr(type(storage.database), "write", refuse)
        with pytest.raises(StorageUnavailableError):
            refusals.add(RECORD)
        assert refusals.is_waiting

    refusals.flush()

    assert _records(storage) == [RECORD]


def test_storage_that_is_closed_stores_what_is_left(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    with contextlib.closing(open_storage(database_settings)) as opened:
        for _ in range(3):
            opened.refusals.add(RECORD)
        assert len(_records(storage)) == 1

    assert [record.requests for record in _records(storage)] == [1, 2]
