from __future__ import annotations

import pytest

from flask_forge_jobs.errors import StorageBusyError, StorageUnavailableError
from flask_forge_jobs.storage.database import Faults, TransientError


class DriverError(Exception):
    """An error of a driver."""


class FaultsOfADriver(Faults):
    def _meaning(self, error: BaseException) -> Exception | None:
        if isinstance(error, StorageUnavailableError):
            return TransientError(error)
        if isinstance(error, DriverError):
            return TransientError(StorageBusyError("busy"))
        return None


def test_what_will_be_tried_again_stays_transient() -> None:
    broken = DriverError()

    with pytest.raises(TransientError) as caught, FaultsOfADriver(is_retried=True):
        raise broken

    assert isinstance(caught.value.surfaced, StorageBusyError)
    assert caught.value.__cause__ is broken


def test_what_will_not_be_tried_again_surfaces_at_once() -> None:
    broken = DriverError()

    with pytest.raises(StorageBusyError) as caught, FaultsOfADriver(is_retried=False):
        raise broken

    assert caught.value.__cause__ is broken


@pytest.mark.parametrize("is_retried", [True, False])
def test_an_error_of_ours_keeps_its_own_cause(*, is_retried: bool) -> None:
    """Raised again at the end, it must not be its own cause."""
    cause = OSError()

    with (
        pytest.raises((TransientError, StorageUnavailableError)) as caught,
        FaultsOfADriver(is_retried=is_retried),
    ):
        raise StorageUnavailableError("gone") from cause

    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("is_retried", [True, False])
def test_other_errors_pass(*, is_retried: bool) -> None:
    faults = FaultsOfADriver(is_retried=is_retried)

    with pytest.raises(KeyboardInterrupt), faults:
        raise KeyboardInterrupt
    with faults, faults:
        pass
