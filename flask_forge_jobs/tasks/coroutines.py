"""Runs the coroutine of an ``async`` task to its end."""

from __future__ import annotations

from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def run_coroutine(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine in an event loop of its own and return what it returns."""
    # Most workers never need it, and it is slow to import.
    import asyncio

    if not _is_in_a_loop():
        return asyncio.run(coroutine)
    # Called by a coroutine, such as an async view: a second loop needs another thread.
    with ThreadPoolExecutor(1, "forge-jobs-loop") as pool:
        return pool.submit(copy_context().run, asyncio.run, coroutine).result()


def _is_in_a_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
