"""The server, or SQLite, has no room on its disk any more."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psycopg2

from flask_forge_jobs import NewJob
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.application import KIND, STARTED
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.acceptance.ledger import Ack
from tests.support.cluster import ROLE, Cluster, cluster
from tests.support.databases import sqlite_url
from tests.support.waiting import wait_until

DISK_BYTES = 16 * 1024 * 1024
# What workers say of it.
_FELT = {"postgres": b"(53100)", "sqlite": b"database or disk is full"}
FELT_LIMIT_S = 120.0
# For how long there is no room after workers have met it.
FULL_RANGE_S = (0.5, 4.0)
# Waiting when the disk becomes full, so that workers have something to claim.
BACKLOG = 200
RECOVERY_LIMIT_S = 35.0
_PAGE = b"\0" * 8192
_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
END $$
"""


class Disk(Protocol):
    """What becomes full and is not any more."""

    name: str

    def fill(self) -> None:
        """Leave no room."""

    def free(self) -> None:
        """Leave room again."""


class SmallDisk:
    """A small file system with our tables on it, and a file that takes the rest."""

    name = "a file system of 16 MiB"

    def __init__(self, folder: Path) -> None:
        self._balloon = folder / "balloon"

    def fill(self) -> None:
        """Write until nothing fits any more."""
        with self._balloon.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(_PAGE)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Delete the file."""
        self._balloon.unlink()


class Refusal:
    """A trigger that says what a full disk makes the server say.

    It is for those who may not mount anything: every write of a job fails then, where a
    disk that is really full refuses only those that need more room.
    """

    name = "a trigger, for only root may mount a disk"

    def __init__(self, server: Cluster) -> None:
        self._server = server

    def fill(self) -> None:
        """Refuse every write of a job."""
        self._server.ask(
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON forge_job "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )

    def free(self) -> None:
        """Refuse nothing."""
        self._server.ask("DROP TRIGGER refuse ON forge_job")


def no_room(bench: Bench) -> str:
    """C17."""
    with cluster() as server, _disk(server) as disk:
        return _run(bench, server.url, disk)


def no_room_for_a_file(bench: Bench) -> str:
    """D5."""
    assert os.geteuid() == 0, "only root may mount a disk"
    with _mounted() as folder:
        return _run(bench, sqlite_url(folder / "queue.sqlite"), SmallDisk(folder))


def _run(bench: Bench, url: str, disk: Disk) -> str:
    rounds = bench.pick(1, 2, 5)
    recoveries: list[float] = []

    def inject(driver: Driver) -> None:
        assert isinstance(driver, UnderFault)
        # However long the start took, it must meet a disk that is full.
        driver.producer.may_end = False
        recoveries.extend(_round(bench, driver, disk) for _ in range(rounds))
        driver.producer.may_end = True

    driver = UnderFault(
        plan_of(bench, bench.pick(200, 500, 1_500)),
        url,
        bench.folder,
        inject,
        duration_s=rounds * 8.0,
    )
    report = driver.run()
    felt = driver.fleet.log.read_bytes().count(_FELT[bench.backend])
    require_sound(report)
    return (
        f"{disk.name}: {rounds} times full, told {felt} times by workers, "
        f"{driver.unclear} calls refused with StorageUnavailableError, then a job "
        f"starts in {max(recoveries):.1f} s; {report.figures['acknowledged']} jobs, "
        "0 lost, 0 runs that were not claimed, 0 run again"
    )


def _round(bench: Bench, driver: UnderFault, disk: Disk) -> float:
    """Leave no room for a while; return how long a job takes to start afterwards."""
    driver.store_plainly(BACKLOG, 2, sleep_ms=20)
    felt = _FELT[bench.backend]
    before = driver.fleet.log.read_bytes().count(felt)
    refused = driver.producer.unclear
    disk.fill()
    try:
        _is_refused(driver)
        wait_until(
            lambda: driver.fleet.log.read_bytes().count(felt) > before,
            "workers meet it",
            FELT_LIMIT_S,
        )
        wait_until(
            lambda: driver.producer.unclear > refused,
            "the producer meets it",
            FELT_LIMIT_S,
        )
        threading.Event().wait(bench.random.uniform(*FULL_RANGE_S))
        _no_run_without_a_claim(driver)
    finally:
        disk.free()
    recovery_s = driver.probe()
    assert recovery_s <= RECOVERY_LIMIT_S, f"a job started after {recovery_s:.1f} s"
    return recovery_s


def _is_refused(driver: UnderFault) -> None:
    """Store until there is no room for it, which is told as what it is."""
    ends_at = time.monotonic() + FELT_LIMIT_S
    while time.monotonic() < ends_at:
        job = NewJob(KIND, dump({"number": 0, "sleep_ms": 1}))
        try:
            driver.note(Ack(driver.storage.jobs.enqueue(job).id))
        except StorageUnavailableError as error:
            if _means_full(error.__cause__):
                return
            raise
    raise AssertionError("everything is stored on a disk that is full")


def _means_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, psycopg2.errors.DiskFull)


def _no_run_without_a_claim(driver: UnderFault) -> None:
    """Every run that has begun is one that the database knows of."""
    lines = driver.fleet.ledger.read_bytes().decode().splitlines()
    runs = {
        (fields[1], int(fields[2]))
        for fields in (line.split() for line in lines)
        if fields[0] == STARTED
    }
    claims = dict(driver.sql.run("SELECT id, claims FROM forge_job"))
    unclaimed = [run for run in runs if claims.get(run[0], 0) < run[1]]
    assert not unclaimed, f"{len(unclaimed)} runs without a claim: {unclaimed[0]}"


@contextlib.contextmanager
def _disk(server: Cluster) -> Iterator[Disk]:
    """Make a disk, and our tables on it."""
    if os.geteuid() != 0:
        _make_tables(server)
        server.ask(_REFUSE)
        yield Refusal(server)
        return
    with _mounted() as folder:
        tables = folder / "tables"
        tables.mkdir(mode=0o700)
        assert server.system_user is not None
        user = pwd.getpwnam(server.system_user)
        os.chown(tables, user.pw_uid, user.pw_gid)
        server.ask(f"CREATE TABLESPACE small LOCATION '{tables}'")
        server.ask(f"GRANT CREATE ON TABLESPACE small TO {ROLE}")
        server.ask(f"ALTER ROLE {ROLE} SET default_tablespace = small")
        _make_tables(server)
        yield SmallDisk(folder)


@contextlib.contextmanager
def _mounted() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="forge-small-"))
    options = f"size={DISK_BYTES},mode=755"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        # A server still has files of it open, and stops later.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def _make_tables(server: Cluster) -> None:
    settings = DatabaseSettings.from_url(server.url)
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
