"""The time that a thread has left for its database calls."""

from __future__ import annotations

import threading

from flask_forge_jobs.storage.deadlines import left_s, within


def test_without_a_deadline_the_limit_stands() -> None:
    assert left_s(5.0) == 5.0


def test_within_a_deadline_no_limit_is_longer() -> None:
    with within(3.0):
        assert left_s(2.0) == 2.0
        assert left_s(5.0) <= 3.0

    assert left_s(5.0) == 5.0


def test_a_deadline_within_another_extends_nothing() -> None:
    with within(3.0):
        with within(60.0):
            assert left_s(100.0) <= 3.0
        with within(-1.0):
            assert left_s(100.0) == 0.0
        assert left_s(100.0) > 0.0


def test_a_deadline_is_that_of_its_thread() -> None:
    seen: list[float] = []

    with within(1.0):
        thread = threading.Thread(target=lambda: seen.append(left_s(5.0)))
        thread.start()
        thread.join()

    assert seen == [5.0]
