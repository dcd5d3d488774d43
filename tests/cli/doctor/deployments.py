"""Deployments that are really broken, each by one fault.

Each is an application with its database in the named state, not a stand-in for what
doctor reads. Three are stand-ins: no test can mount a network file system, root may
write to any file, and an Alembic without plug-ins is not installed;
``tests.acceptance.migrations`` runs doctor with one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy

from flask_forge_jobs.cli.doctor import storage as doctor
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import SampleSums, floor_to
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage import attention
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.postgres import listener
from flask_forge_jobs.storage.postgres.deployment import MANY_DEAD_ROWS
from flask_forge_jobs.storage.sqlite import files
from tests.cli.console import SOUND, Console
from tests.support.jobs import enqueue
from tests.support.later_steps import ADDITIVE, BREAKING, become_later, migrated
from tests.support.proxy import proxied
from tests.support.runtimes import HeldTask, registry_of, running
from tests.support.sql import Sql
from tests.support.standby import running_standby
from tests.support.waiting import wait_until
from tests.support.wire import NOTIFICATION


@dataclass
class Site:
    """Where a deployment is made.

    Args:
        folder: An empty folder that only its owner can use.
        server: Returns the URL of an empty database of a server.
        patch: Undone after the test.
    """

    folder: Path
    server: Callable[[], str]
    patch: pytest.MonkeyPatch
    _made: list[Console] = field(default_factory=list)

    def console(self, url: str | None = None, **settings: Any) -> Console:
        """Return the commands of an application that has no other fault."""
        made = Console(self.folder, url, settings={**SOUND, **settings})
        self._made.append(made)
        return made

    def deployed(self, url: str | None = None, **settings: Any) -> Console:
        """Return the same with a migrated database."""
        made = self.console(url, **settings)
        made.storage.open()
        return made

    def close(self) -> None:
        """Close what the applications have opened."""
        for each in self._made:
            each.storage.close()


# More than doctor puts up with.
DEAD_ROWS = MANY_DEAD_ROWS + 1
ROWS = (
    "INSERT INTO forge_gauge SELECT 60, 'mail', n, 0, 0, 0, 0, 0, 0 "
    f"FROM generate_series(1, {DEAD_ROWS}) AS n"
)
Make = Callable[[Site], AbstractContextManager[Console]]


@dataclass(frozen=True)
class Broken:
    """A deployment, the code of its only finding, and the begin of its remedy."""

    code: str
    remedy: str
    make: Make
    env: dict[str, str]
    is_long: bool

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.make.__name__


BROKEN: list[Broken] = []


def broken(
    code: str, remedy: str, *, is_long: bool = False, **env: str
) -> Callable[[Callable[[Site], Iterator[Console]]], None]:
    """Add a deployment; the decorated generator yields its console."""

    def add(make: Callable[[Site], Iterator[Console]]) -> None:
        manager = contextlib.contextmanager(make)
        BROKEN.append(Broken(code, remedy, manager, env, is_long))

    return add


def sql_of(console: Console) -> Sql:
    """Return SQL beside the stores of an application."""
    return Sql(state_of(console.app).database.settings)


@contextlib.contextmanager
def worker_of(storage: Storage, *queues: str) -> Iterator[None]:
    """Run a worker that knows no task but ``held``."""

    def has_beaten() -> bool:
        facts = storage.attention.facts(from_micros(SystemClock().now_us()))
        return facts.served >= set(queues)

    with running(storage, registry_of(HeldTask()), queues=queues):
        wait_until(has_beaten, "the worker beats")
        yield


@contextlib.contextmanager
def altered(url: str, name: str, value: str) -> Iterator[None]:
    """Let new sessions of a database have a setting."""
    sql = Sql(DatabaseSettings.from_url(url))
    database = sql.value("SELECT current_database()")
    sql.run(f"ALTER DATABASE {database} SET {name} = {value}")
    try:
        yield
    finally:
        sql.run(f"ALTER DATABASE {database} RESET {name}")


# -- settings and environment ------------------------------------------------------


@broken("variable_ignored", "call app.config.from_prefixed_env()")
def a_variable_that_nothing_reads(site: Site) -> Iterator[Console]:
    site.patch.setenv("FORGE_JOBS_POOL_SIZE", "5")
    yield site.deployed()


@broken("debug_mode", "turn it off in production", FLASK_DEBUG="1")
def a_worker_in_debug_mode(site: Site) -> Iterator[Console]:
    yield site.deployed()


@broken("no_access", "set FORGE_JOBS_TOKENS")
def nobody_gets_in(site: Site) -> Iterator[Console]:
    yield site.deployed(FORGE_JOBS_TOKENS=[])


@broken("open_to_everybody", "return None from it")
def a_login_that_asks_for_nothing(site: Site) -> Iterator[Console]:
    yield site.deployed(FORGE_JOBS_AUTH=lambda _: True)


@broken("secret_missing", "set SECRET_KEY")
def no_secret(site: Site) -> Iterator[Console]:
    yield site.deployed(SECRET_KEY=None)


@broken("pool_too_small", "set it to 13 or more")
def a_pool_smaller_than_a_worker(site: Site) -> Iterator[Console]:
    yield site.deployed(site.server(), FORGE_JOBS_POOL_SIZE=5)


@broken("alembic_drops_tables", "install Alembic 1.18")
def an_old_alembic_beside_the_jobs(site: Site) -> Iterator[Console]:
    facts = site.folder / "packages" / "alembic-1.13.0.dist-info" / "METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Metadata-Version: 2.1\nName: alembic\nVersion: 1.13.0\n")
    site.patch.syspath_prepend(facts.parent.parent)
    console = site.deployed()
    sql_of(console).run("CREATE TABLE alembic_version (version_num TEXT)")
    yield console


# -- the database ------------------------------------------------------------------


@broken("database_away", "start it, or correct the setting that names it")
def a_server_that_is_down(site: Site) -> Iterator[Console]:
    yield site.console("postgresql://shop:s3cr3t@127.0.0.1:1/none?connect_timeout=1")


@broken("database_away", "start it, or correct the setting that names it")
def a_file_that_is_no_database(site: Site) -> Iterator[Console]:
    path = site.folder / "queue.sqlite"
    path.write_text("jobs: none\n" * 100)
    yield site.console(f"sqlite:///{path}")


@broken("schema_missing", "flask forge-jobs db migrate")
def no_tables(site: Site) -> Iterator[Console]:
    yield site.console()


def _old_schema(site: Site, url: str | None) -> Iterator[Console]:
    site.deployed(url).storage.close()
    undo = become_later(ADDITIVE)
    try:
        yield site.console(url)
    finally:
        undo()


@broken("schema_old", "flask forge-jobs db migrate")
def newer_code_than_the_file(site: Site) -> Iterator[Console]:
    yield from _old_schema(site, None)


@broken("schema_old", "flask forge-jobs db migrate")
def newer_code_than_the_server(site: Site) -> Iterator[Console]:
    yield from _old_schema(site, site.server())


def _newer_schema(console: Console) -> Iterator[Console]:
    with migrated(state_of(console.app).database.settings, BREAKING):
        yield console


@broken("schema_too_new", "install the newer package here")
def older_code_than_the_file(site: Site) -> Iterator[Console]:
    yield from _newer_schema(site.deployed())


@broken("schema_too_new", "install the newer package here")
def older_code_than_the_server(site: Site) -> Iterator[Console]:
    yield from _newer_schema(site.deployed(site.server()))


@broken("folder_writable", "use a folder that only its owner can write to")
def a_folder_of_everybody(site: Site) -> Iterator[Console]:
    console = site.deployed()
    site.folder.chmod(0o1777)
    yield console


@broken("file_readable", "chmod 640 ")
def a_file_of_everybody(site: Site) -> Iterator[Console]:
    console = site.deployed()
    path = state_of(console.app).database.settings.path
    assert path is not None
    path.chmod(0o644)
    yield console


@broken("file_read_only", "make it writable to the user of the workers")
def a_file_as_the_kernel_would_refuse_it(site: Site) -> Iterator[Console]:
    console = site.deployed()
    path = state_of(console.app).database.settings.path
    site.patch.setattr("os.access", lambda place, _: place != path)
    yield console


@broken("network_file_system", "use a local disk")
def a_share_as_the_kernel_would_list_it(site: Site) -> Iterator[Console]:
    console = site.deployed()
    device = site.folder.stat().st_dev
    mounts = site.folder / "mountinfo"
    mounts.write_text(
        f"36 35 {device >> 8}:{device & 0xFF} / /srv rw - nfs4 nas:/srv rw\n"
    )
    site.patch.setattr(files, "MOUNTS", mounts)
    yield console


@broken("disk_full", "free some, or move the file to a larger disk")
def a_disk_with_hardly_any_space(site: Site) -> Iterator[Console]:
    disk = SimpleNamespace(f_frsize=4096, f_bavail=100_000, f_blocks=2_000_001)
    site.patch.setattr(os, "statvfs", lambda _: disk)
    yield site.deployed()


@broken("sqlite_affected", "call flask_forge_jobs.sqlite.disable_autocheckpoint")
def an_engine_without_the_checkpoint_rule(site: Site) -> Iterator[Console]:
    """Affected versions only; the test knows."""
    console = site.deployed()
    path = state_of(console.app).database.settings.path
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as shared:
        shared.exec_driver_sql("CREATE TABLE customer (id INTEGER PRIMARY KEY)")
    yield console
    engine.dispose()


@broken("standby_unused", "start it, or correct or remove FORGE_JOBS_READ_DATABASE_URL")
def a_standby_that_is_down(site: Site) -> Iterator[Console]:
    address = "postgresql://shop:s3cr3t@127.0.0.1:1/none"
    yield site.deployed(site.server(), FORGE_JOBS_READ_DATABASE_URL=address)


@broken("standby_unused", "start it, or correct or remove FORGE_JOBS_READ_DATABASE_URL")
def a_standby_that_is_the_primary(site: Site) -> Iterator[Console]:
    url = site.server()
    yield site.deployed(url, FORGE_JOBS_READ_DATABASE_URL=url)


@contextlib.contextmanager
def _a_paused_standby(url: str) -> Iterator[str]:
    with running_standby(url) as standby:
        standby.wait_level(url)
        standby.pause()
        yield standby.at(url)


@broken("standby_behind", "look into pg_stat_replication", is_long=True)
def a_standby_that_stands_still(site: Site) -> Iterator[Console]:
    url = site.server()
    with _a_paused_standby(url) as read_url:
        console = site.deployed(url, FORGE_JOBS_READ_DATABASE_URL=read_url)
        sql_of(console).run("CREATE TABLE later (n INTEGER)")
        yield console
        sql_of(console).run("DROP TABLE later")
        state_of(console.app).storage.close()


@broken("not_durable", "set synchronous_commit = on")
def a_database_that_acknowledges_too_soon(site: Site) -> Iterator[Console]:
    with altered(site.server(), "synchronous_commit", "off"):
        yield site.deployed(site.server())


@broken("clock_skew", "synchronise both hosts by NTP")
def a_server_whose_clock_is_ahead(site: Site) -> Iterator[Console]:
    """Its function for the time is shadowed by one that is 90 s ahead."""
    sql = Sql(DatabaseSettings.from_url(site.server()))
    sql.run(
        "CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS "
        "timestamptz LANGUAGE sql AS "
        "'SELECT pg_catalog.clock_timestamp() + interval ''90 s'''"
    )
    try:
        with altered(site.server(), "search_path", "ahead, pg_catalog, public"):
            yield site.deployed(site.server())
    finally:
        sql.run("DROP SCHEMA ahead CASCADE")


@broken("autovacuum_off", "ALTER TABLE forge_job RESET (autovacuum_enabled)")
def a_table_without_autovacuum(site: Site) -> Iterator[Console]:
    console = site.deployed(site.server())
    sql = sql_of(console)
    sql.run("ALTER TABLE forge_job SET (autovacuum_enabled = false)")
    yield console
    sql.run("ALTER TABLE forge_job RESET (autovacuum_enabled)")


@broken("dead_rows", "VACUUM (ANALYZE) forge_gauge")
def a_table_of_dead_rows(site: Site) -> Iterator[Console]:
    """Rows whose transaction was rolled back, and a reader that keeps them."""
    console = site.deployed(site.server())
    sql = sql_of(console)
    with contextlib.closing(sql.connect()) as reader:
        reader.cursor().execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        with contextlib.closing(sql.connect()) as writer:
            writer.cursor().execute(f"BEGIN; {ROWS}; ROLLBACK")
        dead = "SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'forge_gauge'"
        wait_until(lambda: sql.value(dead) > MANY_DEAD_ROWS, "the server counts them")
        yield console
    sql.run("VACUUM (ANALYZE) forge_gauge")


@broken("notify_missing", "set FORGE_JOBS_LISTEN_URL")
def a_pooler_that_loses_notifications(site: Site) -> Iterator[Console]:
    settings = DatabaseSettings.from_url(site.server())
    site.deployed(site.server()).storage.close()
    site.patch.setattr(listener, "SELF_TEST_LIMIT_S", 0.3)
    site.patch.setattr(doctor, "NOTIFY_WITHIN_S", 0.3)
    with proxied(settings) as proxy:
        proxy.weather.drops = {NOTIFICATION}
        console = site.deployed(proxy.url_of(settings))
        yield console
        console.storage.close()


def _old_snapshot(site: Site) -> Iterator[Console]:
    console = site.deployed(site.server())
    sql = sql_of(console)
    age = "SELECT extract(epoch FROM max(clock_timestamp() - xact_start)) FROM "
    with contextlib.closing(sql.connect()) as reader:
        reader.cursor().execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        wait_until(
            lambda: (
                sql.value(
                    f"{age} pg_stat_activity WHERE pid = {reader.info.backend_pid}"
                )
                > attention.OLD_TRANSACTION_S
            ),
            "the snapshot is old",
            limit_s=120,
        )
        yield console


@broken("transaction_open", "SELECT pg_terminate_backend(")
def an_old_snapshot(site: Site) -> Iterator[Console]:
    site.patch.setattr(attention, "OLD_TRANSACTION_S", 0.2)
    yield from _old_snapshot(site)


@broken("transaction_open", "SELECT pg_terminate_backend(", is_long=True)
def a_snapshot_of_a_minute(site: Site) -> Iterator[Console]:
    yield from _old_snapshot(site)


@broken("database_locked", "end the process that")
def a_file_whose_lock_is_kept(site: Site) -> Iterator[Console]:
    console = site.deployed()
    storage, sql = console.storage, sql_of(console)
    storage.workers.beat("W", "w", ["mail"], [])
    sql.age(61)
    with sql.write_lock():
        yield console


@broken("database_slow", "look for other load")
def a_server_that_answers_slowly(site: Site) -> Iterator[Console]:
    console = site.deployed()
    storage, at = console.storage, SystemClock().now_us()
    storage.workers.beat("W", "w", ["mail"], [])
    hour = 3600 * SECOND_US
    usual = {(1800, floor_to(at, 3600) - n * hour): _times(0.004) for n in range(1, 8)}
    storage.samples.put("W", usual | {(60, floor_to(at, 60)): _times(0.4)})
    yield console


def _times(read_s: float) -> SampleSums:
    sums = SampleSums(samples=1)
    sums.reads.record_many([int(read_s * SECOND_US)] * 20)
    return sums


# -- work and workers --------------------------------------------------------------


@broken("no_worker", "flask forge-jobs worker --queues mail")
def jobs_without_a_worker(site: Site) -> Iterator[Console]:
    console = site.deployed()
    enqueue(console.storage, queue_name="mail")
    yield console


@broken("queue_unserved", "flask forge-jobs worker --queues mail")
def a_queue_that_no_worker_serves(site: Site) -> Iterator[Console]:
    console = site.deployed()
    enqueue(console.storage, "held", queue_name="mail")
    with worker_of(console.storage, "bank"):
        yield console


@broken("queue_without_slots", "flask forge-jobs queues set mail --max-workers 64")
def a_queue_without_slots(site: Site) -> Iterator[Console]:
    console = site.deployed()
    console.storage.queues.ensure("mail")
    console.storage.queues.change("mail", {"max_workers": 0})
    enqueue(console.storage, "held", queue_name="mail")
    with worker_of(console.storage, "mail"):
        yield console


@broken("kind_unknown", "deploy its task to the workers of mail, or ")
def a_kind_that_was_renamed(site: Site) -> Iterator[Console]:
    """The worker would try the job now and then; a pause keeps it waiting."""
    console = site.deployed()
    with worker_of(console.storage, "mail"):
        console.storage.queues.set_paused_many(["mail"], paused=True)
        enqueue(console.storage, "hold", queue_name="mail")
        yield console


@broken("worker_lost", "read its log")
def a_worker_that_fell_silent(site: Site) -> Iterator[Console]:
    console = site.deployed()
    console.storage.workers.beat("W", "w", ["mail"], [])
    sql_of(console).age(61)
    yield console


@broken("duty_late", "read its log")
def a_duty_that_does_not_tick(site: Site) -> Iterator[Console]:
    console = site.deployed()
    late = ServiceAge("reaper", 300.0, 15.0)
    console.storage.workers.beat("W", "w", ["mail"], [], [late])
    yield console


@broken("batch_counts", "start a worker, which corrects the counts")
def a_batch_whose_counts_were_changed_by_hand(site: Site) -> Iterator[Console]:
    console = site.deployed()
    later = NewJob("part", queue_name="mail", delay=3600)
    console.storage.batches.create(NewBatch("report"), [later])
    sql = sql_of(console)
    sql.age(61)
    sql.run("UPDATE forge_batch SET total = 2")
    yield console
