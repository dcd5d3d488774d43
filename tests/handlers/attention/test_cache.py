"""Facts are read once a second, however many ask."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    MigrationError,
    SchemaTooNewError,
    StorageUnavailableError,
)
from flask_forge_jobs.handlers.attention import cache
from flask_forge_jobs.handlers.attention.cache import MAX_SCOPES, Attention
from flask_forge_jobs.handlers.snapshots import KEPT_S, Snapshots
from flask_forge_jobs.model.attention import Facts
from flask_forge_jobs.storage.attention import AttentionReader
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.deadlines import deadline, left_s, within
from tests.api.faulty import faulty_storage
from tests.support.clocks import MovingClock
from tests.support.facts import AT
from tests.support.jobs import enqueue
from tests.support.runtimes import LIMIT_S
from tests.support.waiting import wait_until


class Reads:
    """Counts the reads of facts; each waits until ``go`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.has_begun = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        real = AttentionReader.facts

        def facts(reader: AttentionReader, at: datetime) -> Facts:
            self.count += 1
            self.has_begun.set()
            assert self.go.wait(LIMIT_S)
            if self.error is not None:
                raise self.error
            return real(reader, at)

        monkeypatch.setattr(AttentionReader, "facts", facts)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def memory() -> Storage:
    return open_storage(DatabaseSettings())


def attention_of(storage: Storage, clock: Clock | None = None) -> Attention:
    clock = clock or MovingClock()
    return Attention(Snapshots(storage.database, clock), clock)


def test_facts_are_read_once_a_second(memory: Storage, reads: Reads) -> None:
    clock = MovingClock()
    attention = attention_of(memory, clock)

    first = attention.report(memory)
    clock.move(KEPT_S - 0.01)
    assert attention.report(memory) is first
    clock.move(0.01)
    attention.report(memory)

    assert reads.count == 2


def test_callers_at_the_same_time_wait_for_one_read(
    memory: Storage, reads: Reads
) -> None:
    attention = attention_of(memory)
    reads.go.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(attention.report, memory) for _ in range(8)]
        assert reads.has_begun.wait(LIMIT_S)
        reads.go.set()
        reports = {id(each.result(LIMIT_S)) for each in asked}

    assert (reads.count, len(reports)) == (1, 1)


@pytest.fixture
def served(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Return a storage that takes itself for one of a server."""
    monkeypatch.setattr(Storage, "backend", "postgres")
    return memory


def test_a_thread_reads_ahead_for_its_caller(served: Storage, reads: Reads) -> None:
    attention = attention_of(served)
    reads.go.clear()
    attention.read_ahead(served)
    assert reads.has_begun.wait(LIMIT_S)  # and the caller goes on
    reads.go.set()

    attention.report(served)
    attention.read_ahead(served)
    attention.report(served)

    assert reads.count == 1


@pytest.mark.parametrize(("limit_s", "is_its_own"), [(0.5, False), (LIMIT_S, True)])
def test_the_thread_has_the_time_limit_of_its_caller_or_a_second(
    served: Storage,
    monkeypatch: pytest.MonkeyPatch,
    limit_s: float,
    *,
    is_its_own: bool,
) -> None:
    limits: list[float | None] = []
    look = cache.look

    def noted(storage: Storage, at: datetime, behind_s: float) -> Facts:
        limits.append(deadline.ends_at)
        return look(storage, at, behind_s)

    monkeypatch.setattr(cache, "look", noted)
    attention = attention_of(served)
    with within(limit_s):
        attention.read_ahead(served)
        wait_until(lambda: limits, "the thread has begun")

        [limit] = limits
        assert limit is not None
        assert (limit != deadline.ends_at) is is_its_own
        assert limit <= time.monotonic() + cache.AHEAD_S


def test_pages_at_the_same_time_wait_for_a_second_altogether(
    served: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a database that hangs, one thread after the other would have its second."""
    tries: list[float] = []

    def hang(*_: object) -> Facts:
        tries.append(left_s(LIMIT_S))
        # The database hangs as long as the caller may wait.
        time.sleep(tries[-1])
        raise StorageUnavailableError("away")

    monkeypatch.setattr(cache, "look", hang)
    monkeypatch.setattr(cache, "AHEAD_S", 0.2)
    attention = attention_of(served, SystemClock())
    threads = [attention.read_ahead(served) for _ in range(4)]
    for thread in threads:
        assert thread is not None
        thread.join()

    assert 0 < sum(tries) < 2 * cache.AHEAD_S


def test_the_caller_gets_the_error_of_its_own_try(
    served: Storage, reads: Reads
) -> None:
    reads.error = StorageUnavailableError("away")
    attention = attention_of(served)
    attention.read_ahead(served)
    assert reads.has_begun.wait(LIMIT_S)

    with pytest.raises(StorageUnavailableError):
        attention.report(served)


def test_nothing_is_read_ahead_from_a_file(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Thread", None)

    attention_of(memory).read_ahead(memory)


def test_each_caller_is_told_of_its_own_queues(memory: Storage, reads: Reads) -> None:
    enqueue(memory, queue_name="mail")
    enqueue(memory, queue_name="bank")
    attention = attention_of(memory)

    whole = attention.report(memory)
    mail = attention.report(memory, {"mail"})
    nothing = attention.report(memory, ())

    assert reads.count == 1
    assert [each.code for each in whole.sentences] == ["no_worker"]
    [sentence] = mail.sentences
    assert sentence.text.startswith("Queue mail has no worker. 1 job waits")
    assert "bank" not in str(mail)
    assert (nothing.sentences, nothing.summary.evidence["queues"]) == ([], 0)
    assert attention.report(memory, ["mail"]) is mail
    assert attention.report(memory) is whole


def test_the_number_of_kept_reports_is_bounded(memory: Storage) -> None:
    attention = attention_of(memory)

    for number in range(MAX_SCOPES + 1):
        attention.report(memory, [f"q{number}"])

    last = f"q{MAX_SCOPES}"
    assert attention.report(memory, ["q0"]) is attention.report(memory, ["q0"])
    assert attention.report(memory, [last]) is not attention.report(memory, [last])


def test_a_failure_is_not_kept(memory: Storage, reads: Reads) -> None:
    attention = attention_of(memory)
    reads.error = StorageUnavailableError("away")
    with pytest.raises(StorageUnavailableError):
        attention.report(memory)
    reads.error = None

    assert attention.report(memory).sentences == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            MigrationError(1, "step 'x' failed: /srv/secret"),
            "The schema does not fit: migrations are pending, or one has failed.",
        ),
        (SchemaTooNewError(9, 9, 1), "needs code that knows schema 9 or newer"),
    ],
)
def test_a_schema_that_does_not_fit_is_said_to_everybody(
    memory: Storage, reads: Reads, error: Exception, text: str
) -> None:
    reads.error = error
    attention = attention_of(memory)

    for queues in (None, ["mail"]):
        said = attention.report(memory, queues)

        assert said.summary.text == "1 thing needs you."
        assert [each.code for each in said.sentences] == ["schema_misfit"]
        assert text in said.sentences[0].text
        assert "secret" not in str(said)


def test_hazards_of_the_file_are_looked_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def hazards(path: Path) -> tuple[str, ...]:
        looked.append(path)
        return ("an engine checkpoints it",)

    module = "flask_forge_jobs.storage.sqlite.shared_file"
    monkeypatch.setattr(f"{module}.engine_hazards", hazards)
    storage = open_storage(DatabaseSettings(path=tmp_path / "queue.sqlite"))
    clock = MovingClock()
    attention = attention_of(storage, clock)

    first = attention.report(storage)
    clock.move(KEPT_S)
    attention.report(storage)
    storage.close()

    assert [each.code for each in first.sentences] == ["sqlite_affected"]
    assert len(looked) == 1


def test_a_database_that_is_away_is_an_error() -> None:
    storage = faulty_storage(StorageUnavailableError("away"))

    with pytest.raises(StorageUnavailableError):
        cache.look(storage, AT)
