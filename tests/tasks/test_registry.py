from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs import ForgeJobs, InvalidInputError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.limits import RateLimitDefinition
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.decorator import Task, TaskHome
from flask_forge_jobs.tasks.options import JobOptions
from flask_forge_jobs.tasks.registry import TaskRegistry, is_same, job_of_kind, place_of
from flask_forge_jobs.tasks.routing import DefaultRouter
from tests.tasks.conftest import Outbox


def task(kind: str) -> Task[[], None]:
    return Task(
        lambda: None,
        kind=kind,
        home=TaskHome(DefaultRouter(), Outbox().store, Outbox().store_many),
    )


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
        home=TaskHome(DefaultRouter(), Outbox().store, Outbox().store_many),
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


def test_jobs_that_share_options_are_copies_of_one() -> None:
    registry, router = TaskRegistry(), DefaultRouter()

    def made(**given: object) -> NewJob:
        return job_of_kind(registry, router, "other", {"n": 1}, **given)

    first, *others = [
        made(queue="mail", priority=3, max_attempts=2, run_at=None) for _ in range(3)
    ]
    assert others == [first, first]
    assert first == JobOptions("mail", 3, max_attempts=2).new_job(
        "other", '{"n":1}', router
    )
    assert made(queue="mail").priority == 0
    assert made(queue="mail", dedupe_key="k").dedupe_key == "k"
    for wrong in ({"queue": "a,b"}, {"queue": "mail", "priority": 2**40}):
        for _ in range(2):
            with pytest.raises(InvalidInputError):
                made(**wrong)


def test_a_job_takes_the_options_of_the_task_that_is_registered_now() -> None:
    registry, router = TaskRegistry(), DefaultRouter()
    attempts = []
    for options in (JobOptions(), JobOptions(max_attempts=9)):
        function = task("send").function
        home = TaskHome(router, Outbox().store, Outbox().store_many)
        registry.add(Task(function, kind="send", home=home, options=options))
        job = job_of_kind(registry, router, "send", {}, queue="mail")
        attempts.append(job.max_attempts)

    assert attempts == [5, 9]


def test_the_templates_of_jobs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_forge_jobs.tasks.registry._MAX_TEMPLATES", 2)
    registry = TaskRegistry()

    for number in range(9):
        job_of_kind(registry, DefaultRouter(), f"k{number}", {}, queue="mail")

    assert len(registry._templates) <= 2


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


def shop(forge: ForgeJobs) -> Any:
    """What an application factory does each time."""

    @forge.task
    def send(name: str) -> str:
        return name

    return send


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgets ``functools.wraps``."""

    def wrapper(**arguments: Any) -> Any:
        return function(**arguments)

    return wrapper


def test_two_functions_of_one_kind_are_refused_by_place() -> None:
    forge = ForgeJobs()
    first = shop(forge)

    with pytest.raises(InvalidInputError) as raised:

        @forge.task
        def send(text: str) -> str:
            return text

    message = str(raised.value)
    assert "'send'" in message
    assert "kind=" in message
    assert f"{__name__}.shop.<locals>.send ({__file__}:" in message
    assert f"{raised.value.field}: " in message
    name = "test_two_functions_of_one_kind_are_refused_by_place.<locals>.send"
    assert f"{__name__}.{name} ({__file__}:" in message
    assert forge.registry.get("send") is first


def test_two_functions_of_one_name_in_one_place_are_refused(tmp_path: Path) -> None:
    """A function that was copied and not renamed."""
    source = "def send(): return 1\n\ndef other(): pass\n\ndef send_(): return 2\n"
    scope: dict[str, Any] = {"__name__": "copied"}
    exec(compile(source.replace("send_", "send"), tmp_path / "c.py", "exec"), scope)
    second = scope["send"]
    exec(compile(source, tmp_path / "c.py", "exec"), scope)
    forge = ForgeJobs()
    forge.task(scope["send"])

    with pytest.raises(InvalidInputError, match=r"c\.py:1\).*c\.py:5\)"):
        forge.task(second)


def test_a_kind_of_its_own_is_the_way_out() -> None:
    forge = ForgeJobs()
    shop(forge)

    @forge.task(kind="send_text")
    def send(text: str) -> str:
        return text

    assert forge.registry.kinds() == ["send", "send_text"]


def test_a_factory_that_is_called_again_takes_the_place() -> None:
    forge = ForgeJobs()
    first, second = shop(forge), shop(forge)

    assert first is not second
    assert forge.registry.get("send") is second


def test_a_module_that_is_loaded_again_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reloaded_tasks.py").write_text("def send(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("reloaded_tasks")
    forge = ForgeJobs()
    first = forge.task(module.send)
    second = forge.task(importlib.reload(module).send)
    del sys.modules["reloaded_tasks"]

    assert first.function is not second.function
    assert forge.registry.get("send") is second


def test_a_function_may_be_registered_twice() -> None:
    """And with other options, of which the later ones count."""
    forge = ForgeJobs()

    def send() -> None: ...

    forge.task(send)
    later = forge.task(priority=7)(send)

    assert forge.registry.get("send") is later


def test_functions_behind_one_decorator_are_told_apart() -> None:
    forge = ForgeJobs()

    def send() -> None: ...

    def archive() -> None: ...

    forge.task(kind="x")(loud(send))
    forge.task(kind="x")(loud(send))
    with pytest.raises(InvalidInputError, match="'x'"):
        forge.task(kind="x")(loud(archive))
    with pytest.raises(InvalidInputError, match=r"<locals>\.archive"):
        forge.task(kind="x")(functools.wraps(archive)(loud(archive)))


def test_tasks_without_a_function_are_the_same_by_class() -> None:
    assert is_same(NoopEcho(), NoopEcho())
    assert not is_same(NoopEcho(), shop(ForgeJobs()))
    assert place_of(NoopEcho()) == "flask_forge_jobs.tasks.bundled.noop_echo.NoopEcho"


def test_a_cell_that_is_not_bound_yet_is_left_out() -> None:
    def make() -> Callable[[], object]:
        def inner() -> object:
            return later

        if len(__name__) == 0:
            later = 1
        return inner

    assert is_same(make(), make())
