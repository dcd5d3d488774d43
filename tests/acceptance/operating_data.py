"""Fills a database with what operators read: a month of failures, figures, schedules.

By SQL, into the tables that the package itself writes; the triggers are on. Beside the
jobs of :mod:`.filling` there are 400 signatures in all hours of a day and all days of a
month, attempts of every failed job, and figures at each level for each kind.
"""

from __future__ import annotations

from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.metrics import DAY, LEVELS, SAMPLE_LEVELS, floor_to
from tests.acceptance.filling import DAY_S, fill
from tests.support.sql import SECOND_US, Sql

QUEUES, KINDS, SIGNATURES = 50, 200, 400
SCHEDULES = 100
HOUR_S = 3600
# How far back each level has buckets, in seconds: what a window of it may read.
_BACK_S = dict(
    zip(
        LEVELS,
        (HOUR_S, 6 * HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S, 30 * DAY_S),
        strict=True,
    )
)
_LETTERS = "abcdefghijklmnopqrst"
# A word for each signature: numbers would not tell two apart.
_WORD = (
    f"SUBSTR('{_LETTERS}', CAST({{n}} % 20 + 1 AS INTEGER), 1)"
    f" || SUBSTR('{_LETTERS}', CAST({{n}} / 20 % 20 + 1 AS INTEGER), 1)"
)
_TEXT = "'ValueError: no account of ' || {word}"


