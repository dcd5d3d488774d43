"""Row D9: the file is deleted, moved or replaced while a process has it open.

SQLite itself goes on with the file that is open, so jobs would be acknowledged that
nobody finds.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.runtime.foreground import EXIT_TAINTED
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.scene import staged
from tests.support.databases import sqlite_url
from tests.support.file_harms import HARMS, restore
from tests.support.processes import start_python

ASKED = 3
LEASE_S = 3.0
WAIT_S = 60.0
_ENQUEUE = """
from flask_forge_jobs.errors import StorageUnavailableError
for line in sys.stdin:
    try:
        print("stored", storage.jobs.enqueue(NewJob("noop")).id, flush=True)
    except StorageUnavailableError as error:
        print("refused", error, flush=True)
storage.close()
"""
_REASON = "was moved, deleted or replaced"


def replaced_file(bench: Bench) -> str:
    """D9: harm a file that a process has open, and ask that process for more."""
    harms = list(islice(cycle(HARMS), bench.pick(3, 10, 10)))
    for number, harm in enumerate(harms):
        folder = bench.folder / f"file-{number}"
        folder.mkdir()
        path = folder / "queue.sqlite"
        settings = replace(bench.settings, path=path)
        with _producer(settings) as producer:
            before = [_answer(producer) for _ in range(ASKED)]
            harm(path)
            is_there = path.exists()
            after = [_answer(producer) for _ in range(ASKED)]
        with _producer(settings) as producer:
            anew = _answer(producer)
        assert all(text.startswith("stored ") for text in (*before, anew))
        for text in after:
            assert text.startswith("refused "), f"{harm.__name__}: {text}"
            assert _REASON in text, text
        assert is_there == (harm is restore)
    _worker_makes_way(bench)
    refusals = ASKED * len(harms)
    return (
        f"{len(harms)} files, {refusals} of {refusals} writes refused by name; "
        "a worker ended with 75"
    )


def _worker_makes_way(bench: Bench) -> None:
    """A worker ends before its lease does; the next one works on what is there."""
    folder = bench.folder / "worker"
    folder.mkdir()
    path = folder / "queue.sqlite"
    field = replace(bench, folder=folder, url=sqlite_url(path))
    with staged(field, threads=1, lease_s=LEASE_S) as scene:
        (worker,) = scene.start(1)
        restore(path)
        assert worker.process.wait(WAIT_S) == EXIT_TAINTED
        scene.fleet.replace_ended()
        scene.wait_for(scene.fleet.workers[0])
        assert scene.fleet.stop() == []


@contextlib.contextmanager
def _producer(settings: DatabaseSettings) -> Iterator[subprocess.Popen[str]]:
    producer = start_python(settings, _ENQUEUE)
    try:
        yield producer
        producer.communicate(timeout=WAIT_S)
    finally:
        producer.kill()
        producer.communicate()


def _answer(producer: subprocess.Popen[str]) -> str:
    assert producer.stdin is not None
    assert producer.stdout is not None
    producer.stdin.write("enqueue\n")
    producer.stdin.flush()
    return producer.stdout.readline().strip()
