"""Rows E9 and E11: who migrates, and who must not go on."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

from flask_forge_jobs.runtime.foreground import EXIT_TAINTED
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.migrate import apply_migrations
from tests.acceptance.application import ENDED
from tests.acceptance.evidence import damage
from tests.acceptance.faults.fault import Bench, Scale
from tests.acceptance.faults.pooler import pooled
from tests.acceptance.faults.scene import Scene, staged
from tests.support.cluster import cluster
from tests.support.jobs import QUEUE, enqueue
from tests.support.later_steps import (
    ADDITIVE,
    BREAKING,
    later_steps,
    later_storage,
    migrated,
)
from tests.support.processes import start_python
from tests.support.waiting import wait_until

PROCESSES = 16
LEASE_S = 3.0
STARTS_LIMIT_S = 60.0
# What a later release would bring: there are few steps yet to be behind by.
_LATER = (ADDITIVE, BREAKING)
# Opens and closes the stores each time it is told to.
_OPENER = f"""
from tests.support.later_steps import become_later
become_later(*{_LATER})
for line in sys.stdin:
    storage = open_storage(settings)
    try:
        storage.open()
        print("opened", flush=True)
    except Exception as error:
        print(repr(error), flush=True)
    storage.close()
"""
_OLD_JOB = (
    "INSERT INTO forge_job (id, queue_name, kind, payload, enqueued_at, scheduled_at) "
    "VALUES ('old', 'default', 'noop', '{}', 1, 1)"
)


def migrate_at_once(bench: Bench) -> str:
    """E9: many processes start on an empty or an old schema, pooled ones too."""
    repeats = _migrate_at_once(bench, bench)
    seen = (
        f"{repeats} times {PROCESSES} processes, by turns on nothing and on an older "
        "schema with a job, migrated once each time, 0 errors"
    )
    # The short form runs where PgBouncer need not be there.
    if bench.backend == "sqlite" or bench.scale is Scale.SHORT:
        return seen
    with cluster() as server, pooled(server) as pooler:
        # An index is checked by an extension, which only the administrator may add.
        observer = replace(bench, url=server.observer_url)
        _migrate_at_once(replace(bench, url=pooler.url), observer)
    return f"{seen}; as often through PgBouncer"


def _migrate_at_once(bench: Bench, observer: Bench) -> int:
    repeats = bench.pick(2, 10, 100)
    newest = later_steps(bench.backend, *_LATER)[-1].version
    with _openers(bench) as openers:
        for number in range(repeats):
            _forget(bench)
            # In turn: nothing at all, and the schema of an earlier version.
            version = bench.random.randrange(1, newest) if number % 2 else 0
            if version:
                _bring(bench, version)
            _open_together(openers)
            _assert_current(bench, version)
            assert damage(observer.sql, observer.settings) == []
    return repeats


@contextlib.contextmanager
def _openers(bench: Bench) -> Iterator[list[subprocess.Popen[str]]]:
    openers = [start_python(bench.settings, _OPENER) for _ in range(PROCESSES)]
    try:
        yield openers
    finally:
        for opener in openers:
            opener.kill()
            opener.communicate()


def _open_together(openers: list[subprocess.Popen[str]]) -> None:
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("now\n")
        opener.stdin.flush()
    said = []
    for opener in openers:
        assert opener.stdout is not None
        said.append(opener.stdout.readline().strip())
    others = [each for each in said if each != "opened"]
    assert not others, f"{len(others)} of {len(said)} failed: {others[0]}"


def _forget(bench: Bench) -> None:
    path = bench.settings.path
    if path is None:
        bench.sql.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_file():
            file.unlink()


def _bring(bench: Bench, version: int) -> None:
    """Bring the schema of an earlier version, with a job in it."""
    steps = later_steps(bench.backend, *_LATER)[:version]
    path = bench.settings.path
    if path is None:
        from flask_forge_jobs.storage.postgres.transaction import PostgresSchema

        with contextlib.closing(bench.sql.connect()) as server:
            apply_migrations(PostgresSchema(server), steps, may_change=True)
    else:
        from flask_forge_jobs.storage.sqlite.transaction import SqliteSchema

        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
            apply_migrations(SqliteSchema(file, 0), steps, may_change=True)
    bench.sql.run(_OLD_JOB)


def _assert_current(bench: Bench, version: int) -> None:
    known = [step.version for step in later_steps(bench.backend, *_LATER)]
    rows = bench.sql.run("SELECT version FROM forge_schema ORDER BY version")
    assert [number for (number,) in rows] == known
    shapes = bench.sql.run("SELECT later_shape FROM forge_job")
    assert shapes == ([(1,)] if version else []), "the last step was not run once"
    with later_storage(bench.settings, *_LATER) as storage:
        job_id = enqueue(storage)
        claimed = {job.id for job in storage.jobs.claim(QUEUE, "owner", 10)}
    assert claimed == ({job_id, "old"} if version else {job_id})
    bench.sql.assert_counts_equal_rows()


def newer_schema(bench: Bench) -> str:
    """E11: the schema is newer than the code, for one that starts and some that run."""
    count = bench.pick(1, 3, 3)
    newest = load_migrations(bench.backend)[-1].version
    with staged(bench, threads=2, lease_s=LEASE_S) as scene:
        workers = scene.start(count)
        running = scene.enqueue({"number": n, "sleep_ms": 4_000} for n in range(count))
        wait_until(lambda: len(scene.starts()) == count, "jobs run")
        with migrated(bench.settings, BREAKING) as later:
            came_at = time.monotonic()
            said = _refusal_to_start(scene)
            assert f"schema version {newest + 1}" in said, said
            assert f"knows {newest};" in said, said
            statuses = [each.process.wait(STARTS_LIMIT_S) for each in workers]
            took_s = time.monotonic() - came_at
            scene.fleet.workers.clear()
            assert set(statuses) == {EXIT_TAINTED}, statuses
            late = enqueue(later)
            refused = scene.fleet.start()
            assert refused.process.wait(STARTS_LIMIT_S) == 1
            scene.fleet.workers.clear()
            job = later.job_reader.get(late)
            assert job.attempts == 0, "somebody claimed a job of a newer schema"
        ended = {line.job_id for line in scene.lines() if line.event == ENDED}
        assert ended == set(running), "a running job was not finished"
    return (
        f"start refused with both versions; {count} running workers finished their "
        f"jobs and ended with {EXIT_TAINTED} within {took_s:.1f} s"
    )


def _refusal_to_start(scene: Scene) -> str:
    before = scene.fleet.log.stat().st_size
    worker = scene.fleet.start()
    assert worker.process.wait(STARTS_LIMIT_S) == 1, "it started"
    scene.fleet.workers.remove(worker)
    with scene.fleet.log.open("rb") as log:
        log.seek(before)
        return log.read().decode()
