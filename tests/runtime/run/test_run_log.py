from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.masking import KNOWN
from flask_forge_jobs.model.run_logs import MAX_RUN_BYTES, LogLine, size_of
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.run_log import (
    LogSettings,
    RunLog,
    log_of,
    logging_as,
    receive_lines,
    reports_of,
)
from flask_forge_jobs.tasks.cancellation import CancelledError
from tests.support.clocks import MovingClock

JOB = ClaimedJob("a", "default", "noop", "{}", 0, 0, 2, 5, 0, "[]", None, claim=7)
SETTINGS = LogSettings(logging.INFO, False, KNOWN.text, MovingClock())
LINE = LogLine(0, "INFO", "shop", "x" * 100)


@pytest.fixture
def log() -> RunLog:
    return RunLog(JOB, SETTINGS)


def texts(log: RunLog) -> list[str]:
    chunk = log.unsaved()
    return [] if chunk is None else [line.text for line in chunk.lines]


def test_lines_stay_until_they_are_stored(log: RunLog) -> None:
    log.add(LINE)
    first = log.unsaved()
    log.add(LINE._replace(text="second"))
    again = log.unsaved()
    assert first is not None
    assert again is not None
    log.note_stored(first)
    rest = log.unsaved()
    log.note_stored(first)  # a second time changes nothing

    assert (first.run, first.attempt) == (JOB.run_id, 2)
    assert (first.first_line, len(first.lines)) == (0, 1)
    assert (again.first_line, len(again.lines)) == (0, 2)
    assert rest is not None
    assert (rest.first_line, [line.text for line in rest.lines]) == (1, ["second"])
    assert log.unsaved() == rest


class LockWithSuccessor:
    """A lock that another thread takes as soon as it is free."""

    def __init__(self, successor: Callable[[], object]) -> None:
        self._successor: Callable[[], object] | None = successor

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        successor, self._successor = self._successor, None
        if successor is not None:
            successor()


def test_lines_keep_their_number_if_a_heartbeat_stores_them_meanwhile(
    log: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.add(LINE)
    beaten = log.unsaved()
    assert beaten is not None
    log.add(LINE._replace(text="second"))
    lock = LockWithSuccessor(lambda: log.note_stored(beaten))
    monkeypatch.setattr(log, "_lock", lock)

    chunk = log.unsaved()

    assert chunk is not None
    assert (chunk.first_line, len(chunk.lines)) == (0, 2)


def test_the_first_64_kib_are_kept(log: RunLog) -> None:
    count = MAX_RUN_BYTES // size_of(LINE)
    for _ in range(count + 3):
        log.add(LINE)
    log.add(LINE._replace(text=""))  # would fit, but comes after those left out

    assert log.is_full
    assert texts(log) == [LINE.text] * count
    last = log.last()
    assert last is not None
    assert last.lines[-1].text == "4 more lines were left out: a run keeps 64 KiB"


def test_the_last_line_that_fits_is_kept(log: RunLog) -> None:
    spare = MAX_RUN_BYTES - size_of(LINE._replace(text=""))
    log.add(LINE._replace(text="x" * spare))
    assert not log.is_full

    log.add(LINE._replace(text=""))

    last = log.last()
    assert last is not None
    assert last.lines[-1].text == "1 more line was left out: a run keeps 64 KiB"


def test_empty_lines_count_as_well(log: RunLog) -> None:
    while not log.is_full:
        log.add(LogLine(0, "INFO", "", ""))

    assert len(texts(log)) < 3000


def test_nothing_is_added_after_the_end(log: RunLog) -> None:
    log.add(LINE)
    log.add_printed("half of")
    last = log.last()

    log.add(LINE)
    log.add_printed("late\n")
    log.add_record(logging.makeLogRecord({"msg": "late"}))

    assert last is not None
    assert [line.text for line in last.lines] == [LINE.text, "half of"]
    assert log.unsaved() == last


def test_a_log_without_lines_ends_without_a_chunk(log: RunLog) -> None:
    assert log.last() is None


def test_a_process_takes_its_lines_and_the_worker_counts_them(log: RunLog) -> None:
    for _ in range(2):
        log.add(LINE)
    log.leave_out(5)
    execution = Execution(JOB, 0.0)
    token = logging_as.set((execution, SETTINGS))
    try:
        receive_lines(*log.take())
        receive_lines(*log.take())
    finally:
        logging_as.reset(token)
    receive_lines([LINE], 0)  # of no run

    last = reports_of(execution).last_lines()
    assert last is not None
    assert len(last.lines) == 3
    assert last.lines[-1].text.startswith("5 more lines")


def test_all_threads_of_a_run_share_its_log() -> None:
    run = Execution(JOB, 0.0), SETTINGS

    assert log_of(run) is log_of(run)
    assert reports_of(run[0]).log is log_of(run)


class Interrupted:
    """Is shown when a signal interrupts its task."""

    def __str__(self) -> str:
        raise CancelledError(None)


@pytest.mark.parametrize(
    "fields", [{"msg": Interrupted()}, {"msg": "%s", "args": (Interrupted(),)}]
)
def test_an_interrupt_reaches_the_task(log: RunLog, fields: dict[str, object]) -> None:
    """An isolated task is stopped by an exception that a signal raises anywhere."""
    with pytest.raises(CancelledError):
        log.add_record(logging.makeLogRecord(fields))
