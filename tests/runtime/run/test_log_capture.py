"""What a task logs is kept with its job, on both backends, with real workers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.run_logs import CUT, MAX_LINE_BYTES, MAX_RUN_BYTES
from flask_forge_jobs.runtime.inline import InlineWorker
from flask_forge_jobs.runtime.run import log_capture
from flask_forge_jobs.runtime.run.run_log import log_of, logged_run
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.coroutines import run_coroutine
from tests.support.runtimes import (
    LIMIT_S,
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_status,
)
from tests.support.waiting import wait_until

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"])
logger = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def _as_python_starts() -> Iterator[None]:
    """Give the root logger the level that it has without any set-up."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.WARNING)
    yield
    root.setLevel(before)


@contextlib.contextmanager
def working(
    storage: Storage, *tasks: HeldTask | QuickTask, **options: Any
) -> Iterator[None]:
    """Run a worker that keeps lines."""
    runtime = QueueRuntime(storage, registry_of(*tasks), jitter=None)
    handle = runtime.with_queues(["default"]).with_log_lines(**options).start()
    try:
        yield
    finally:
        handle.shutdown_graceful(LIMIT_S)


def lines_of(storage: Storage, job_id: str) -> list[tuple[str, str, str]]:
    """Return level, logger and text of each line of a job."""
    lines, is_all, _ = storage.logs.page(job_id, 0, -1, 10_000)
    assert is_all
    return [(line.level, line.logger, line.text) for line in lines]


def texts_of(storage: Storage, job_id: str) -> list[str]:
    """Return the texts of the lines of a job."""
    return [text for _, _, text in lines_of(storage, job_id)]


def logged_by(
    storage: Storage, function: Callable[[TaskContext], object], **options: Any
) -> list[tuple[str, str, str]]:
    """Run a task once and return its lines."""
    with working(storage, QuickTask("noisy", function), **options):
        job_id = add(storage, "noisy")
        wait_for_status(storage, job_id, JobStatus.DONE)
    return lines_of(storage, job_id)


