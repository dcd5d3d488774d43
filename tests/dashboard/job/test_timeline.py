"""The timeline of a job: to scale, also where clocks and waits are extreme."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.dashboard.job.timeline import (
    OPEN_ROWS,
    Mark,
    Row,
    Timeline,
    timeline,
)
from flask_forge_jobs.model.attempts import Attempt, AttemptEnding
from flask_forge_jobs.model.jobs import Job, JobStatus, JobSummary

START = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def job(
    status: JobStatus = JobStatus.DONE, scheduled: float = 0, attempts: int = 1
) -> Job:
    return Job(
        id="01", queue_name="billing", kind="charge", status=status, priority=0,
        attempts=attempts, max_attempts=5, enqueued_at=START,
        scheduled_at=after(scheduled), payload="{}",
    )  # fmt: skip


def attempt(
    due: float,
    started: float,
    ended: float | None,
    number: int = 1,
    ending: AttemptEnding = AttemptEnding.FAILED,
) -> Attempt:
    return Attempt(
        run=number, attempt=number, due_at=after(due), started_at=after(started),
        ended_at=None if ended is None else after(ended), worker_id="w",
        worker_name=None, host=None, slot=0, ending=ending,
    )  # fmt: skip


def shapes(row: Row) -> list[tuple[str, float, float]]:
    """Return mark, start and end of each span, in whole percents."""
    return [
        (span.mark.value, round(float(span.start[:-1])), round(float(span.end[:-1])))
        for span in row.spans
    ]


def drawn(
    summary: JobSummary,
    attempts: list[Attempt],
    now: float,
    run: float | None = None,
) -> Timeline:
    expected = None if run is None else timedelta(seconds=run)
    made = timeline(summary, attempts, after(now), expected)
    assert made is not None
    return made


def test_attempts_are_drawn_to_scale() -> None:
    made = drawn(
        job(JobStatus.FAILED, scheduled=80, attempts=2),
        [attempt(0, 10, 30), attempt(50, 50, 60, 2)],
        now=70,
        run=20,
    )

    assert [shapes(row) for row in made.rows] == [
        [("wt", 0, 10), ("run", 10, 30)],
        [("bo", 30, 50), ("run", 50, 60)],
        [("bo", 60, 80), ("nx", 80, 100)],
    ]
    assert made.now == "70.00%"
    assert made.rows[2].starts_at == after(80)
    assert not made.is_cut


def test_the_sums_count_what_has_passed() -> None:
    made = drawn(
        job(JobStatus.FAILED, scheduled=80, attempts=1), [attempt(0, 10, 30)], now=70
    )

    assert (made.sums.total, made.sums.running) == (70_000, 20_000)
    assert (made.sums.waiting, made.sums.backing_off) == (10_000, 40_000)


def test_a_run_under_way_ends_now_and_goes_on_as_expected() -> None:
    made = drawn(
        job(JobStatus.IN_PROGRESS),
        [attempt(0, 0, None, ending=AttemptEnding.RUNNING)],
        now=25,
        run=100,
    )

    assert shapes(made.rows[0]) == [("run", 0, 25), ("nx", 25, 100)]


def test_a_run_that_takes_longer_than_expected_has_no_more_than_an_edge_to_come() -> (
    None
):
    made = drawn(
        job(JobStatus.IN_PROGRESS),
        [attempt(0, 0, None, ending=AttemptEnding.RUNNING)],
        now=200,
        run=100,
    )

    assert shapes(made.rows[0]) == [("run", 0, 100), ("nx", 99, 100)]


def test_a_due_job_waits_for_a_slot_until_now() -> None:
    made = drawn(job(JobStatus.PENDING, attempts=0), [], now=99, run=1)

    assert shapes(made.rows[0]) == [("wt", 0, 99), ("nx", 99, 100)]
    assert made.rows[0].attempt is None


def test_a_job_waits_for_others_until_now() -> None:
    """Its due time is the end of all times."""
    waiting = job(JobStatus.PENDING, scheduled=1e11, attempts=0)

    made = timeline(waiting, [], after(99), timedelta(seconds=1), waits=True)

    assert made is not None
    (row,) = made.rows
    assert shapes(row) == [("fj", 0, 99), ("nx", 99, 100)]
    assert (row.waits, row.is_due, row.starts_at) == (True, False, START)
    assert made.sums.words == "1m 39s waiting for other jobs"


def test_a_job_has_waited_for_others_before_its_first_attempt_only() -> None:
    attempts = [attempt(40, 50, 60), attempt(80, 80, 100, 2)]

    made = timeline(job(), attempts, after(100), has_waited=True)

    assert made is not None
    assert [shapes(row) for row in made.rows] == [
        [("fj", 0, 40), ("wt", 40, 50), ("run", 50, 60)],
        [("bo", 60, 80), ("run", 80, 100)],
    ]
    assert (made.sums.for_jobs, made.sums.backing_off) == (40_000, 20_000)


@pytest.mark.parametrize("wait", [1e3, 1e6, 1e9])
def test_a_wait_over_60_percent_is_cut(wait: float) -> None:
    made = drawn(
        job(JobStatus.FAILED, scheduled=30 + wait, attempts=1),
        [attempt(0, 10, 30)],
        now=40,
        run=20,
    )

    (first, following) = made.rows
    assert made.is_cut
    assert shapes(first) == [("wt", 0, 12), ("run", 12, 36)]
    assert shapes(following) == [("bo", 36, 76), ("nx", 76, 100)]
    assert following.spans[0].cut == "56.00%"
    assert first.spans[0].cut is None


def test_a_guess_beside_a_run_of_no_length_cuts_no_wait() -> None:
    """The guess would be as wide as minutes of the wait."""
    made = drawn(
        job(JobStatus.FAILED, scheduled=300, attempts=1),
        [attempt(0, 0, 0)],
        now=40,
        run=1,
    )

    (_, following) = made.rows
    assert not made.is_cut
    assert shapes(following)[0] == ("bo", 0, 100)
    assert following.spans[1].width == "0.80%"


def test_several_long_waits_are_all_cut() -> None:
    made = drawn(
        job(attempts=3),
        [
            attempt(0, 0, 10),
            attempt(1_000_000, 1_000_000, 1_000_010, 2),
            attempt(1_010_000, 1_010_000, 1_010_010, 3),
        ],
        now=2_000_000,
    )

    widths = [
        float(span.width[:-1])
        for row in made.rows
        for span in row.spans
        if span.mark is Mark.BACKS_OFF
    ]
    assert all(width <= 60.01 for width in widths)
    assert all(float(row.spans[-1].width[:-1]) >= 0.8 for row in made.rows)


def test_a_job_that_only_waits_is_not_cut_to_nothing() -> None:
    made = drawn(job(JobStatus.PENDING, scheduled=3600, attempts=0), [], now=1800)

    (row,) = made.rows
    assert [span.mark for span in row.spans] == [Mark.BACKS_OFF, Mark.COMES]
    assert not made.is_cut


def test_the_present_is_outside_of_a_job_that_ended_long_ago() -> None:
    made = drawn(job(), [attempt(0, 1, 2, ending=AttemptEnding.DONE)], now=9000)

    assert made.now is None


def test_a_job_that_ended_without_a_known_attempt_has_no_timeline() -> None:
    assert timeline(job(JobStatus.DEAD), [], START) is None


def test_clocks_that_were_set_back_make_no_negative_spans() -> None:
    made = drawn(
        job(JobStatus.FAILED, scheduled=-500, attempts=2),
        [attempt(0, 10, 30), attempt(-100, -90, -200, 2)],
        now=-1000,
    )

    spans = [span for row in made.rows for span in row.spans]
    assert all(float(span.width[:-1]) >= 0 for span in spans)
    assert all(0 <= float(span.start[:-1]) <= 100 for span in spans)
    assert all(0 <= float(span.end[:-1]) <= 100.01 for span in spans)


def test_a_run_of_no_time_is_visible() -> None:
    made = drawn(job(), [attempt(0, 0, 0)], now=0)

    assert float(made.rows[0].spans[-1].width[:-1]) == 0.8


@pytest.mark.parametrize(
    ("seconds", "first", "last"),
    [
        (0.06, "14:00:00.000", "+60ms"),
        (60, "14:00:00", "14:01:00"),
        (600, "14:00:00", "14:10:00"),
        (3600, "14:00", "15:00"),
        (12 * 3600, "30 Nov 14:00", "02:00"),
        (86_400 * 3, "30 Nov 14:00", "3 Dec 14:00"),
    ],
)
def test_the_labels_fit_the_scale(seconds: float, first: str, last: str) -> None:
    made = drawn(job(), [attempt(0, 0, seconds)], now=seconds)

    assert len(made.labels) == 5
    assert (made.labels[0].text, made.labels[-1].text) == (first, last)


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (0.002, ["14:00:00.000", "+0.5ms", "+1ms", "+1.5ms", "+2ms"]),
        (0.0002, ["14:00:00.000", "", "+0.1ms", "", "+0.2ms"]),
        (0.000004, ["14:00:00.000", "", "", "", ""]),
        (6, ["14:00:00.000", "+1.5s", "+3s", "+4.5s", "+6s"]),
    ],
)
def test_labels_of_a_moment_are_not_equal(seconds: float, texts: list[str]) -> None:
    made = drawn(job(), [attempt(0, 0, seconds)], now=seconds)

    assert [label.text for label in made.labels] == texts


@pytest.mark.parametrize(
    ("wait", "ran", "last"),
    [
        (600, 30, ["14:10:35", "14:11:00"]),
        (600, 0.1, ["14:10:00", ""]),
        (200, 0.1, ["14:03:20", ""]),
    ],
)
def test_labels_beside_a_cut_wait_are_not_equal(
    wait: float, ran: float, last: list[str]
) -> None:
    made = drawn(
        job(JobStatus.FAILED, scheduled=ran + wait, attempts=1),
        [attempt(0, 0, ran)],
        now=ran,
        run=ran,
    )

    assert made.is_cut
    assert [label.text for label in made.labels][-2:] == last


def test_the_sums_leave_out_what_took_no_time() -> None:
    waiting = drawn(job(JobStatus.PENDING, attempts=0), [], now=28)
    both = drawn(job(), [attempt(0, 2, 5)], now=5)

    assert waiting.sums.words == "28s waiting for a slot"
    assert waiting.rows[0].is_due
    assert both.sums.words == "5s in all: 3s running, 2s waiting for a slot"


def test_of_many_attempts_those_between_are_folded() -> None:
    attempts = [attempt(10 * n, 10 * n, 10 * n + 5, n) for n in range(31)]

    made = drawn(job(), attempts, now=400)

    numbers = [row.number for row in made.shown]
    assert len(numbers) == OPEN_ROWS
    assert numbers[:2] == [0, 20]
    assert [row.number for row in made.earlier] == list(range(1, 20))
