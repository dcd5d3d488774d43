from __future__ import annotations

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.limits import RateLimitDefinition
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


def test_a_task_is_found_by_its_aliases() -> None:
    registry = TaskRegistry()
    send: Task[[], None] = Task(
        lambda: None,
        kind="send",
        aliases=["mail", "post"],
        router=DefaultRouter(),
        store=Outbox().store,
    )
    registry.add(send)

    assert registry.get("mail") is registry.get("post") is send
    assert registry.kinds() == ["mail", "post", "send"]


def test_an_alias_is_taken_like_a_kind() -> None:
    forge = ForgeJobs()
    forge.task(aliases="mail")(print_all)

    with pytest.raises(InvalidInputError, match="two tasks have the kind 'mail'"):
        forge.task(kind="mail")(print_none)
    with pytest.raises(InvalidInputError, match="two tasks have the kind 'mail'"):
        forge.task(aliases=["mail"])(print_none)
    with pytest.raises(InvalidInputError, match="aliases"):
        forge.task(aliases=[""])(print_none)

    assert forge.registry.get("print_none") is None


def print_all() -> None: ...


def print_none() -> None: ...


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