class Records(logging.Handler):
    """Keeps the messages that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def handler_of(name: str | None = None) -> Iterator[Records]:
    """Add a handler to a logger."""
    handler, owner = Records(), logging.getLogger(name)
    owner.addHandler(handler)
    try:
        yield handler
    finally:
        owner.removeHandler(handler)


# -- which lines -------------------------------------------------------------------


def test_lines_have_level_logger_and_text(storage: Storage) -> None:
    def work(_: TaskContext) -> None:
        logger.debug("too low")
        logger.info("order %s of %s", 7, "Ada")
        logging.getLogger("urllib3.connectionpool").warning("slow")
        logging.getLogger().error("of the root")

    assert logged_by(storage, work) == [
        ("INFO", "shop.orders", "order 7 of Ada"),
        ("WARNING", "urllib3.connectionpool", "slow"),
        ("ERROR", "root", "of the root"),
    ]


@on_sqlite
def test_handlers_get_only_what_they_would_get_anyway(storage: Storage) -> None:
    def work(_: TaskContext) -> None:
        logger.info("quiet")
        logger.warning("loud")

    with handler_of() as handler:
        lines = logged_by(storage, work)

    assert [text for _, _, text in lines] == ["quiet", "loud"]
    assert "loud" in handler.messages
    assert "quiet" not in handler.messages


@on_sqlite
def test_a_level_that_is_set_on_a_logger_counts(storage: Storage) -> None:
    """As SQLAlchemy sets one, so that its statements do not fill the lines."""
    noisy = logging.getLogger("noisy_library")
    noisy.setLevel(logging.WARNING)

    def work(_: TaskContext) -> None:
        logging.getLogger("noisy_library.engine").info("SELECT 1")
        logging.getLogger("noisy_library.engine").warning("slow")

    assert [text for _, _, text in logged_by(storage, work)] == ["slow"]


@on_sqlite
def test_disabled_loggers_and_levels_stay_disabled(storage: Storage) -> None:
    off = logging.getLogger("switched.off")

    def work(_: TaskContext) -> None:
        off.disabled = True
        off.error("disabled")
        off.disabled = False
        logging.disable(logging.INFO)
        logger.info("disabled for all")
        logging.disable(logging.NOTSET)

    assert logged_by(storage, work) == []


@on_sqlite
def test_filters_of_a_logger_come_first(storage: Storage) -> None:
    shy = logging.getLogger("shy")

    def work(_: TaskContext) -> None:
        shy.addFilter(lambda record: "secret" not in record.getMessage())
        shy.info("a secret")
        shy.info("in the open")

    assert [text for _, _, text in logged_by(storage, work)] == ["in the open"]


@on_sqlite
@pytest.mark.parametrize(
    ("level", "kept"),
    [
        (logging.DEBUG, ["debug", "info", "warning"]),
        (logging.WARNING, ["warning"]),
        (None, []),
    ],
)
def test_the_level_is_a_setting(
    storage: Storage, level: int | None, kept: list[str]
) -> None:
    def work(_: TaskContext) -> None:
        logger.debug("debug")
        logger.info("info")
        logger.warning("warning")

    assert [text for _, _, text in logged_by(storage, work, level=level)] == kept


@on_sqlite
def test_our_own_loggers_are_kept_from_a_warning_on(storage: Storage) -> None:
    ours = get_logger("flask_forge_jobs.storage")

    def work(_: TaskContext) -> None:
        ours.info("routine")
        ours.warning("slow")

    assert logged_by(storage, work) == [("WARNING", "flask_forge_jobs.storage", "slow")]


@on_sqlite
def test_lines_outside_of_runs_are_not_kept(storage: Storage) -> None:
    held = HeldTask()
    with working(storage, held):
        job_id = add(storage, "held")
        held.wait_for_start()
        logger.error("of the web process around it")
        held.release.set()
        wait_for_status(storage, job_id, JobStatus.DONE)

    assert lines_of(storage, job_id) == []


@on_sqlite
def test_nothing_stays_wrapped(storage: Storage) -> None:
    attributes = [
        (logging.Logger, "isEnabledFor"),
        (logging.Logger, "callHandlers"),
        (threading.Thread, "start"),
        (ThreadPoolExecutor, "submit"),
        (sys, "stdout"),
    ]
    before = [getattr(owner, name) for owner, name in attributes]

    with working(storage, QuickTask(), prints=True):
        within = [getattr(owner, name) for owner, name in attributes]

    assert not any(old is new for old, new in zip(before, within, strict=True))
    assert [getattr(owner, name) for owner, name in attributes] == before
    with working(storage, QuickTask(), level=None, prints=True):
        assert [getattr(owner, name) for owner, name in attributes] == before


# -- whose lines -------------------------------------------------------------------


def test_each_attempt_has_its_own_lines(storage: Storage) -> None:
    def work(context: TaskContext) -> object:
        logger.info("attempt %s", context.attempt)
        return Failed("no", 0.0) if context.attempt == 1 else None

    with working(storage, QuickTask("twice", work)):
        job_id = add(storage, "twice")
        wait_for_status(storage, job_id, JobStatus.DONE)

    lines, *_ = storage.logs.page(job_id, 0, -1, 10)
    assert [(line.run, line.attempt, line.number, line.text) for line in lines] == [
        (1, 1, 0, "attempt 1"),
        (2, 2, 0, "attempt 2"),
    ]


@on_sqlite
def test_threads_of_a_task_log_for_it(storage: Storage) -> None:
    def work(_: TaskContext) -> None:
        class Own(threading.Thread):
            def run(self) -> None:
                logger.info("own")

        for thread in (
            threading.Thread(target=logger.info, args=("plain",)),
            Own(),
            threading.Timer(0.0, logger.info, ("timer",)),
        ):
            thread.start()
            thread.join()
            assert "run" not in vars(thread)

    texts = [text for _, _, text in logged_by(storage, work)]

    assert texts == ["plain", "own", "timer"]


@on_sqlite
def test_the_scope_of_a_run_logs_for_it(storage: Storage) -> None:
    """It is the application's context, whose functions at its end log, too."""

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        logger.info("enters")
        yield
        logger.info("leaves")

    runtime = QueueRuntime(storage, registry_of(QuickTask("quick")), scope=scope)
    handle = runtime.with_queues(["default"]).with_log_lines().start()
    try:
        job_id = add(storage, "quick")
        wait_for_status(storage, job_id, JobStatus.DONE)
    finally:
        handle.shutdown_graceful(LIMIT_S)

    assert texts_of(storage, job_id) == ["enters", "leaves"]


