from __future__ import annotations

from flask_forge_jobs.model.rate_limits import RateLimitDefinition
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import DefaultRouter
from tests.tasks.conftest import Outbox


def task(kind: str) -> Task[[], None]:
    return Task(lambda: None, kind=kind, router=DefaultRouter(), store=Outbox().store)


def test_registry_finds_a_task_by_its_kind() -> None:
    registry = TaskRegistry()
    send = task("send")
    registry.add(send)

    assert registry.get("send") is send
    assert registry.get("other") is None


def test_later_task_of_the_same_function_takes_its_place() -> None:
    registry = TaskRegistry()
    registry.add(task("send"))
    later = task("send")
    registry.add(later)

    assert registry.get("send") is later
    assert registry.kinds() == ["send"]


def test_kinds_are_sorted() -> None:
    registry = TaskRegistry()
    registry.add(task("send"))
    registry.add(NoopEcho())
    registry.add(task("archive"))

    assert registry.kinds() == ["archive", "noop_echo", "send"]


def test_later_rate_limit_of_a_scope_takes_its_place() -> None:
    registry = TaskRegistry()
    registry.add_rate_limit(RateLimitDefinition("slack", 50, 1))
    registry.add_rate_limit(RateLimitDefinition("gh", 5000, 2))
    registry.add_rate_limit(RateLimitDefinition("slack", 60, 1))

    found = [(each.scope, each.capacity) for each in registry.rate_limits()]
    assert found == [("gh", 5000), ("slack", 60)]
