"""Coroutines of tasks, wherever they are called from."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from flask_forge_jobs.tasks.decorator import run_coroutine

mark: ContextVar[str] = ContextVar("mark", default="none")


async def told() -> tuple[str, int]:
    await asyncio.sleep(0)
    return mark.get(), threading.get_ident()


async def fails() -> None:
    await asyncio.sleep(0)
    raise KeyError("id")


def test_it_runs_on_the_thread_of_the_caller() -> None:
    assert run_coroutine(told()) == ("none", threading.get_ident())


def test_within_a_running_loop_it_has_a_loop_of_its_own_and_the_same_context() -> None:
    async def view() -> object:
        mark.set("the view's")
        with pytest.raises(KeyError):
            run_coroutine(fails())
        return run_coroutine(told())

    seen = asyncio.run(view())

    assert isinstance(seen, tuple)
    assert seen[0] == "the view's"
    assert seen[1] != threading.get_ident()
