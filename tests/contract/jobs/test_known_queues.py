"""What a producer remembers of queues, on both backends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import InvalidInputError, QueueExistsError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.jobs.known_queues import KNOWN_QUEUE_S, KnownQueues
from tests.support.callers import Caller
from tests.support.clocks import MovingClock


def is_open(known: KnownQueues, name: str) -> bool:
    return known.open_until.get(name, 0.0) > known.clock.monotonic()


def test_a_queue_is_registered_at_the_first_look_and_remembered(
    storage: Storage,
) -> None:
    clock = MovingClock()
    known = KnownQueues(clock)

    first = known.look_up(storage.database, ["mail"])
    known.remember(["mail"], first.bounds)

    assert (first.created, first.bounds) == ({"mail"}, {})
    assert [queue.name for queue in storage.queues.all()] == ["mail"]
    assert is_open(known, "mail")
    assert not is_open(known, "other")
    assert known.look_up(storage.database, ["mail"]).created == set()


def test_a_queue_that_was_deleted_is_registered_again_after_a_while(
    storage: Storage,
) -> None:
    clock = MovingClock()
    known = KnownQueues(clock)
    known.remember(["mail"], known.look_up(storage.database, ["mail"]).bounds)
    storage.queues.delete("mail")
    assert known.look_up(storage.database, ["mail"]).created == set()

    clock.move(KNOWN_QUEUE_S)

    assert not is_open(known, "mail")
    assert known.look_up(storage.database, ["mail"]).created == {"mail"}


def test_a_bounded_queue_is_never_open_and_its_bound_is_read_again(
    storage: Storage,
) -> None:
    clock = MovingClock()
    known = KnownQueues(clock)
    storage.queues.ensure("mail")
    storage.queues.change("mail", {"max_pending": 3})

    bounds = known.look_up(storage.database, ["mail", "other"]).bounds
    known.remember(["mail", "other"], bounds)
    storage.queues.change("mail", {"max_pending": 5})

    assert bounds == {"mail": 3}
    assert (is_open(known, "mail"), is_open(known, "other")) == (False, True)
    assert known.look_up(storage.database, ["mail"]).bounds == {"mail": 3}
    clock.move(KNOWN_QUEUE_S)
    assert known.look_up(storage.database, ["mail"]).bounds == {"mail": 5}


# -- no caller makes queues without end ----------------------------------------------

BATCH = [NewJob("k", queue_name="mail"), NewJob("k", queue_name="other")]
WAYS: dict[str, Callable[[Storage], object]] = {
    "one": lambda storage: storage.jobs.enqueue(BATCH[1]),
    "many": lambda storage: storage.jobs.enqueue_many(BATCH),
    "ensure": lambda storage: storage.queues.ensure("other"),
    "create": lambda storage: storage.queues.create(QueueSettings("other")),
}


@pytest.fixture
def full(database_settings: DatabaseSettings) -> Iterator[Storage]:
    """One queue, ``mail``, and no room for another."""
    settings = replace(database_settings, max_queues=1)
    with contextlib.closing(open_storage(settings, jitter=None)) as opened:
        opened.queues.ensure("mail")
        yield opened


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_sec_S32_a_queue_too_many_is_refused(
    full: Storage, way: Callable[[Storage], object]
) -> None:
    with pytest.raises(
        InvalidInputError, match=r"1 queues, the limit set by FORGE_JOBS_MAX_QUEUES"
    ):
        way(full)

    assert [queue.name for queue in full.queues.all()] == ["mail"]
    assert full.queues.waiting(["mail", "other"]) == {"mail": 0, "other": 0}


def test_sec_S32_a_queue_too_many_is_refused_in_a_caller_s_transaction(
    full: Storage, database_settings: DatabaseSettings
) -> None:
    with (
        Caller(database_settings).connected() as connection,
        pytest.raises(InvalidInputError, match="FORGE_JOBS_MAX_QUEUES"),
    ):
        full.jobs.enqueue(BATCH[1], connection=connection)


def test_sec_S32_the_queues_that_are_there_take_in_jobs(full: Storage) -> None:
    assert full.jobs.enqueue(BATCH[0]).id
    assert not full.queues.ensure("mail")
    with pytest.raises(QueueExistsError):
        full.queues.create(QueueSettings("mail"))

    full.queues.delete_with_jobs("mail")

    assert full.queues.ensure("other")
