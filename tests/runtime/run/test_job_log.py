from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from flask_forge_jobs.cli.logs import JsonFormatter
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import CancelReason, JobUpdate
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.job_log import (
    JobLog,
    LineFormatter,
    LineHandler,
    job_logger,
)
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from tests.support.clocks import MovingClock
from tests.support.runtimes import claimed
from tests.support.streams import FullDisk
from tests.support.waiting import wait_until

LOGGER = job_logger.logger
LINE = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"


def ended(
    outcome: Outcome, reason: CancelReason | None = None, *, kind: str = "held"
) -> JobUpdate:
    execution = Execution(claimed(kind=kind), 0.0, started_at=1.0, ended_at=1.5)
    if reason is not None:
        execution.token.cancel(reason)
    update = OutcomeMapper(QueueSettings, None).update(execution, outcome)
    assert update is not None
    return update


def write(*updates: JobUpdate) -> None:
    clock = MovingClock()
    JobLog(clock).write(replace(each, ended_at=clock.monotonic()) for each in updates)


class CountedStream(io.StringIO):
    """A text stream that counts the calls."""

    calls = 0
    writer = ""

    def write(self, text: str) -> int:
        self.calls += 1
        self.writer = threading.current_thread().name
        return super().write(text)


class Alone:
    """A worker whose application has no handlers, so that ours is the only one.

    pytest adds its own handlers to each logger, and removes them later on.
    """

    def __init__(self, formatter: LineFormatter) -> None:
        self.level = logging.INFO
        self.stream = CountedStream()
        self.handler = LineHandler(formatter)
        self.handler.setStream(self.stream)

    def write(self, *updates: JobUpdate) -> list[str]:
        """Log; return the lines that are new."""
        before = len(self.stream.getvalue())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LOGGER, "handlers", [self.handler])
            patch.setattr(LOGGER, "propagate", False)
            LOGGER.setLevel(self.level)
            write(*updates)
        LOGGER.setLevel(logging.NOTSET)
        return self.stream.getvalue()[before:].splitlines()


@pytest.fixture(params=[LineFormatter(LINE), JsonFormatter()], ids=["text", "json"])
def alone(request: pytest.FixtureRequest) -> Alone:
    return Alone(request.param)


def test_the_traceback_stands_below_the_id(caplog: pytest.LogCaptureFixture) -> None:
    trace = "Traceback:\n  line 7\nKeyError: 'id'"
    write(ended(Failed("KeyError: 'id'", traceback=trace)))

    first, *rest = caplog.messages[0].split("\n")
    assert first.startswith("job failed: id=job-1 ")
    assert first.endswith("error=KeyError: 'id'")
    assert rest == ["    Traceback:", "      line 7", "    KeyError: 'id'"]


def test_a_failure_says_when_the_next_attempt_is_due_if_there_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(ended(Failed("busy", retry_after_s=16.29437331066711)), ended(Dead("no use")))

    later, never = caplog.messages
    assert later.endswith("attempt=1/5 run_ms=500.0 delay_s=16.3 error=busy")
    assert never.endswith("attempt=1/5 run_ms=500.0 error=no use")


def test_a_throttle_is_logged_if_it_has_a_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    write(ended(Throttled(30, reason="HTTP 429")), ended(Throttled(30)))

    (line,) = caplog.messages
    assert line.startswith("job throttled: id=")
    assert line.endswith("delay_s=30.0 error=HTTP 429")


def test_a_cancelled_job_is_information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    write(ended(Failed("stopped"), CancelReason.USER))

    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("job cancelled: id=job-1 kind=held ")


def test_failures_are_warnings_and_deaths_are_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(ended(Failed("first")), ended(Dead("second")), ended(Done()))

    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.ERROR]


def test_the_lines_of_a_batch_are_those_of_records_in_one_write(alone: Alone) -> None:
    updates = [ended(Done(), kind=kind) for kind in ("held", "two\nlines", "100%")]
    lines = alone.write(*updates)
    calls = alone.stream.calls
    alone.handler.addFilter(_at_the_time_of_the_clock)

    assert lines == alone.write(*updates)
    assert (len(lines), calls) == (3, 1)


@pytest.fixture
def many() -> list[JobUpdate]:
    """Return more jobs that were done than a caller writes itself."""
    return [ended(Done(), kind=f"k{number}") for number in range(100)]


def kinds_of(lines: list[str]) -> list[str]:
    return re.findall(r"\bkind=(\w+)", "\n".join(lines))


def test_a_thread_writes_many_lines(alone: Alone, many: list[JobUpdate]) -> None:
    alone.write(*many)
    wait_until(lambda: alone.stream.calls, "the thread has written")
    alone.handler.close()

    assert alone.stream.writer == "forge-jobs-log"
    assert alone.stream.calls == 1
    assert len(alone.stream.getvalue().splitlines()) == len(many)


def test_a_record_waits_for_the_lines_before_it(
    alone: Alone, many: list[JobUpdate]
) -> None:
    alone.handler.acquire()  # so the thread is late
    lines = alone.write(*many, ended(Failed("oops"), kind="last"), ended(Done()))
    alone.handler.release()
    alone.handler.close()

    assert kinds_of(lines) == [*(each.job.kind for each in many), "last", "held"]


