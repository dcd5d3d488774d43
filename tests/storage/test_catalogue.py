"""The SQL is complete, used, valid on both databases and served by its indexes."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

import flask_forge_jobs.storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.payloads import finds
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.catalogue import (
    Statement,
    load_migrations,
    load_statements,
)
from flask_forge_jobs.storage.postgres.connection import SessionSettings
from tests.support.postgres import fresh_database
from tests.support.sql import SECOND_US, Sql

FOLDER = Path(flask_forge_jobs.storage.__file__).parent
ROWS = 20_000
BEGIN = SessionSettings(10_000, 12_000).write.unconfigured
# Parameters that are neither text nor NULL.
NUMBERS = {"limit", "offset", "now", "from_at", "to_at", "cutoff", "worthwhile"}
NUMBERS |= {"max_queues", "max_rows", "age_us", "lease_us", "min_attempts", "at"}
NUMBERS |= {"edge", "after_at", "pid", "width_s", "after_key", "since"}
NUMBERS |= {"number", "asked_status", "last_run", "end", "skip", "each", "chunk"}
NUMBERS |= {"max_scheduled", "shown"}
NUMBERS |= {"last_fired_at", "next_fire_at", "created_at", "updated_at"}
NUMBERS |= {"matched", "changed", "skipped", "end_of_time", "max_waiting"}
NUMBERS |= {"kept_us", "tokens", "capacity", "refill_per_sec", "pause_us"}
NUMBERS |= {"delay_us", "grace_us", "within_us", "run_at", "priority", "max_workers"}
NUMBERS |= {
    "max_attempts",
    "timeout_s",
    "lock_key",
    "version",
    "oldest_reader",
    "known",
}
NUMBERS |= {"level", "http_status", "changed", "requests", "before_at", "before_id"}
NUMBERS |= {"done_days", "dead_days", "closed", "served_at", "fresh_us"}
NUMBERS |= {
    "max_held",
    "max_open",
    "largest",
    "threads",
    "named",
    "max_ahead",
    "max_times",
    "scheduled_at",
}
NUMBERS |= {"retain_done_for_days", "retain_dead_for_days"}
NUMBERS |= {"backoff_base_seconds", "backoff_max_seconds"}
NUMBERS |= {
    "catch_up_limit",
    "overdue_us",
    "run",
    "freed",
    "max_combinations",
    "few",
    "max_concurrent",
    "max_pending",
}
NUMBERS |= {"edge_at", "day_at", "now_at", "usual_at", "usual_end", "usual_every"}
NUMBERS |= {"hour_level", "day_level", "now_level", "usual_level", "old_s", "room"}
BOOLEANS = {
    "keeps_bound",
    "is_repeated",
    "moves",
    "paused",
    "enabled",
    "or_scheduled",
    "may_pass",
}
BOOLEANS |= {"is_waiting", "was_cancelled", "by_user", "backoff_enabled"}
BOOLEANS |= {"may_wait", "is_sealed", "cancel_on_dead", "has_ended", "is_open"}
BOOLEANS |= {"has_succeeded", "has_died", "is_cancelled", "only_waiting"}
BOOLEANS |= {"may_be_cancelled", "quiet"}
BOOLEANS |= {"promotes"}
BOOLEANS |= {"is_month", "by_count", "by_kind", "with_failed", "with_dead", "with_runs"}
BOOLEANS |= {"counts_claimed"}
ARRAYS = {
    "done_queues": "{default}",
    "job_ids": "{seed-7}",
    "runs": "{1}",
    "results": "{}",
    "from_queues": "{default}",
    "limits": "{10}",
    "priorities": "{1}",
    "moments": "{1}",
    "moment": 1,
}
JSON = {"rows", "queues", "kinds", "statuses", "parts", "ends"}
_MARK = re.compile(r"(?<![:\w]):([a-z_]+)|%\(([a-z_]+)\)s")

# The id is unique in all of these; the partial ones are smaller.
BY_ID = "forge_job_(pkey|running|unsuccessful)"
# SQLite reads the rows of a queue and kind where they lie, not one by one.
BY_NAME = (
    r"COVERING INDEX forge_metric_time(?s:.*)\bm USING PRIMARY KEY"
    "|forge_metric_time on forge_metric"
)
# What must not depend on how many jobs there are, and the index that sees to it.
SERVED_BY = {
    "claim": "forge_job_claim",
    "claim_alone": "forge_job_claim",
    "promote": "forge_job_deferred",
    "heartbeat": "forge_job_running",
    "longest_runs": BY_ID,
    "finish": BY_ID,
    "finish_done": BY_ID,
    "exchange": BY_ID,
    "snapshot": r"forge_job_claim\b[\s\S]*\bforge_job_deferred",
    "next_due": r"forge_job_claim\b[\s\S]*\bforge_job_deferred",
    "attention": "forge_metric_time",
    "common_errors": "forge_error_kind",
    "take_error_buckets": "forge_error_bucket_time",
    "cancelled": "forge_job_cancelled",
    "listed_desc": "forge_job_list",
    "listed_asc": "forge_job_list",
    "listed_together_desc": "forge_job_list",
    "listed_together_asc": "forge_job_list",
    "finished_together_desc": "forge_job_finished",
    "finished_together_asc": "forge_job_finished",
    "leading_desc": "forge_job_list",
    "leading_asc": "forge_job_list",
    "listed_finished_desc": "forge_job_finished",
    "listed_finished_asc": "forge_job_finished",
    "listed_deferred_desc": "forge_job_deferred",
    "listed_deferred_asc": "forge_job_deferred",
    "deferred_sorted_desc": "forge_job_deferred",
    "page_by_age_desc": "forge_job_list",
    "page_by_age_asc": "forge_job_list",
    "page_by_end_desc": "forge_job_finished",
    "page_by_end_asc": "forge_job_finished",
    "page_deferred_desc": "forge_job_deferred",
    "page_deferred_asc": "forge_job_deferred",
    "page_retrying_desc": "forge_job_retry",
    "page_retrying_asc": "forge_job_retry",
    "deferred_sorted_asc": "forge_job_deferred",
    "listed_key_desc": "forge_job_key",
    "listed_key_asc": "forge_job_key",
    "listed_schedule_desc": "forge_job_schedule",
    "listed_schedule_asc": "forge_job_schedule",
    "listed_batch_desc": "forge_job_pkey",
    "listed_batch_asc": "forge_job_pkey",
    "count_batch": "forge_job_pkey",
    "listed_waiting_desc": "forge_job_deferred",
    "listed_waiting_asc": "forge_job_deferred",
    "count_waiting": "forge_job_deferred",
    "counts_waiting": "forge_job_deferred",
    "counts_batch": "forge_job_pkey",
    "listed_signature_desc": "forge_job_signature",
    "listed_signature_asc": "forge_job_signature",
    "listed_few_desc": "forge_job_list",
    "listed_few_asc": "forge_job_list",
    "count_newer": "forge_job_list",
    "count_key": "forge_job_key",
    "count_schedule": "forge_job_schedule",
    "count_signature": "forge_job_signature",
    "count_few": "forge_job_list",
    "count_all_scheduled": "forge_job_deferred",
    "count_scheduled": "forge_job_deferred",
    "counts_key": "forge_job_key",
    "counts_schedule": "forge_job_schedule",
    "first_of_schedule": "forge_job_schedule",
    "counts_few": "forge_job_list",
    "counts_signature": "forge_job_signature",
    "ended_lately": "forge_job_finished",
    "events_within": r"forge_job_list\b[\s\S]*\bforge_job_finished",
    "latest_events": r"forge_job_list\b[\s\S]*\bforge_job_finished",
    "enqueued_first": "forge_job_list",
    "ended_first": "forge_job_finished",
    "count_inside": "forge_job_list",
    "counts_inside": "forge_job_list",
    "search_few_desc": "forge_job_list",
    "search_few_asc": "forge_job_list",
    "search_each_desc": "forge_job_list",
    "search_each_asc": "forge_job_list",
    "search_newest_desc": "forge_job_pkey",
    "search_newest_asc": "forge_job_pkey",
    "count_outside": "forge_job_list",
    "delete_expired": "forge_job_finished",
    "delete_due": "forge_job_claim",
    "delete_deferred": "forge_job_deferred",
    "cancel_running": "forge_job_running",
    "count_expired": "forge_job_finished",
    "walk": "forge_job_list",
    "get_job": "forge_job_pkey",
    "get_summaries": BY_ID,
    "find_enqueued_many": "forge_job_dedupe",
    "lock_pending": "forge_job_dedupe",
    "lock_jobs": BY_ID,
    "delete_jobs": BY_ID,
    "requeue_jobs": BY_ID,
    "request_cancel": BY_ID,
    "run_now": BY_ID,
    "reschedule": BY_ID,
    "lock_waiting": BY_ID,
    "cancel_waiting": BY_ID,
    "delete_plain": BY_ID,
    "cancel_plain": BY_ID,
    "retry_plain": BY_ID,
    "run_plain_now": BY_ID,
    "reschedule_plain": BY_ID,
    "release_waiting": BY_ID,
    "statuses": BY_ID,
    "lock_stale": BY_ID,
    "rescue": BY_ID,
    "acquire_concurrency": "forge_job_concurrency",
    "release_waiters": "forge_job_concurrency_waiting",
    "gauges_within": "forge_gauge_pkey|SEARCH g USING PRIMARY KEY",
    "sum_gauges": "forge_gauge_pkey|SEARCH g USING PRIMARY KEY",
    "timeline": "forge_metric_pkey|forge_metric USING PRIMARY KEY",
    "timeline_of_kinds": r"_pkey on forge_metric +\(|\bm USING PRIMARY KEY",
    "kinds_within": BY_NAME,
    "queues_within": BY_NAME,
    "active_kinds": "forge_metric_time",
    "timeline_of_active_kinds": "forge_metric_time",
    "take_unfolded": r"forge_metric_unfolded[^\n]*\n?.*bucket_start ?<",
    "append_audit_once": "forge_audit_actor",
    "stored_entry": "forge_audit_actor",
    "audit_page": "forge_audit_time",
    "delete_old_audit": "forge_audit_time",
    "audit_page_of_actor": "forge_audit_actor",
    "audit_page_of_target": "forge_audit_target",
    "schedule_lines": "forge_job_schedule",
    "fired_within": "forge_job_schedule",
    "runs_of_schedule": "forge_job_schedule",
    "log_chunks": "forge_log_pkey|autoindex_forge_log",
    "log_tail": "forge_log_pkey|autoindex_forge_log",
    "job_in_full": "forge_job_pkey",
    "drop_lines": "forge_log_pkey|autoindex_forge_log",
    "stale_batches": "forge_batch_open",
    "kept_steps": "forge_step_pkey|autoindex_forge_step",
    "dead_jobs_of_batch": "forge_batch_dead_pkey|member USING PRIMARY KEY",
    "dead_of_batch": "forge_batch_dead_pkey|forge_batch_dead USING PRIMARY KEY",
    "running_jobs_of_batch": "forge_job_running",
    "first_jobs_of_batch": "forge_batch_range_pkey|r USING PRIMARY KEY",
    "jobs_of_batch_in_state": "forge_batch_range_pkey|r USING PRIMARY KEY",
    "jobs_of_batch": "forge_batch_range_pkey|r USING PRIMARY KEY",
    "page_of_batches": "forge_batch_created",
}

NOT_EXPLAINED = {
    "enqueue_early",
    "enqueue_early_noted",
    "create_schema_table",
    "replace_version_check",
    "append_gauges",
    "append_links",
    "append_jobs",
    "append_tied_jobs",
    "add_batch_ranges",
    "append_metrics",
}

PLAIN = {"delete_plain", "cancel_plain", "retry_plain", "run_plain_now"}
PLAIN |= {"reschedule_plain"}
ONLY_POSTGRES = {"claim_alone", "exchange", "release_waiting", "enqueue_few", *PLAIN}
ONLY_SQLITE = {"finish_done", "enqueue_now"}
# On PostgreSQL these are functions, which EXPLAIN does not look into.
# Their settings leave the planner no other way; the seed has no batch.
OF_BATCHES = {"jobs_of_batch", "first_jobs_of_batch", "jobs_of_batch_in_state"}
OF_BATCHES |= {"running_jobs_of_batch"}
FUNCTIONS = {
    *OF_BATCHES,
    "promote",
    "claim",
    "claim_alone",
    "exchange",
    "finish",
    "snapshot",
    "acquire_concurrency",
}


def parameters_of(statement: Statement) -> dict[str, object]:
    """Return plausible parameters for a statement."""
    names = {first or second for first, second in _MARK.findall(statement.sql)}
    return {name: _value(name) for name in names}


def _value(name: str) -> object:
    if name == "ids":
        return '["seed-7"]'
    if name in JSON:
        rows = '[{"job_id":"seed-7","run":1,"name":"default","new_status":"done",'
        return (
            rows
            + '"uncount":0,"throttled":0,"seen_at":1,"id":"x",'
            + (
                '"queue_name":"default","kind":"noop","payload":"{}","priority":0,"status":"done",'
                '"max_attempts":5,"error":"e","history":"[]"}]'
            )
        )
    if name in ARRAYS:
        return ARRAYS[name]
    if name in ("parents", "links"):
        return "[]"
    if name in ("to_at", "at"):
        return 2**62
    if name in NUMBERS or name.endswith("_us"):
        return 10
    if name.startswith("any_"):
        return True
    if name in BOOLEANS:
        return False
    return {"queue_name": "default", "name": "default", "kind": "noop"}.get(
        name, "dead"
    )


# Statements that may be the whole change of a request.
NOTED = {
    "change_some_settings", "create_queue", "delete_schedule", "put_rate_limit",
    "drain_rate_limit", "delete_rate_limit", "enqueue", *PLAIN, "cool_down",
    "set_paused_many", "add_schedule", "release_waiting", "enqueue_few",
    "stop_bulk_run", "enqueue_early",
}  # fmt: skip


# -- rendering ---------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_listing_is_turned_around_as_a_whole(dialect: str) -> None:
    statements = load_statements(dialect)

    newest, oldest = statements["listed_desc"].sql, statements["listed_asc"].sql

    assert "ORDER BY enqueued_at DESC, id DESC" in newest
    assert "ORDER BY enqueued_at ASC, id ASC" in oldest
    assert re.search(r"enqueued_at >= \S*edge\S* AND \(enqueued_at, id\) < \(", newest)
    assert re.search(r"enqueued_at <= \S*edge\S* AND \(enqueued_at, id\) > \(", oldest)


def test_a_dialect_may_say_a_fragment_in_its_own_way() -> None:
    assert "OR last_error LIKE" in load_statements("sqlite")["count_all"].sql
    text = load_statements("postgres")["count_all"].sql
    assert 'LOWER(last_error COLLATE "C") LIKE' in text


def test_both_dialects_say_the_same_things() -> None:
    sqlite, postgres = load_statements("sqlite"), load_statements("postgres")

    # SQLite has no server to notify; its database does that itself. It tells by the
    # file's path that a caller's connection leads to the same database, and it has no
    # settings of a server that could be wrong.
    noted = {name for name in postgres if name.endswith("_noted")}
    assert {name.removesuffix("_noted") for name in noted} == NOTED
    assert set(postgres) - set(sqlite) - noted == {
        "append_links",
        "notify",
        "claim_alone",
        "enqueue_early",
        "enqueued_early",
        "enqueue_quietly",
        "exchange_quietly",
        "exchange",
        "whose_tables",
        "which_cluster",
        "replace_version_check",
        *PLAIN,
        "release_waiting",
        "enqueue_few",
        "server_state",
        "table_state",
        "log_position",
        "shared_identity",
    }
    # PostgreSQL ends plain runs in the message that claims, and adds jobs early.
    assert set(sqlite) - set(postgres) == ONLY_SQLITE


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    source = "".join(path.read_text("utf-8") for path in FOLDER.rglob("*.py"))
    named = set(re.findall(r'"([a-z_]+)"', source))
    # One statement for each direction, chosen when it is run.
    statements = {
        name.removesuffix("_desc").removesuffix("_asc").removesuffix("_noted")
        for name in load_statements("postgres").keys() | ONLY_SQLITE
    }
    called = set(re.findall(r'\.(?:all|run|later|single)\(\s*"([a-z_]+)"', source))

    assert statements - named == set()
    assert called - statements == set()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_nothing_of_the_notation_is_left(dialect: str) -> None:
    for statement in load_statements(dialect).values():
        assert "/*" not in statement.sql, statement.name
        assert "--" not in statement.sql, statement.name
        assert statement.uses_now == (dialect == "sqlite" and ":now" in statement.sql)


def test_only_postgres_locks_rows() -> None:
    assert "SKIP LOCKED" in load_statements("postgres")["delete_expired"].sql
    assert "SKIP LOCKED" not in load_statements("sqlite")["delete_expired"].sql


def test_postgres_takes_the_time_from_its_server() -> None:
    for statement in load_statements("postgres").values():
        assert "%(now)s" not in statement.sql, statement.name
    assert "statement_timestamp()" in load_statements("postgres")["delete_expired"].sql


def test_migrations_are_numbered_without_gaps_and_alike() -> None:
    sqlite, postgres = load_migrations("sqlite"), load_migrations("postgres")

    assert [step.version for step in sqlite] == list(range(1, len(sqlite) + 1))
    assert [(s.version, s.name, s.oldest_reader) for s in sqlite] == [
        (s.version, s.name, s.oldest_reader) for s in postgres
    ]


def test_both_schemas_have_the_same_tables_columns_and_indexes(
    sqlite: Storage,
    sqlite_settings: DatabaseSettings,
    postgres_settings: DatabaseSettings,
) -> None:
    sqlite.open()
    here, there = Sql(sqlite_settings), Sql(postgres_settings)
    tables = (
        "forge_job",
        "forge_job_count",
        "forge_queue",
        "forge_slot",
        "forge_worker",
        "forge_lease",
        "forge_metric",
        "forge_metric_source",
        "forge_sample",
        "forge_bulk_run",
        "forge_gauge",
        "forge_audit",
        "forge_cron",
        "forge_request_key",
        "forge_rate_limit",
        "forge_follow_up",
        "forge_error",
        "forge_error_bucket",
        "forge_error_change",
        "forge_log",
        "forge_link",
        "forge_hold",
        "forge_batch",
        "forge_batch_range",
        "forge_batch_dead",
        "forge_step",
    )

    for table in tables:
        columns = [
            row[1] for row in here.run(f"SELECT * FROM pragma_table_info('{table}')")
        ]
        assert columns == [
            row[0]
            for row in there.run(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_name = ? ORDER BY ordinal_position",
                table,
            )
        ]
    ours = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    theirs = "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'forge%'"
    named = {row[0] for row in there.run(theirs) if not row[0].endswith("_pkey")}
    # SQLite counts the jobs of a batch in place.
    named.remove("forge_batch_change_batch")
    assert {row[0] for row in here.run(ours)} == named


# -- engines -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeded_sqlite(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[sqlite3.Connection]:
    """A SQLite file with many jobs of every sort, analysed."""
    settings = DatabaseSettings(path=tmp_path_factory.mktemp("plans") / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        storage.queues.ensure("default")
        seed(Sql(settings))
        assert settings.path is not None
        with contextlib.closing(sqlite3.connect(settings.path)) as connection:
            connection.create_function("forge_finds", 2, finds, deterministic=True)
            yield connection


@pytest.fixture(scope="module")
def seeded_postgres(postgres_server: str) -> Iterator[psycopg2.extensions.cursor]:
    """A PostgreSQL database likewise, and a cursor in autocommit mode."""
    with cursor_after(seed, postgres_server) as cursor:
        yield cursor


@contextlib.contextmanager
def cursor_after(
    fill: Callable[[Sql], None], postgres_server: str
) -> Iterator[psycopg2.extensions.cursor]:
    """Fill a new PostgreSQL database, analyse it, and yield a cursor."""
    with fresh_database(postgres_server) as url:
        settings = DatabaseSettings.from_url(url)
        with contextlib.closing(open_storage(settings)) as storage:
            storage.queues.ensure("default")
        sql = Sql(settings)
        fill(sql)
        sql.run("ANALYZE")
        with contextlib.closing(sql.connect()) as connection:
            yield connection.cursor()


def seed(sql: Sql) -> None:
    sql.seed(ROWS, status="done", prefix="done")
    sql.seed(ROWS // 10, due_in_s=9999, prefix="later")
    sql.seed(ROWS // 20, prefix="seed")
    sql.seed(ROWS // 20, status="failed", prefix="failed")
    sql.seed(ROWS // 20, status="dead", prefix="dead")
    sql.seed(200, status="in_progress", prefix="running")
    sql.run("UPDATE forge_job SET cancel_requested_at = 1 WHERE id = 'running-1'")
    sql.run(
        "UPDATE forge_job SET signature = CASE WHEN id LIKE '%7' THEN 'dead' ELSE 'no' "
        "END WHERE status IN ('failed', 'dead')"
    )
    # Some keys, one of them with jobs that are done.
    sql.run("UPDATE forge_job SET dedupe_key = id WHERE id LIKE 'seed-11_'")
    sql.run("UPDATE forge_job SET dedupe_key = 'seed-111' WHERE id LIKE 'done-12_'")
    sql.run("ANALYZE forge_job")


def test_sqlite_prepares_every_statement(seeded_sqlite: sqlite3.Connection) -> None:
    for statement in load_statements("sqlite").values():
        parameters = parameters_of(statement) or [None] * statement.sql.count("?")
        seeded_sqlite.execute(f"EXPLAIN {statement.sql}", parameters)


def test_postgres_prepares_every_statement(
    seeded_postgres: psycopg2.extensions.cursor,
) -> None:
    for statement in load_statements("postgres").values():
        if statement.name in NOT_EXPLAINED:
            continue  # EXPLAIN takes no DDL, COPY or CALL; other tests run them
        seeded_postgres.execute(f"EXPLAIN {statement.sql}", parameters_of(statement))


@pytest.mark.parametrize("name", sorted(SERVED_BY.keys() - ONLY_POSTGRES))
def test_sqlite_uses_the_named_index(
    seeded_sqlite: sqlite3.Connection, name: str
) -> None:
    statement = load_statements("sqlite")[name]

    rows = seeded_sqlite.execute(
        f"EXPLAIN QUERY PLAN {statement.sql}", parameters_of(statement)
    ).fetchall()

    plan = "\n".join(row[3] for row in rows)
    plan = plan.replace("sqlite_autoindex_forge_job_1", "forge_job_pkey")
    assert re.search(SERVED_BY[name], plan), plan
    # All of an index that holds nothing but running jobs is little to look at.
    fine = r"(?! USING (COVERING|INDEX forge_job_running\b))"
    assert not re.search(rf"SCAN (forge_job|job)\b{fine}", plan), plan


# Many jobs are claimed, and few are in a slot.
LONGEST_RUNS = {"any_queue": True, "queues": "[]", "limit": 10, "now": 0}


def test_sqlite_reads_the_slots_once_for_all_jobs_that_run(
    seeded_sqlite: sqlite3.Connection,
) -> None:
    sql = load_statements("sqlite")["longest_runs"].sql

    plan = seeded_sqlite.execute(f"EXPLAIN QUERY PLAN {sql}", LONGEST_RUNS).fetchall()

    assert plan[0][3].startswith("SCAN s")


def test_postgres_reads_the_slots_once_for_all_jobs_that_run(
    seeded_postgres: psycopg2.extensions.cursor,
) -> None:
    sql = load_statements("postgres")["longest_runs"].sql

    seeded_postgres.execute(f"EXPLAIN {sql}", LONGEST_RUNS)

    plan = "\n".join(row[0] for row in seeded_postgres.fetchall())
    assert re.search(
        r"Seq Scan on forge_slot s.*Subquery Scan on job", plan, re.DOTALL
    ), plan


def test_postgres_reads_the_job_of_a_slot_by_its_id(
    seeded_postgres: psycopg2.extensions.cursor,
) -> None:
    statement = load_statements("postgres")["burden"]
    values = parameters_of(statement)

    seeded_postgres.execute(f"{BEGIN}; EXPLAIN {statement.sql}", values)

    plan = "\n".join(row[0] for row in seeded_postgres.fetchall())
    seeded_postgres.execute("ROLLBACK")
    assert re.search(r"Index Cond: \(id = s\w*\.current_job\)", plan), plan


@pytest.mark.parametrize("name", sorted(SERVED_BY.keys() - FUNCTIONS - ONLY_SQLITE))
def test_postgres_uses_the_named_index(
    seeded_postgres: psycopg2.extensions.cursor, name: str
) -> None:
    statement = load_statements("postgres")[name]

    seeded_postgres.execute(
        f"{BEGIN}; EXPLAIN {statement.sql}", parameters_of(statement)
    )

    plan = "\n".join(row[0] for row in seeded_postgres.fetchall())
    seeded_postgres.execute("ROLLBACK")
    assert re.search(SERVED_BY[name], plan), plan
    assert not re.search(r"Seq Scan on forge_job\b", plan), plan


@pytest.mark.parametrize(
    "name", ["heartbeat", "delete_due", "delete_deferred", "cancel_running"]
)
def test_postgres_locks_all_jobs_before_it_writes_to_one(
    seeded_postgres: psycopg2.extensions.cursor, name: str
) -> None:
    """The plan's condition has counted them before it begins."""
    statement = load_statements("postgres")[name]

    seeded_postgres.execute(f"EXPLAIN {statement.sql}", parameters_of(statement))

    plan = "\n".join(row[0] for row in seeded_postgres.fetchall())
    assert re.search(r"->  Result .*\n *One-Time Filter: \(\(InitPlan \d", plan), plan


