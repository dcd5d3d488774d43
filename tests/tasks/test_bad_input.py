"""Bad input in Python, end to end, on both backends.

The rows that need no database are in the tests of the modules that refuse them; here
stands what has to reach the database, and come back from it, alike.
"""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_forge_jobs import (
    Dead,
    ForgeJobs,
    ForgeJobsError,
    InvalidInputError,
    NewJob,
    current_job,
)
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.outcomes import (
    MAX_ERROR_BYTES,
    MAX_PROGRESS_BYTES,
    MAX_RESULT_BYTES,
)
from flask_forge_jobs.state import state_of
from tests.support.applications import worker
from tests.support.backends import each_backend

US = timedelta(microseconds=1)


@pytest.fixture
def forge() -> ForgeJobs:
    return ForgeJobs()


@pytest.fixture
def app(
    forge: ForgeJobs,
    database_settings: DatabaseSettings,
    request: pytest.FixtureRequest,
) -> Iterator[Flask]:
    """An application on an empty database of each backend, its context pushed."""
    made = Flask(__name__)
    url = f"sqlite:///{database_settings.path}"
    if database_settings.backend == "postgres":
        url = request.getfixturevalue("postgres_database")
    made.config["FORGE_JOBS_DATABASE_URL"] = url
    forge.init_app(made)
    with made.app_context(), contextlib.closing(state_of(made).storage):
        yield made


def run_one(app: Flask, job_id: str) -> Job:
    """Let a worker run one job once, and return what is stored then."""
    with worker(app, threads=1) as runs:
        runs.wait_for(1)
    return state_of(app).storage.job_reader.get(job_id)


# -- Q1 to Q4: arguments ---------------------------------------------------------------


@pytest.mark.usefixtures("app")
def test_refused_arguments_store_nothing(forge: ForgeJobs) -> None:
    """Q1, Q2; the table is in ``tests/model/test_payloads.py``."""

    @forge.task
    def send(items: list[object]) -> None: ...

    items = [0, {"at": {1, 2}}]
    attempts: list[Callable[[], object]] = [
        lambda: send.enqueue(items),
        lambda: send.options(queue="mail").enqueue(items=items),
        lambda: forge.enqueue("other", {"items": items}),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidInputError) as caught:
            attempt()
        assert caught.value.field == "payload.items[1].at"
        assert caught.value.message == "a set is not JSON"

    assert forge.storage.job_reader.statistics() == {}


@pytest.mark.usefixtures("app")
def test_a_value_of_five_megabytes_is_refused(forge: ForgeJobs) -> None:
    """Q2."""
    with pytest.raises(InvalidInputError, match="bytes of JSON exceed 1048576"):
        forge.enqueue("send", "x" * 5_000_000)

    assert forge.storage.job_reader.statistics() == {}


@pytest.mark.usefixtures("app")
def test_the_stored_text_is_that_of_the_call(forge: ForgeJobs) -> None:
    """Q3, and 3.0: numbers, the order of keys and the sign of zero are kept."""
    payload: dict[str, Any] = {"b": -0.0, "a": [1e2, 2**63, "é\U0001f600"]}
    job = forge.enqueue("send", payload)

    payload["a"].append("later")

    stored = forge.storage.job_reader.get(job.id).payload
    assert stored == (
        '{"b":-0.0,"a":[100.0,9223372036854775808,"\\u00e9\\ud83d\\ude00"]}'
    )


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({}, "`user_id` is missing; it takes `user_id`"),
        ({"user_id": 1, "age": 2}, "there is no `age`; it takes `user_id`"),
        ([1], "the payload is not a JSON object"),
    ],
    ids=["missing", "unexpected", "no object"],
)
def test_a_job_that_does_not_fit_its_task_is_dead_without_retries(
    app: Flask, forge: ForgeJobs, payload: object, why: str
) -> None:
    """Q4: enqueued by a release, or a service, whose task looked different."""
    job = forge.enqueue("send", payload)

    @forge.task
    def send(user_id: int) -> None: ...

    stored = run_one(app, job.id)
    assert (stored.status, stored.attempts) == (JobStatus.DEAD, 1)
    assert stored.last_error == f"bad arguments: {why}"


# -- Q5: instants ----------------------------------------------------------------------


