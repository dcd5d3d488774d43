"""A signal handler may raise, and enqueue: nothing stays open or taken, nothing hangs.

Python runs a handler where a function begins and where a call into C returns. A
profiler is called at nearly all of these places, so one that raises tries each.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import pytest

import flask_forge_jobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import InvalidInputError, StorageBusyError, StorageError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.catalogue import load_statements
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.units import Unit
from tests.support.backends import on_sqlite
from tests.support.costs import no_hang
from tests.support.jobs import QUEUE, enqueue
from tests.support.rounds import RoundsRig
from tests.support.sql import Sql

OURS = flask_forge_jobs.__path__[0]
CALLS: dict[str, Callable[[Storage], object]] = {
    "a statement": enqueue,
    "a transaction": lambda s: s.jobs.enqueue_many([NewJob("noop")] * 2),
    "a read": lambda s: s.queues.all(),
    "a snapshot": lambda s: s.job_reader.statistics(),
    "figures": lambda s: (enqueue(s), s.flusher.flush()),
}


# A permit of PostgreSQL's pool that has just been taken cannot be told from a free one.
UNGUARDED = ("Permits.acquire",)


class Place(NamedTuple):
    """Where a signal handler may run."""

    event: str
    function: str
    line: int
    caller: str


@contextlib.contextmanager
def at_each_place(work: Callable[[Place], object]) -> Iterator[None]:
    def look(frame: FrameType, event: str, _: object) -> None:
        code, back = frame.f_code, frame.f_back
        if event not in ("call", "c_return") or not code.co_filename.startswith(OURS):
            return
        caller = "" if back is None else back.f_code.co_qualname
        work(Place(event, code.co_qualname, frame.f_lineno, caller))

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def places_of(call: Callable[[], object]) -> list[Place]:
    seen: dict[Place, None] = {}
    with at_each_place(seen.setdefault):
        call()
    return list(seen)


def is_interrupted(call: Callable[[], object], place: Place) -> bool:
    """Raise KeyboardInterrupt at a place of a call; False if it is not met."""

    def interrupt(met: Place) -> None:
        if met == place:
            raise KeyboardInterrupt

    try:
        with at_each_place(interrupt):
            call()
    except KeyboardInterrupt:
        return True
    except StorageError:
        return True  # psycopg2 makes its own error of one that it meets within COPY
    return False


@pytest.fixture
def storage(database_settings: DatabaseSettings) -> Iterator[Storage]:
    """Stores that soon give up waiting for a lock or for their only connection."""
    settings = replace(
        database_settings, busy_timeout_s=2.0, pool_size=1, statement_timeout_s=5.0
    )
    with contextlib.closing(open_storage(settings)) as opened:
        # After two seconds the flusher would hold the lock, or the only connection.
        opened.recorder.on_activity = lambda: None
        yield opened


@contextlib.contextmanager
def locked(settings: DatabaseSettings) -> Iterator[None]:
    """Take the lock of writers as another process does; PostgreSQL has none."""
    if settings.path is None:
        yield
        return
    other = sqlite3.connect(settings.path, timeout=0, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def what_is_held(
    storage: Storage, settings: DatabaseSettings, thread: Executor
) -> list[str]:
    """Return what does not work after an interrupt."""
    found = []
    try:
        with locked(settings):
            pass
    except sqlite3.OperationalError as error:
        found.append(f"another process: {error}")
    try:
        thread.submit(enqueue, storage).result()
    except StorageError as error:
        found.append(f"another thread: {error}")
    try:
        enqueue(storage)
    except StorageError as error:
        found.append(f"this thread: {error}")
    return found


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_at_any_place_leaves_nothing_held(
    storage: Storage, database_settings: DatabaseSettings, name: str
) -> None:
    def call() -> object:
        return CALLS[name](storage)

    call()  # opens the database
    met, held = 0, []
    with ThreadPoolExecutor(1) as thread:
        for place in places_of(call):
            if place.function in UNGUARDED:
                continue
            met += is_interrupted(call, place)
            found = what_is_held(storage, database_settings, thread)
            held += [(place, each) for each in found]
            if held:
                break  # what comes next meets the same
        thread.submit(storage.close).result()

    assert held == []
    assert met > 20


@on_sqlite
def test_an_interrupt_just_after_a_transaction_began_rolls_it_back(
    storage: Storage,
    database_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No profiler sees this place, and most interrupts of a writer arrive there."""
    storage.open()
    when_free = SqliteConnection.when_free

    def interrupted(connection: SqliteConnection, *args: Any) -> None:
        when_free(connection, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SqliteConnection, "when_free", interrupted)
        with pytest.raises(KeyboardInterrupt):
            storage.jobs.enqueue_many([NewJob("noop")])

    with ThreadPoolExecutor(1) as thread:
        assert what_is_held(storage, database_settings, thread) == []


SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n",
    "postgres": "SELECT pg_sleep(0.3)",
}


@pytest.mark.parametrize("is_within", [True, False])
def test_what_a_handler_raises_during_a_long_statement_is_raised(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, *, is_within: bool
) -> None:
    """SQLite calls back, and Python runs the handler within that call."""
    statements = load_statements(storage.backend)
    slow = replace(statements["takes_writes"], sql=SLOW[storage.backend])
    monkeypatch.setitem(statements, "takes_writes", slow)

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    def ask() -> object:
        if is_within:
            return storage.database.read(lambda tx: tx.all("takes_writes"))
        return storage.database.read_one("takes_writes")

    storage.open()
    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            ask()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert storage.queues.all() == []
    assert enqueue(storage)


# -- a handler that enqueues -------------------------------------------------------


def wait_for_a_job(storage: Storage) -> None:
    storage.jobs.ends.wait("none", lambda: False, 0.001)


def fail_a_request(storage: Storage) -> None:
    """Change two things in one transaction, and roll it back."""
    unit = Unit(storage.database, lambda _: pytest.fail("it does more than enqueue"))
    stores = storage.within(unit)

    def work() -> NoReturn:
        stores.queues.ensure("mail")
        enqueue(stores)
        raise InvalidInputError("x", "refused")

    with contextlib.suppress(InvalidInputError):
        unit.run(work)


INTERRUPTED = CALLS | {"a request": fail_a_request, "a wait": wait_for_a_job}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_a_handler_that_enqueues_at_any_place_is_served_or_refused(
    storage: Storage, database_settings: DatabaseSettings, name: str
) -> None:
    """It never waits for what its own thread has locked."""
    answers: Counter[str] = Counter()
    stored: set[str] = set()

    def handle() -> None:
        try:
            stored.add(storage.jobs.enqueue(NewJob("handler")).id)
        except StorageBusyError as error:
            answers["refused"] += "signal handler" in str(error)

    def call() -> object:
        return INTERRUPTED[name](storage)

    dispatcher = RoundsRig(queues=(QUEUE,)).dispatcher
    listener = storage.jobs.ends.listen(dispatcher.notify)
    call()
    for place in places_of(call):
        met: list[int] = []

        def interrupt(now: Place, place: Place = place, met: list[int] = met) -> None:
            if now == place and not met:
                met.append(1)
                handle()

        with no_hang(), at_each_place(interrupt):
            call()
    listener.stop()

    rows = Sql(database_settings).run("SELECT id FROM forge_job WHERE kind = 'handler'")
    assert {job_id for (job_id,) in rows} == stored
    # A wait looks once or several times, so it has more places or fewer.
    assert len(stored) + answers["refused"] > 10
    assert stored
