"""What a producer remembers of queues, on both backends."""

from __future__ import annotations

from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.known_queues import KNOWN_QUEUE_S, KnownQueues
from tests.support.clocks import MovingClock


def test_a_queue_is_registered_at_the_first_look_and_remembered(
    storage: Storage,
) -> None:
    clock = MovingClock()
    known = KnownQueues(storage.database, clock)

    first = known.look_up(["mail"])
    known.remember(["mail"], first.bounds)

    assert (first.created, first.bounds) == ({"mail"}, {})
    assert [queue.name for queue in storage.queues.all()] == ["mail"]
    assert known.is_open("mail")
    assert not known.is_open("other")
    assert known.look_up(["mail"]).created == set()


def test_a_queue_that_was_deleted_is_registered_again_after_a_while(
    storage: Storage,
) -> None:
    clock = MovingClock()
    known = KnownQueues(storage.database, clock)
    known.remember(["mail"], known.look_up(["mail"]).bounds)
    storage.queues.delete("mail")
    assert known.look_up(["mail"]).created == set()

    clock.move(KNOWN_QUEUE_S)

    assert not known.is_open("mail")
    assert known.look_up(["mail"]).created == {"mail"}


def test_a_bounded_queue_is_never_open_and_its_bound_is_read_again(
    storage: Storage,
) -> None:
    clock = MovingClock()
    known = KnownQueues(storage.database, clock)
    storage.queues.ensure("mail")
    storage.queues.change("mail", {"max_pending": 3})

    bounds = known.look_up(["mail", "other"]).bounds
    known.remember(["mail", "other"], bounds)
    storage.queues.change("mail", {"max_pending": 5})

    assert bounds == {"mail": 3}
    assert (known.is_open("mail"), known.is_open("other")) == (False, True)
    assert known.look_up(["mail"]).bounds == {"mail": 3}
    clock.move(KNOWN_QUEUE_S)
    assert known.look_up(["mail"]).bounds == {"mail": 5}
