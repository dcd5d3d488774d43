"""The retry schedule; the cases are the reference's."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import StorageBusyError, StorageUnavailableError
from flask_forge_jobs.storage.database import (
    RETRY_DELAYS_S,
    TransientError,
    run_with_retries,
)


class Unit:
    """Fails a number of times, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.attempts: list[int] = []

    def __call__(self, attempt: int) -> str:
        self.attempts.append(attempt)
        if len(self.attempts) <= self.failures:
            raise TransientError(StorageBusyError("locked")) from OSError("driver")
        return "done"


def test_a_success_is_not_repeated() -> None:
    """ok_returns_without_retry"""
    unit, waits = Unit(0), list[float]()

    assert run_with_retries(unit, waits.append) == "done"

    assert (unit.attempts, waits) == ([0], [])


def test_a_transient_fault_is_retried_until_success() -> None:
    """transient_retries_until_success"""
    unit, waits = Unit(2), list[float]()

    assert run_with_retries(unit, waits.append) == "done"

    assert (unit.attempts, waits) == ([0, 1, 2], [0.1, 0.3])


def test_a_fault_past_the_last_delay_surfaces() -> None:
    """transient_past_last_delay_surfaces_error"""
    unit, waits = Unit(9), list[float]()

    with pytest.raises(StorageBusyError, match="locked") as caught:
        run_with_retries(unit, waits.append)

    assert (unit.attempts, tuple(waits)) == ([0, 1, 2, 3], tuple(RETRY_DELAYS_S))
    assert isinstance(caught.value.__cause__, OSError)


def test_any_other_error_returns_at_once() -> None:
    """non_transient_returns_immediately"""
    attempts: list[int] = []

    def work(attempt: int) -> None:
        attempts.append(attempt)
        raise StorageUnavailableError("full")

    with pytest.raises(StorageUnavailableError):
        run_with_retries(work, lambda _: None)

    assert attempts == [0]


def test_the_waits_stand_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    run_with_retries(Unit(1), lambda _: None)

    assert "retrying in 0.1 s: locked" in caplog.text