def fill_operations(sql: Sql, backend: str, rows: int) -> None:
    """Fill an empty database.

    ``rows`` is a multiple of 100.
    """
    fill(sql, backend, rows, queues=QUEUES, kinds=KINDS)
    now_us = sql.now_us()
    _fail(sql, now_us)
    _fill_errors(sql, now_us)
    _fill_figures(sql, now_us)
    _fill_gauges(sql, now_us)
    _fill_schedules(sql, now_us)
    if backend == "sqlite":
        sql.run("ANALYZE")
        sql.run("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        sql.run("VACUUM ANALYZE")


def _fail(sql: Sql, now_us: int) -> None:
    """Give failed and dead jobs an error with its signature, and their attempt."""
    # The number of a job is the end of its id.
    word = _WORD.format(n="CAST(SUBSTR(id, 7) AS BIGINT) / 100")
    text = _TEXT.format(word=word)
    sql.run(
        f"UPDATE forge_job SET last_error = {text}, signature = {text}, claims = 1"
        " WHERE status IN ('failed', 'dead')"
    )
    sql.run(
        "INSERT INTO forge_attempt (job_id, run, attempt, due_at, started_at,"
        " ended_at, worker_id, ending, error, traceback, signature)"
        f" SELECT id, 1, 1, enqueued_at, started_at, {now_us}, 'worker-1', 'failed',"
        " last_error, 'Traceback (most recent call last): a few lines', signature"
        " FROM forge_job WHERE status IN ('failed', 'dead')"
    )


def _numbers(name: str, count: int) -> str:
    return (
        f"{name} (n) AS (SELECT CAST(0 AS BIGINT) UNION ALL "
        f"SELECT n + 1 FROM {name} WHERE n < {count - 1})"
    )


def _fill_errors(sql: Sql, now_us: int) -> None:
    """Let each signature fail in each hour of a day and each day of a month."""
    text = _TEXT.format(word=_WORD.format(n="s.n"))
    place = (
        f"'queue-' || CAST(s.n % {QUEUES} AS TEXT),"
        f" 'kind-' || CAST(s.n % {KINDS} AS TEXT)"
    )
    series = f"WITH RECURSIVE {_numbers('s', SIGNATURES)}"
    sql.run(
        "INSERT INTO forge_error (signature, queue_name, kind, failures, first_at,"
        " last_at, retrying, dead, job_id, message)"
        f" {series} SELECT {text}, {place}, 7200, {now_us - 30 * DAY_S * SECOND_US},"
        f" {now_us} - s.n * {SECOND_US}, 0, 0, 'FILLED1000000098', {text} FROM s"
        " WHERE TRUE"
        " ON CONFLICT (signature, queue_name, kind) DO NOTHING"
    )
    for width_s, count, failures in ((HOUR_S, 24, 10), (DAY, 30, 240)):
        start_us = floor_to(now_us, width_s)
        sql.run(
            "INSERT INTO forge_error_bucket (width_s, signature, queue_name, kind,"
            " bucket_start, failures)"
            f" {series}, {_numbers('b', count)} SELECT {width_s}, {text}, {place},"
            f" {start_us} - b.n * {width_s * SECOND_US}, {failures} FROM s CROSS JOIN b"
            " WHERE TRUE ON CONFLICT DO NOTHING"
        )


def _fill_figures(sql: Sql, now_us: int) -> None:
    """Count runs of each kind, each queue and all jobs in buckets of each level."""
    # Each with how many of the kinds it has.
    whose = (
        f"SELECT 'queue-' || CAST(n % {QUEUES} AS TEXT) AS queue_name,"
        " 'kind-' || CAST(n AS TEXT) AS kind, 1 AS kinds FROM k UNION ALL"
        f" SELECT 'queue-' || CAST(n AS TEXT), '', {KINDS // QUEUES} FROM k"
        f" WHERE n < {QUEUES} UNION ALL SELECT '', '', {KINDS}"
    )
    for level, back_s in _BACK_S.items():
        start_us = floor_to(now_us, level)
        # About 25 a minute of each kind, more and less in turn, and none to come.
        passed_s = (now_us - start_us) // SECOND_US
        tens = f"CASE b.n WHEN 0 THEN {passed_s // 10} ELSE {level // 10} END"
        jobs = f"(kinds * ({tens}) * (3 + (b.n + 2) * 7 % 4))"
        usual = level // 10 * 4.5 * 0.97  # of one kind, of those that completed
        cases = " ".join(
            f"WHEN {kinds} THEN '{_times(usual * kinds)}'"
            for kinds in (1, KINDS // QUEUES, KINDS)
        )
        text = f"CASE kinds {cases} END"
        sql.run(
            "INSERT INTO forge_metric (level, queue_name, kind, bucket_start, source,"
            " enqueued, started, retried, completed, dead, refused, cancelled,"
            " wait_times, run_times, total_times)"
            f" WITH RECURSIVE {_numbers('k', KINDS)},"
            f" {_numbers('b', back_s // level)}, whose AS ({whose})"
            f" SELECT {level}, queue_name, kind,"
            f" {start_us} - b.n * {level * SECOND_US}, '', {jobs}, {jobs}, {jobs} / 50,"
            f" {jobs} - {jobs} / 50 - {jobs} / 100, {jobs} / 100, 0, 0,"
            f" {text}, {text}, {text} FROM whose CROSS JOIN b"
            " WHERE TRUE ON CONFLICT DO NOTHING"
        )


def _times(runs: float) -> str:
    """Return run times up to 400 ms, evenly spread, of about so many runs."""
    spread, times = Histogram(), Histogram()
    spread.record_many(range(1_000, 400_000, 1_000))
    # Also of fewer runs, so that short buckets cost as much to read as busy ones.
    times.merge_times(spread, max(round(runs / spread.count), 1))
    return times.encode()


def _fill_gauges(sql: Sql, now_us: int) -> None:
    """Measure each queue and all together, for as long as a window may reach back."""
    for level, back_s in zip(
        SAMPLE_LEVELS, (DAY_S, 2 * DAY_S, 30 * DAY_S), strict=True
    ):
        start_us = floor_to(now_us, level)
        sql.run(
            "INSERT INTO forge_gauge (level, queue_name, bucket_start, samples,"
            " waiting, oldest_wait_s, running, free_slots, live_workers)"
            f" WITH RECURSIVE {_numbers('q', QUEUES + 1)},"
            f" {_numbers('b', back_s // level)}"
            f" SELECT {level}, CASE WHEN q.n = {QUEUES} THEN '' ELSE"
            " 'queue-' || CAST(q.n AS TEXT) END,"
            f" {start_us} - b.n * {level * SECOND_US}, {level // 60}, 7 + b.n % 90, 31,"
            " 4, 2, 1 FROM q CROSS JOIN b WHERE TRUE ON CONFLICT DO NOTHING"
        )


def _fill_schedules(sql: Sql, now_us: int) -> None:
    sql.run(
        "INSERT INTO forge_cron (name, kind, payload, queue_name, cron_expr, timezone,"
        " enabled, created_at, updated_at, next_fire_at, last_fired_at)"
        f" WITH RECURSIVE {_numbers('s', SCHEDULES)}"
        " SELECT 'every-' || CAST(n AS TEXT), 'kind-1', '{}', 'queue-1',"
        f" '0 * * * *', 'UTC', TRUE, {now_us}, {now_us}, {now_us + DAY_S * SECOND_US},"
        f" {now_us - HOUR_S * SECOND_US} FROM s"
    )
    sql.run(
        "INSERT INTO forge_cron (name, kind, payload, queue_name, cron_expr, timezone,"
        " enabled, created_at, updated_at, next_fire_at) VALUES ('nightly', 'kind-1',"
        f" '{{}}', 'queue-1', '0 3 * * *', 'UTC', TRUE, {now_us}, {now_us},"
        f" {now_us + DAY_S * SECOND_US})"
    )
    # Half of the jobs of the one schedule are of the others.
    number = "CAST(SUBSTR(id, 7) AS BIGINT)"
    sql.run(
        f"UPDATE forge_job SET schedule_name = 'every-' ||"
        f" CAST({number} / 24 % {SCHEDULES} AS TEXT)"
        f" WHERE schedule_name = 'nightly' AND {number} % 24 = 0"
    )