class Clocks(tzinfo):
    """A zone whose clocks are put back by an hour; ``fold`` is the second pass."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1 if moment is not None and moment.fold else 2)

    def dst(self, moment: datetime | None) -> timedelta:
        return self.utcoffset(moment) - timedelta(hours=1)

    def tzname(self, moment: datetime | None) -> str:
        return f"clocks{self.utcoffset(moment)}"


def zone(**offset: float) -> timezone:
    return timezone(timedelta(**offset))


INSTANTS = [
    (datetime(2031, 1, 1, 12, 0, 0, 1, UTC), "2031-01-01T12:00:00.000001"),
    (datetime(2031, 1, 1, tzinfo=zone(hours=5, minutes=45)), "2030-12-31T18:15:00"),
    (
        datetime(2031, 1, 1, tzinfo=zone(minutes=-44, seconds=-30)),
        "2031-01-01T00:44:30",
    ),
    (
        datetime(2031, 1, 1, tzinfo=zone(hours=23, minutes=59, microseconds=7)),
        "2030-12-31T00:00:59.999993",
    ),
    (datetime(2031, 10, 26, 2, 30, tzinfo=Clocks()), "2031-10-26T00:30:00"),
    (datetime(2031, 10, 26, 2, 30, tzinfo=Clocks(), fold=1), "2031-10-26T01:30:00"),
    (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999"),
    (datetime.max.replace(tzinfo=zone(hours=1)), "9999-12-31T22:59:59.999999"),
]


@pytest.mark.usefixtures("app")
def test_instants_are_stored_exactly(forge: ForgeJobs) -> None:
    for run_at, utc in INSTANTS:
        job = forge.enqueue("send", run_at=run_at)

        stored = forge.storage.job_reader.get(job.id)
        assert stored.scheduled_at == datetime.fromisoformat(utc).replace(tzinfo=UTC)
        assert stored.scheduled_at.tzinfo is UTC


@pytest.mark.usefixtures("app")
def test_a_start_in_the_past_is_now(forge: ForgeJobs) -> None:
    """It neither jumps the line nor adds to the lag."""
    job = forge.enqueue("send", run_at=datetime(1970, 1, 1, tzinfo=UTC))

    stored = forge.storage.job_reader.get(job.id)
    assert stored.scheduled_at == stored.enqueued_at


NO_INSTANTS: list[Any] = [
    datetime(2031, 1, 1),  # noqa: DTZ001  # that is the point
    datetime(1, 1, 1, tzinfo=UTC),
    datetime.min.replace(tzinfo=zone(hours=14)),
    datetime.max.replace(tzinfo=zone(hours=-14)),
    datetime(1970, 1, 1, tzinfo=UTC) - US,
    date(2031, 1, 1),
    timedelta.max,
    math.nan,
    0,
    True,
    "2031-01-01T00:00:00Z",
]


@pytest.mark.usefixtures("app")
def test_other_instants_are_refused(forge: ForgeJobs) -> None:
    for run_at in NO_INSTANTS:
        with pytest.raises(InvalidInputError) as caught:
            forge.enqueue("send", run_at=run_at)
        assert caught.value.field == "run_at", run_at

    assert forge.storage.job_reader.statistics() == {}


# -- Q6: options -----------------------------------------------------------------------


class Name(enum.StrEnum):
    KIND = "send"
    QUEUE = "mail"
    KEY = "welcome:7"


class Level(enum.IntEnum):
    LOW = 7


class Plain(int, enum.Enum):
    """An integer whose text is not a number."""

    TWO = 2


@pytest.mark.usefixtures("app")
def test_options_may_be_members_of_enumerations(forge: ForgeJobs) -> None:
    job = forge.enqueue(
        Name.KIND,
        queue=Name.QUEUE,
        dedupe_key=Name.KEY,
        priority=Level.LOW,
        max_attempts=Plain.TWO,
        timeout_s=Level.LOW,
    )

    stored = forge.storage.job_reader.get(job.id)
    assert (stored.kind, stored.queue_name, stored.dedupe_key) == tuple(Name)
    assert (stored.priority, stored.max_attempts, stored.timeout_s) == (7, 2, 7)
    assert {type(stored.kind), type(stored.queue_name)} == {str}
    assert {type(stored.priority), type(stored.max_attempts)} == {int}


@pytest.mark.usefixtures("app")
def test_options_at_their_bounds_come_back(forge: ForgeJobs) -> None:
    lowest: dict[str, Any] = {
        "priority": -(2**31),
        "max_attempts": 1,
        "timeout_s": 0.001,
    }
    highest: dict[str, Any] = {
        "priority": 2**31 - 1,
        "max_attempts": 1000,
        "timeout_s": 31_536_000,
    }
    texts = {"dedupe_key": "\U0001f600" * 255, "queue": "é" * 128}
    for options in (lowest, highest | texts):
        job = forge.enqueue("k" * 128, **options)

        stored = forge.storage.job_reader.get(job.id)
        for option, value in options.items():
            field = "queue_name" if option == "queue" else option
            assert getattr(stored, field) == value


# -- Q8 and Q9: how tasks end ----------------------------------------------------------


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise SystemExit("asked for its text")


def endless() -> BaseException:
    """Return an error that is its own cause."""
    error = ValueError("round")
    error.__cause__ = KeyError("and round")
    error.__cause__.__cause__ = error
    return error


@each_backend
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError(), "ValueError"),
        (ValueError("a\x00b\ud800c"), "ValueError: a\ufffdb?c"),
        (UnprintableError(), "UnprintableError"),
        (StopIteration(), "StopIteration"),
        (GeneratorExit("closed"), "GeneratorExit: closed"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ExceptionGroup("two", [ValueError("a"), OSError("b")]), "ExceptionGroup: two"),
        (endless(), "ValueError: round: KeyError: 'and round'"),
        (
            ValueError("é" * 5_000_000),
            "ValueError: " + "é" * (MAX_ERROR_BYTES // 2 - 6),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_any_exception_is_recorded(
    app: Flask, forge: ForgeJobs, error: BaseException, text: str
) -> None:
    @forge.task
    def breaks() -> None:
        raise error

    stored = run_one(app, breaks.enqueue().id)

    assert stored.status is JobStatus.FAILED
    assert (stored.last_error or "").startswith(text)
    assert len((stored.last_error or "").encode()) <= MAX_ERROR_BYTES
    assert [entry.message for entry in stored.error_history] == [stored.last_error]


@each_backend
@pytest.mark.parametrize(
    ("make", "result"),
    [
        (lambda: None, None),
        (lambda: {"sent": [1, None]}, '{"sent":[1,null]}'),
        (lambda: "x" * (MAX_RESULT_BYTES - 2), f'"{"x" * (MAX_RESULT_BYTES - 2)}"'),
        (lambda: "x" * 100_000_000, None),
        (lambda: math.nan, None),
        (lambda: {"a": "\x00"}, None),
        (lambda: ValueError("returned"), None),
        (object, None),
    ],
)
def test_any_returned_value_leaves_the_job_done(
    app: Flask, forge: ForgeJobs, make: Callable[[], object], result: str | None
) -> None:
    """A value that cannot be stored is logged and dropped: the work is done."""

    @forge.task
    def returns() -> object:
        return make()

    stored = run_one(app, returns.enqueue().id)

    assert (stored.status, stored.result) == (JobStatus.DONE, result)
    assert stored.last_error is None


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_sec_S27_result_error_and_progress_have_a_size(
    app: Flask, forge: ForgeJobs, more: int
) -> None:
    """Kept to the byte; a result that is longer is dropped, an error is cut."""
    refused: list[InvalidInputError] = []

    @forge.task
    def reports() -> str:
        try:
            current_job.set_progress("x" * (MAX_PROGRESS_BYTES - len('""') + more))
        except InvalidInputError as error:
            refused.append(error)
        return "x" * (MAX_RESULT_BYTES - len('""') + more)

    @forge.task
    def breaks() -> None:
        raise Dead("x" * (MAX_ERROR_BYTES + more))

    done = run_one(app, reports.enqueue().id)
    dead = run_one(app, breaks.enqueue().id)

    fits = more <= 0
    assert [error.field for error in refused] == ([] if fits else ["progress"])
    assert (done.status, dead.status) == (JobStatus.DONE, JobStatus.DEAD)
    assert len(done.result or "") == (MAX_RESULT_BYTES + more if fits else 0)
    assert len(dead.last_error or "") == MAX_ERROR_BYTES + min(more, 0)


def test_a_generator_function_is_no_task(forge: ForgeJobs) -> None:
    """Calling it would run nothing, and the job would be done."""
    with pytest.raises(TypeError, match="is a generator"):

        @forge.task
        def numbers() -> Iterator[int]:
            yield 1


# -- Q14: anything at all --------------------------------------------------------------

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**4000) | st.builds(pow, st.just(10), st.just(5000)),
    st.floats(),
    st.text(),
    st.binary(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.timedeltas(),
    st.lists(st.integers(), max_size=2),
    st.builds(object),
    st.decimals(),
    st.sampled_from([Name.KIND, Level.LOW, Plain.TWO, int, len]),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fields=st.fixed_dictionaries(
        {"kind": ANYTHING | st.just("send")},
        optional=dict.fromkeys(
            (
                "queue_name",
                "priority",
                "max_attempts",
                "dedupe_key",
                "run_at",
                "timeout_s",
            ),
            ANYTHING,
        ),
    )
)
def test_any_fields_make_a_job_or_an_error_of_ours(fields: dict[str, Any]) -> None:
    try:
        job = NewJob(**fields)
    except InvalidInputError as error:
        refused = error.field
        assert refused in fields
    else:
        assert job.kind == fields["kind"]


@settings(max_examples=100, deadline=None)
@given(
    args=st.lists(ANYTHING, max_size=3),
    kwargs=st.dictionaries(st.sampled_from(["user_id", "name", "x"]), ANYTHING),
    options=st.dictionaries(
        st.sampled_from(["queue", "priority", "run_at", "timeout_s"]), ANYTHING
    ),
)
def test_any_call_makes_a_job_or_an_error_of_ours(
    args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]
) -> None:
    @ForgeJobs().task
    def send(user_id: object, *, name: object = None) -> None: ...

    with contextlib.suppress(ForgeJobsError):
        job = send.options(**options).job(*args, **kwargs)
        assert job.payload.startswith('{"')
