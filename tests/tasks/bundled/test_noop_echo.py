from __future__ import annotations

import threading

import pytest

from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Throttled, ThrottleScope
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.context import TaskContext

DEADLINE_S = 10.0


class SleepRecorder(CancelToken):
    """Notes how long a task wants to sleep, and does not sleep."""

    __slots__ = ("sleeps_s",)

    def __init__(self) -> None:
        super().__init__()
        self.sleeps_s: list[float | None] = []

    def wait(self, timeout_s: float | None = None) -> bool:
        self.sleeps_s.append(timeout_s)
        return super().wait(0)


@pytest.fixture
def token(context: TaskContext) -> SleepRecorder:
    recorder = SleepRecorder()
    object.__setattr__(context, "cancel", recorder)
    return recorder


@pytest.mark.parametrize(
    ("payload", "sleeps_s"),
    [
        ("{}", [0.1]),
        ('{"sleep_ms":null}', [0.1]),
        ('{"sleep_ms":250,"extra":1}', [0.25]),
        ('{"sleep_ms":0}', []),
        ("[1,2]", [0.1]),
        ("7", [0.1]),
        ('"text"', [0.1]),
        ("null", [0.1]),
    ],
)
def test_sleeps_as_long_as_the_payload_says(
    context: TaskContext, token: SleepRecorder, payload: str, sleeps_s: list[float]
) -> None:
    assert NoopEcho().run(context, payload) == Done()
    assert token.sleeps_s == sleeps_s


def test_fails_on_demand(context: TaskContext) -> None:
    ended = NoopEcho().run(context, '{"sleep_ms":0,"fail":true,"throttle_ms":5}')

    assert ended == Failed("demo-fail")


def test_throttles_its_queue_on_demand(context: TaskContext) -> None:
    ended = NoopEcho().run(context, '{"sleep_ms":0,"fail":false,"throttle_ms":1500}')

    assert isinstance(ended, Throttled)
    assert (ended.retry_after_s, ended.scope) == (1.5, ThrottleScope.QUEUE)


def test_stops_sleeping_when_it_is_cancelled(context: TaskContext) -> None:
    ended: list[object] = []
    thread = threading.Thread(
        target=lambda: ended.append(NoopEcho().run(context, '{"sleep_ms":60000}'))
    )
    thread.start()

    context.cancel.cancel(CancelReason.SHUTDOWN)
    thread.join(DEADLINE_S)

    assert ended == [Failed("cancelled: shutdown")]


@pytest.mark.parametrize(
    "payload",
    [
        '{"sleep_ms":"soon"}',
        '{"sleep_ms":-1}',
        '{"sleep_ms":true}',
        '{"sleep_ms":1.5}',
        '{"sleep_ms":86400001}',
        '{"throttle_ms":[]}',
        '{"fail":"yes"}',
    ],
)
def test_wrong_payload_is_dead(context: TaskContext, payload: str) -> None:
    ended = NoopEcho().run(context, payload)

    assert isinstance(ended, Dead)
    assert ended.message.startswith("bad arguments: ")


@pytest.mark.parametrize("payload", ["", "{", "NaN", "[" * 100_000])
def test_damaged_payload_is_dead(context: TaskContext, payload: str) -> None:
    ended = NoopEcho().run(context, payload)

    assert isinstance(ended, Dead)
    assert ended.message.startswith("corrupt row: ")
