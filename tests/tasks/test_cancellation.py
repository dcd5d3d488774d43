from __future__ import annotations

import threading

import pytest

from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.tasks.cancellation import CancelledError, CancelToken

DEADLINE_S = 10.0


def test_token_starts_untripped() -> None:
    token = CancelToken()

    assert not token.is_cancelled
    assert token.reason is None
    token.raise_if_cancelled()


def test_first_reason_wins() -> None:
    """The reason decides how the run ends."""
    token = CancelToken()

    assert token.cancel(CancelReason.USER)
    assert not token.cancel(CancelReason.SHUTDOWN)
    assert token.reason is CancelReason.USER


@pytest.mark.parametrize("reason", CancelReason)
def test_raise_if_cancelled_carries_the_reason(reason: CancelReason) -> None:
    token = CancelToken()
    token.cancel(reason)

    with pytest.raises(CancelledError, match=f"cancelled: {reason}") as caught:
        token.raise_if_cancelled()

    assert caught.value.reason is reason


def test_wait_returns_at_once_when_tripped() -> None:
    token = CancelToken()
    token.cancel(CancelReason.TIMEOUT)

    assert token.wait(DEADLINE_S)
    assert token.wait(None)


def test_wait_gives_up_after_its_time() -> None:
    assert not CancelToken().wait(0.001)
    assert not CancelToken().wait(0)


def test_every_waiter_wakes_when_the_token_trips() -> None:
    token = CancelToken()
    results: list[bool] = []
    ready = threading.Barrier(5)

    def wait() -> None:
        ready.wait(DEADLINE_S)
        results.append(token.wait(DEADLINE_S))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait(DEADLINE_S)
    token.cancel(CancelReason.SHUTDOWN)
    for thread in threads:
        thread.join(DEADLINE_S)

    assert results == [True] * 4


def test_only_one_of_many_cancels_is_the_first() -> None:
    token = CancelToken()
    ready = threading.Barrier(8)
    firsts: list[bool] = []

    def cancel() -> None:
        ready.wait(DEADLINE_S)
        firsts.append(token.cancel(CancelReason.USER))

    threads = [threading.Thread(target=cancel) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert sorted(firsts) == [False] * 7 + [True]


def test_a_listener_is_called_once_and_only_within_its_block() -> None:
    token, late = CancelToken(), CancelToken()
    calls: list[str] = []

    with token.heard_by(lambda: calls.append("in time")):
        token.cancel(CancelReason.USER)
        token.cancel(CancelReason.TIMEOUT)
    with token.heard_by(lambda: calls.append("had tripped")):
        pass
    with late.heard_by(lambda: calls.append("never")):
        pass
    late.cancel(CancelReason.USER)

    assert calls == ["in time", "had tripped"]