@on_sqlite
def test_a_job_that_runs_inline_logs_for_the_run_around_it(storage: Storage) -> None:
    inner = QuickTask("inner", lambda _: logger.info("inner"))
    inline = InlineWorker(QueueRuntime(storage, registry_of(inner)).plan)

    def work(_: TaskContext) -> None:
        assert inline.run_one(add(storage, "inner", queue="other")) is not None
        logger.info("outer")

    texts = [text for _, _, text in logged_by(storage, work)]

    assert texts == ["inner", "outer"]


@on_sqlite
def test_a_thread_of_a_pool_logs_for_whoever_submits(storage: Storage) -> None:
    """Its only thread starts within the first job, and works for the others, too."""
    has_logged, may_end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def work(context: TaskContext) -> None:
            pool.submit(logger.info, "%s", context.job_id).result()
            has_logged.set()
            assert may_end.wait(LIMIT_S)

        with working(storage, QuickTask("pooled", work)):
            ids = [add(storage, "pooled") for _ in range(3)]
            assert has_logged.wait(LIMIT_S)
            pool.submit(logger.warning, "of nobody").result()
            may_end.set()
            for job_id in ids:
                wait_for_status(storage, job_id, JobStatus.DONE)

    assert [texts_of(storage, job_id) for job_id in ids] == [[each] for each in ids]


def test_a_thread_that_outlives_its_attempt_writes_no_more(storage: Storage) -> None:
    may_log, has_logged = threading.Event(), threading.Event()

    def late() -> None:
        assert may_log.wait(LIMIT_S)
        logger.info("late")
        has_logged.set()

    def work(context: TaskContext) -> object:
        if context.attempt == 1:
            threading.Thread(target=late).start()
            logger.info("first")
            return Failed("no", 0.0)
        may_log.set()
        assert has_logged.wait(LIMIT_S)
        logger.info("second")
        return None

    with working(storage, QuickTask("stray", work)):
        job_id = add(storage, "stray")
        wait_for_status(storage, job_id, JobStatus.DONE)

    assert texts_of(storage, job_id) == ["first", "second"]


@on_sqlite
def test_an_abandoned_run_writes_no_more(storage: Storage) -> None:
    """Its thread goes on while the next attempt runs."""
    goes_on, has_gone_on = threading.Event(), threading.Event()

    def work(context: TaskContext) -> None:
        logger.info("attempt %s", context.attempt)
        if context.attempt == 1:
            assert goes_on.wait(LIMIT_S)
            logger.info("of an abandoned run")
            has_gone_on.set()
        else:
            goes_on.set()
            assert has_gone_on.wait(LIMIT_S)

    runtime = QueueRuntime(
        storage,
        registry_of(QuickTask("deaf", work, timeout_s=0.3)),
        jitter=None,
        cancel_grace_s=0.0,
    )
    handle = runtime.with_queues(["default"]).start()
    job_id = add(storage, "deaf", timeout_s=0.3)
    wait_until(
        lambda: storage.job_reader.get(job_id).status is JobStatus.FAILED, "timed out"
    )
    assert storage.job_admin.run_now(job_id)
    wait_until(has_gone_on.is_set, "the abandoned run has logged")
    wait_for_status(storage, job_id, JobStatus.DONE)
    handle.shutdown_graceful(LIMIT_S)

    assert texts_of(storage, job_id) == ["attempt 1", "attempt 2"]


