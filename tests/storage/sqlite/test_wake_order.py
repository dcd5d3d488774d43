"""A worker of another process wakes up while its job is stored, and never too early."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from flask_forge_jobs.storage.sqlite.gate import WritersGate
from tests.storage.sqlite.test_gate import is_free
from tests.storage.sqlite.test_group import in_line
from tests.support.jobs import QUEUE, enqueue
from tests.support.waiting import wait_until


class WakeUps:
    """Notes each wake-up: the queue, whether the gate is free, and how many jobs are.

    It looks as another process does.
    """

    def __init__(self, path: Path) -> None:
        self.seen: list[tuple[str, bool, int]] = []
        self._path = path

    def __call__(self, queue_name: str) -> None:
        with contextlib.closing(sqlite3.connect(self._path)) as other:
            ((count,),) = other.execute("SELECT count(*) FROM forge_job")
        self.seen.append((queue_name, is_free(self._path), count))


@pytest.fixture
def path(sqlite: Storage) -> Path:
    """The file, which is open and holds one job."""
    sqlite.recorder.on_activity = lambda: None  # its flusher would commit, too
    enqueue(sqlite)
    assert sqlite.database.file is not None
    return sqlite.database.file


@pytest.fixture
def wake_ups(sqlite: Storage, path: Path) -> WakeUps:
    assert isinstance(sqlite.database, SqliteDatabase)
    sqlite.database._groups.send = noted = WakeUps(path)
    return noted


@pytest.fixture
def other_writer(path: Path) -> Iterator[sqlite3.Connection]:
    """A program that knows no gate, within a transaction."""
    with contextlib.closing(
        sqlite3.connect(path, check_same_thread=False)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_a_worker_is_woken_within_the_gate_before_the_job_is_stored(
    sqlite: Storage, wake_ups: WakeUps
) -> None:
    enqueue(sqlite)

    assert wake_ups.seen == [(QUEUE, False, 1)]


def test_a_worker_is_woken_again_behind_the_wait_for_another_program(
    sqlite: Storage, wake_ups: WakeUps, other_writer: sqlite3.Connection
) -> None:
    def end() -> None:
        wait_until(lambda: wake_ups.seen, "the job is about to be stored")
        other_writer.rollback()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(end)
        enqueue(sqlite)
        ended.result()

    assert wake_ups.seen == [(QUEUE, False, 1), (QUEUE, True, 2)]


def test_a_producer_that_waits_for_the_gate_wakes_workers_behind_its_commit(
    sqlite: Storage, path: Path, wake_ups: WakeUps
) -> None:
    with ThreadPoolExecutor(1) as pool, contextlib.closing(WritersGate(path)) as gate:
        gate.lock()
        job = pool.submit(enqueue, sqlite)
        assert isinstance(sqlite.database, SqliteDatabase)
        own = sqlite.database._state.gate
        wait_until(lambda: own.is_passed_by, "it waits for the gate")
        gate.unlock()
        job.result()

    assert wake_ups.seen == [(QUEUE, True, 2)]


def test_threads_that_share_a_commit_wake_workers_behind_it(
    sqlite: Storage, wake_ups: WakeUps
) -> None:
    with in_line(sqlite, [lambda: enqueue(sqlite)] * 3):
        pass

    assert wake_ups.seen == [(QUEUE, True, 4)]
