"""Large answers are composed one at a time, with pauses for others."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api import composer as module
from flask_forge_jobs.api.composer import PAUSE_S, WORK_S, Composer
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.support.clocks import MovingClock
from tests.support.threads import LIMIT_S

_DAY = "from=2025-06-15T00:00:00Z&to=2025-06-16T00:00:00Z&bucket_secs=3600"


def test_parts_are_written_in_their_order() -> None:
    composer = Composer(MovingClock())

    assert composer.compose("abc", str.encode) == [b"a", b"b", b"c"]
    assert composer.compose("", str.encode) == []


def test_others_get_a_pause_after_so_much_computing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, pauses = MovingClock(), list[float]()
    written: list[str] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        written.append("pause")
        clock.move(seconds)

    def write(part: str) -> bytes:
        written.append(part)
        clock.move(2 * WORK_S if part == "large" else 0.3 * WORK_S)
        return b""

    monkeypatch.setattr(module, "sleep", pause)
    Composer(clock).compose(["large", "a", "b", "c", "d", "e"], write)

    assert written == ["large", "pause", "a", "b", "c", "d", "pause", "e"]
    assert pauses == [PAUSE_S, PAUSE_S]


class WatchedLock:
    """A lock that notes when a thread has to wait for it."""

    def __init__(self, noted: threading.Event) -> None:
        self._noted = noted
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Take it."""
        if not self._lock.acquire(blocking=False):
            self._noted.set()
            self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        """Release it."""
        self._lock.release()


def test_one_answer_is_composed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    composer = Composer(MovingClock())
    has_tried = threading.Event()
    monkeypatch.setattr(composer, "_lock", WatchedLock(has_tried))
    written: list[str] = []

    def write(part: str) -> bytes:
        written.append(part)
        has_tried.set()
        return b""

    second = threading.Thread(target=composer.compose, args=("c", write))

    def write_first(part: str) -> bytes:
        if part == "a":
            second.start()
        assert has_tried.wait(LIMIT_S)
        written.append(part)
        return b""

    composer.compose("ab", write_first)
    second.join(LIMIT_S)

    assert written == ["a", "b", "c"]


def test_an_answer_that_fails_lets_the_next_one_begin() -> None:
    composer = Composer(MovingClock())
    with pytest.raises(UnicodeEncodeError):
        composer.compose("\ud800", str.encode)

    assert composer.compose("a", str.encode) == [b"a"]


@pytest.mark.parametrize(
    "path", [f"/v1/gauges?{_DAY}", f"/v1/series?by=queue&{_DAY}", "/v1/cron/firings"]
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_large_answers_of_reads_are_composed(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    storage.queues.ensure("mail")
    daily = ScheduleDefinition(name="daily", kind="send", cron_expr="0 0 * * *")
    storage.cron.create(daily)
    written: list[bytes] = []
    real = Composer.compose

    def compose(*arguments: Any) -> list[bytes]:
        written.extend(found := real(*arguments))
        return found

    monkeypatch.setattr(Composer, "compose", compose)

    answer = client.get(f"{PREFIX}{path}")

    assert answer.status_code == 200
    (part,) = written
    assert part in answer.data
    assert isinstance(answer.json, list | dict)