@on_sqlite
def test_coroutines_log_for_their_task(storage: Storage) -> None:
    async def part(name: str) -> None:
        await asyncio.to_thread(logger.info, "%s in a thread", name)
        logger.info("%s in the loop", name)

    async def whole() -> None:
        await asyncio.gather(part("one"))
        await asyncio.create_task(part("two"))

    texts = [
        text for _, _, text in logged_by(storage, lambda _: run_coroutine(whole()))
    ]

    assert texts == [
        "one in a thread",
        "one in the loop",
        "two in a thread",
        "two in the loop",
    ]


# -- what is kept ------------------------------------------------------------------


@on_sqlite
def test_a_traceback_belongs_to_its_line(storage: Storage) -> None:
    def work(_: TaskContext) -> None:
        try:
            {"name": 1}["id"]
        except KeyError:
            logger.exception("cannot read it")

    ((level, _, text),) = logged_by(storage, work)

    assert level == "ERROR"
    assert text.startswith("cannot read it\nTraceback (most recent call last):\n")
    assert text.endswith("KeyError: 'id'")


@on_sqlite
def test_the_name_of_a_logger_is_masked(storage: Storage) -> None:
    named = logging.getLogger("tenant password=hunter2hunter2")
    task = QuickTask(function=lambda _: named.warning("hello"))
    with working(storage, task):
        job_id = add(storage, "quick")
        wait_for_status(storage, job_id, JobStatus.DONE)

    assert [name for _, name, _ in lines_of(storage, job_id)] == [
        "tenant password=[redacted]"
    ]


def test_secrets_are_masked(storage: Storage, sql: Any) -> None:
    def work(_: TaskContext) -> None:
        logger.info("password=%s", "hunter2hunter2")
        logger.info("long %s token=hunter2hunter2", "x" * 3 * MAX_LINE_BYTES)
        print("secret: hunter2hunter2")  # noqa: T201
        try:
            int("password=hunter2hunter2")
        except ValueError:
            logger.exception("token=hunter2hunter2")

    logged_by(storage, work, prints=True)

    ((stored,),) = sql.run("SELECT lines FROM forge_log")
    assert "hunter2" not in stored
    assert stored.count("[redacted]") == 5


@on_sqlite
def test_a_long_line_is_cut_and_says_so(storage: Storage) -> None:
    def work(_: TaskContext) -> None:
        logger.info("ä" * MAX_LINE_BYTES)
        logger.info("x" * MAX_LINE_BYTES)

    (_, _, cut), (_, _, whole) = logged_by(storage, work)

    assert cut.endswith(f"ä{CUT}")
    assert MAX_LINE_BYTES - 2 <= len(cut.encode()) <= MAX_LINE_BYTES
    assert whole == "x" * MAX_LINE_BYTES


def test_a_million_lines_are_bounded_and_counted(storage: Storage) -> None:
    count = 100_000

    def work(_: TaskContext) -> None:
        for number in range(count):
            logger.info("line %s", number)
        logger.warning("last")

    lines = logged_by(storage, work)

    kept = len(lines) - 1
    assert [text for _, _, text in lines[:-1]] == [f"line {n}" for n in range(kept)]
    level, _, last = lines[-1]
    assert (level, last) == (
        "WARNING",
        f"{count + 1 - kept} more lines were left out: a run keeps 64 KiB",
    )
    assert sum(len(text) for _, _, text in lines) < MAX_RUN_BYTES


class Broken:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("broken")


class Recursive:
    """Logs while it is shown."""

    def __str__(self) -> str:
        logger.warning("shown %s", Recursive.__name__)
        return "recursive"


