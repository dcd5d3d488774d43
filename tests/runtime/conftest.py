"""Workers read and write through the stores, which have tests on both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.backends import backend
from tests.support.runtimes import HeldTask

__all__ = ["backend"]


@pytest.fixture
def held() -> Iterator[HeldTask]:
    """A task that runs until it is released or asked to stop."""
    task = HeldTask()
    yield task
    task.release.set()


@pytest.fixture
def stubborn() -> Iterator[HeldTask]:
    """The same, but it does not stop when it is asked."""
    task = HeldTask("stubborn", obeys=False)
    yield task
    task.release.set()