def test_postgres_overwrites_figures_by_their_key(postgres_server: str) -> None:
    """Another index would lead to the rows of all processes."""
    statement = load_statements("postgres")["overwrite_metrics"]
    with cursor_after(seed_figures, postgres_server) as cursor:
        values = parameters_of(statement)
        cursor.execute(f"{BEGIN}; EXPLAIN {statement.sql}", values)
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "forge_metric_pkey" in plan, plan


def seed_figures(sql: Sql) -> None:
    """Many folded rows, and those of fifty processes for five kinds in ten buckets."""
    folded_us = f"CAST(n / 5 AS BIGINT) * {10 * SECOND_US}"
    open_us = f"{2**40} + CAST(n / 250 AS BIGINT) * {10 * SECOND_US}"
    source = "'01K' || CAST(n / 5 % 50 AS TEXT)"
    for count, bucket_us, of in ((ROWS, folded_us, "''"), (2500, open_us, source)):
        sql.run(
            "INSERT INTO forge_metric WITH RECURSIVE numbers (n) AS (VALUES (0) "
            f"UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1}) "
            f"SELECT 10, 'default', 'kind-' || CAST(n % 5 AS TEXT), {bucket_us}, {of}, "
            "1, 1, 0, 1, 0, 0, 0, '', '', '' FROM numbers"
        )


@pytest.mark.parametrize("name", sorted(FUNCTIONS - OF_BATCHES))
def test_a_function_of_postgres_uses_the_named_index(
    seeded_postgres: psycopg2.extensions.cursor, name: str
) -> None:
    """Under any session settings, because a single claim sets none."""
    statement = load_statements("postgres")[name]

    seeded_postgres.execute("BEGIN")
    seeded_postgres.execute(statement.sql, parameters_of(statement))
    seeded_postgres.execute(
        "SELECT relname FROM pg_class "
        "WHERE relname ~ '^forge_job' AND pg_stat_get_xact_numscans(oid) > 0"
    )
    # Of the table itself, a scan is one that reads all of it.
    used = {row[0] for row in seeded_postgres.fetchall()}
    seeded_postgres.execute("ROLLBACK")

    assert re.search(rf"\b{SERVED_BY[name]}\b", " ".join(sorted(used))), used
    assert "forge_job" not in used