@on_sqlite
def test_bad_records_do_no_harm(storage: Storage) -> None:
    class Template(str):
        __slots__ = ()

        def __mod__(self, other: object) -> Any:
            return Broken()

    def work(_: TaskContext) -> None:
        logger.info("%s and %s", 1)  # noqa: PLE1206
        logger.info(Broken())
        logger.info("%s", Broken())
        logger.info(Template("x"), 1)
        logger.info("half \ud83d NUL \x00 escape \x1b[31m\r\nnext\tline")
        logger.info("%s", Recursive())
        logging.getLogger("x" * 500).info("long name")
        logger.log(27, "own level")
        logger.handle(
            logging.makeLogRecord({"created": 1e300, "msg": "far", "levelno": 40})
        )

    lines = logged_by(storage, work)

    assert [text for _, _, text in lines] == [
        "%s and %s (its arguments do not fit: TypeError)",
        "a log record that cannot be shown: RuntimeError",
        "%s (its arguments do not fit: RuntimeError)",
        "a log record that cannot be shown: TypeError",
        "half \\ud83d NUL \\x00 escape \\x1b[31m\nnext\tline",
        "recursive",
        "long name",
        "own level",
        "far",
    ]
    assert len(lines[6][1]) < 200
    assert lines[7][0] == "Level 27"


# -- when it is written ------------------------------------------------------------


def test_lines_are_stored_while_the_task_runs(storage: Storage) -> None:
    goes_on = threading.Event()

    def work(_: TaskContext) -> None:
        logger.info("begun")
        assert goes_on.wait(LIMIT_S)
        logger.info("ended")

    with working(storage, QuickTask("long", work)):
        job_id = add(storage, "long")
        wait_until(lambda: texts_of(storage, job_id) == ["begun"], "it is stored")
        goes_on.set()
        wait_for_status(storage, job_id, JobStatus.DONE)

    assert texts_of(storage, job_id) == ["begun", "ended"]


# -- print -------------------------------------------------------------------------


@on_sqlite
def test_printed_lines_are_kept_by_a_setting(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: TaskContext) -> None:
        print("one", 2)  # noqa: T201
        print("two\nthree")  # noqa: T201
        print("rest", end="")  # noqa: T201
        sys.stdout.writelines([" of", " it"])
        logging.StreamHandler(sys.stdout).handle(
            logging.makeLogRecord({"msg": "by a handler"})
        )

    lines = logged_by(storage, work, prints=True)

    assert [text for _, _, text in lines] == [
        "one 2",
        "two",
        "three",
        "rest of itby a handler",
    ]
    assert {(level, name) for level, name, _ in lines} == {("INFO", "print")}
    assert capsys.readouterr().out == "one 2\ntwo\nthree\nrest of itby a handler\n"


@on_sqlite
def test_printed_lines_are_not_kept_by_default(storage: Storage) -> None:
    assert logged_by(storage, lambda _: print("x")) == []  # noqa: T201


@on_sqlite
def test_a_log_line_on_standard_output_is_kept_once(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    own = logging.getLogger("printing")
    own.setLevel(logging.INFO)

    def work(_: TaskContext) -> None:
        handler = logging.StreamHandler(sys.stdout)
        own.addHandler(handler)
        own.info("once")
        own.removeHandler(handler)

    assert logged_by(storage, work, prints=True) == [("INFO", "printing", "once")]


@on_sqlite
def test_a_long_printed_line_takes_bounded_memory(storage: Storage) -> None:
    def work(_: TaskContext) -> None:
        for _number in range(1000):
            sys.stdout.write("x" * 1000)
        run = logged_run()
        assert run is not None
        assert len(log_of(run)._printed) <= 2 * MAX_LINE_BYTES + 1

    ((_, _, text),) = logged_by(storage, work, prints=True)

    assert len(text.encode()) == MAX_LINE_BYTES
    assert text.endswith(CUT)


@on_sqlite
def test_two_workers_in_a_process_wrap_once(storage: Storage) -> None:
    with running(storage, registry_of(QuickTask())):
        wrapped = logging.Logger.isEnabledFor
        with running(storage, registry_of(QuickTask())):
            assert logging.Logger.isEnabledFor is wrapped
        assert logging.Logger.isEnabledFor is wrapped
    assert logging.Logger.isEnabledFor is not wrapped
    assert log_capture._hooks._patches == []
