"""Runs the coroutine of an ``async`` task in an event loop of its own."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any


def run_coroutine(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine in its own event loop and return its result."""
    import asyncio  # here, because it loads slowly

    if not _is_in_a_loop():
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    # In a coroutine, such as an async view: a second loop needs another thread.
    with ThreadPoolExecutor(1, "forge-jobs-loop") as pool:
        return pool.submit(copy_context().run, asyncio.run, coroutine).result()


def _is_in_a_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
