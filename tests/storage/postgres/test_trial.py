"""Whether commits come back, without waiting for one that does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.storage.postgres import trial as trial_module
from flask_forge_jobs.storage.postgres.faults import NotTriedError
from flask_forge_jobs.storage.postgres.trial import Trial
from tests.support.threads import LIMIT_S, run_together
from tests.support.waiting import wait_until

NEVER_S = 0.0


class Server:
    """Answers a commit once a test lets it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.count = 0
        self.error: Exception | None = None
        self.takes_writes = True

    def commit(self) -> bool:
        self.count += 1
        assert self.answers.wait(LIMIT_S)
        if self.error is not None:
            raise self.error
        return self.takes_writes


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def trial(server: Server) -> Iterator[Trial]:
    found = Trial(server.commit)
    yield found
    server.answers.set()
    found.close()


@pytest.mark.parametrize("takes_writes", [True, False])
def test_the_answer_is_that_of_the_server(
    server: Server, trial: Trial, *, takes_writes: bool
) -> None:
    server.takes_writes = takes_writes

    assert trial.takes_writes(time.monotonic(), LIMIT_S) is takes_writes


def test_a_fresh_answer_counts_and_an_older_one_does_not(
    server: Server, trial: Trial
) -> None:
    since = time.monotonic()
    for _ in range(2):
        trial.takes_writes(since, LIMIT_S)
    assert server.count == 1

    trial.takes_writes(time.monotonic(), LIMIT_S)

    assert server.count == 2


def test_several_wait_for_one_trial(server: Server, trial: Trial) -> None:
    since = time.monotonic()

    run_together([lambda: trial.takes_writes(since, LIMIT_S)] * 4)

    assert server.count == 1


def test_nobody_waits_for_a_server_that_stays_silent(
    server: Server, trial: Trial
) -> None:
    server.answers.clear()
    since = time.monotonic()

    for _ in range(2):
        with pytest.raises(NotTriedError, match="has not answered for"):
            trial.takes_writes(since, NEVER_S)
        with pytest.raises(NotTriedError):
            trial.check(NEVER_S)
    server.answers.set()

    assert trial.takes_writes(since, LIMIT_S)
    assert server.count == 1
    trial.check(NEVER_S)


def test_a_session_may_take_longer_than_the_answer(
    server: Server, trial: Trial
) -> None:
    server.answers.clear()
    since = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(trial.takes_writes, since, NEVER_S, LIMIT_S)
        wait_until(lambda: server.count == 1, "it tries")
        trial.check(NEVER_S, LIMIT_S)
        trial.note_session(has_one=True)

        with pytest.raises(NotTriedError, match="has not answered for"):
            waiting.result(LIMIT_S)
    with pytest.raises(NotTriedError):
        trial.check(NEVER_S, LIMIT_S)
    trial.note_session(has_one=False)
    trial.check(NEVER_S, LIMIT_S)


def test_a_failure_is_told_for_a_while(
    server: Server, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.error = StorageUnavailableError("refused")

    with pytest.raises(StorageUnavailableError, match="refused"):
        trial.takes_writes(time.monotonic(), LIMIT_S)
    with pytest.raises(NotTriedError, match="refused"):
        trial.check(LIMIT_S)
    monkeypatch.setattr(trial_module, "FRESH_S", 0.0)
    trial.check(LIMIT_S)
    server.error = None

    assert trial.takes_writes(time.monotonic(), LIMIT_S)


def test_an_odd_failure_is_logged_and_hides_its_text(
    server: Server, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = ZeroDivisionError("secret")

    with pytest.raises(StorageError, match=r"tried: ZeroDivisionError$"):
        trial.takes_writes(time.monotonic(), LIMIT_S)

    assert caplog.messages == ["cannot try a commit"]


def test_without_threads_calls_go_on(
    server: Server, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert trial.takes_writes(time.monotonic(), LIMIT_S)
    assert server.count == 0
