from __future__ import annotations

from flask_forge_jobs.runtime.duties.heartbeat_ages import HeartbeatAges


def test_ages_count_from_the_last_change() -> None:
    ages: HeartbeatAges[str] = HeartbeatAges()

    ages.observe([("a", 1), ("b", 1)], 0.0)
    ages.observe([("a", 1), ("b", 2)], 5.0)
    ages.observe([("a", 1), ("b", 2)], 5.0)

    assert ages.older_than(10.0) == ["a"]
    assert ages.older_than(5.0) == ["a", "b"]


def test_ages_forget_what_is_gone() -> None:
    ages: HeartbeatAges[str] = HeartbeatAges()

    ages.observe([("a", 1)], 0.0)
    ages.observe([], 10.0)
    ages.observe([("a", 1)], 10.0)

    assert ages.older_than(1.0) == []


def test_ages_may_have_begun_before_the_first_look() -> None:
    ages: HeartbeatAges[str] = HeartbeatAges()

    ages.observe([("a", 1), ("b", 1)], 0.0, {"a": 7.0})
    ages.observe([("a", 1), ("b", 1)], 3.0, {"a": 90.0, "b": 90.0})

    assert ages.older_than(10.0) == ["a"]
    assert ages.older_than(3.0) == ["a", "b"]
