"""Objects that are left out of collections, and still looked for."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy

from flask_forge_jobs.loaded import leave_out_of_collections, objects_of


def times(engine: sqlalchemy.Engine) -> int:
    return sum(each is engine for each in objects_of(sqlalchemy.Engine))


@pytest.mark.usefixtures("_what_is_loaded_is_left_out_again")
def test_an_engine_that_is_left_out_is_still_among_all_objects() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    leave_out_of_collections()
    try:
        assert not any(each is engine for each in gc.get_objects())
        assert times(engine) == 1
    finally:
        gc.unfreeze()
        engine.dispose()
    assert times(engine) == 1


class Paused(type):
    """A class whose first look at an object lets another thread go on, to its end."""

    go_on = threading.Event()
    thread: threading.Thread

    def __subclasscheck__(cls, kind: type) -> bool:
        cls.go_on.set()
        cls.thread.join()
        return super().__subclasscheck__(kind)


class Looked(metaclass=Paused):
    """The class whose objects the test asks for."""


def test_a_look_harms_no_tuple_that_another_thread_is_making() -> None:
    is_making = threading.Event()
    made: list[tuple[int, ...]] = []

    def numbers() -> Iterator[int]:
        yield from range(5)
        is_making.set()
        Paused.go_on.wait()
        yield from range(5, 100)

    Paused.thread = thread = threading.Thread(
        target=lambda: made.append(tuple(numbers()))
    )
    looked = Looked()
    thread.start()
    is_making.wait()

    assert objects_of(Looked) == [looked]
    assert made == [tuple(range(100))]