def test_the_end_of_the_program_writes_the_rest(
    alone: Alone, many: list[JobUpdate]
) -> None:
    alone.handler.acquire()
    assert not alone.write(*many)
    alone.handler.close()
    alone.handler.release()

    assert len(alone.stream.getvalue().splitlines()) == len(many)


def test_a_handler_that_was_closed_writes_on(
    alone: Alone, many: list[JobUpdate]
) -> None:
    """As dictConfig() closes those that the loggers keep."""
    alone.handler.close()
    alone.write(*many)
    wait_until(lambda: alone.stream.calls == 1, "the thread has written")
    alone.handler.close()
    alone.write(*many)
    wait_until(lambda: alone.stream.calls == 2, "another one has written")
    alone.handler.close()

    assert alone.stream.writer == "forge-jobs-log"


def test_a_forked_child_leaves_the_lines_to_its_parent(
    alone: Alone, many: list[JobUpdate]
) -> None:
    alone.handler.acquire()
    alone.write(*many)
    alone.handler._pid = 0
    alone.handler.close()
    alone.handler.release()

    assert not alone.stream.getvalue()


def test_a_thread_that_is_far_behind_gets_no_more(
    alone: Alone, many: list[JobUpdate]
) -> None:
    alone.handler.acquire()
    written = [len(alone.write(*many)) for _ in range(10)]
    alone.handler.close()
    alone.handler.release()

    assert written == [0] * 8 + [900, 0]


def _at_the_time_of_the_clock(record: logging.LogRecord) -> bool:
    record.created = MovingClock().now_us() / 1_000_000
    record.msecs = 0
    return True


def test_each_line_has_the_time_of_its_own_end() -> None:
    formatter = LineFormatter(LINE)
    ends = (4.0004, 4.0009, 4.0011, 5.0, 4.5)
    done = [replace(ended(Done()), ended_at=at) for at in ends]

    lines = formatter.done_lines(done, boot_s=3.0)

    shown = [each.split(" [")[0].rpartition(":")[2] for each in lines]
    assert shown == ["07,000", "07,000", "07,001", "08,000", "07,500"]


def test_failures_stand_between_the_jobs_that_are_done(alone: Alone) -> None:
    lines = alone.write(
        ended(Done(), kind="a"),
        ended(Done(), kind="b"),
        ended(Failed("oops"), kind="c"),
        ended(Done(), kind="d"),
    )

    assert [each.split(" kind=")[1][0] for each in lines] == ["a", "b", "c", "d"]


def test_a_quiet_logger_gets_the_failures_only(alone: Alone) -> None:
    alone.level = logging.WARNING

    (line,) = alone.write(ended(Done()), ended(Failed("oops")))

    assert "job failed: " in line


class Renamed(logging.LogRecord):
    """A record of the application's own class."""

    def getMessage(self) -> str:
        return "renamed"


def add_a_filter_of_the_logger(patch: pytest.MonkeyPatch, _: Alone) -> None:
    patch.setattr(LOGGER, "filters", [lambda _: False])


def add_a_filter_of_the_handler(_: pytest.MonkeyPatch, alone: Alone) -> None:
    alone.handler.addFilter(lambda _: False)


def set_a_record_factory(patch: pytest.MonkeyPatch, _: Alone) -> None:
    patch.setattr(logging, "_logRecordFactory", Renamed)


def track_errors(patch: pytest.MonkeyPatch, _: Alone) -> None:
    patch.setattr(logging.Logger, "callHandlers", lambda *_: None)


@pytest.mark.parametrize(
    ("listen", "lines"),
    [
        (add_a_filter_of_the_logger, []),
        (add_a_filter_of_the_handler, []),
        (set_a_record_factory, ["renamed"]),
        (track_errors, []),
    ],
)
def test_an_application_that_listens_gets_records(
    monkeypatch: pytest.MonkeyPatch,
    listen: Callable[[pytest.MonkeyPatch, Alone], None],
    lines: list[str],
) -> None:
    alone = Alone(LineFormatter("%(message)s"))
    listen(monkeypatch, alone)

    assert alone.write(ended(Done())) == lines


def test_a_full_disk_stops_no_worker(
    alone: Alone, capsys: pytest.CaptureFixture[str]
) -> None:
    alone.handler.setStream(FullDisk())
    alone.write(ended(Done()))

    assert "No space left on device" in capsys.readouterr().err


def test_a_closed_pipe_stops_neither_a_worker_nor_a_task(
    alone: Alone, many: list[JobUpdate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error is where the failure would be printed, too."""
    monkeypatch.setattr("sys.stderr", FullDisk())
    alone.handler.setStream(FullDisk())
    alone.write(ended(Done()))
    alone.write(*many)
    wait_until(lambda: not alone.handler._late, "the thread has tried")
    alone.handler.setStream(alone.stream)
    lines = alone.write(*many, ended(Failed("oops"), kind="last"))

    assert kinds_of(lines)[-1] == "last"
