"""The code that ``multiprocessing`` children run; they import only this module."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal
from unittest import mock

from flask_forge_jobs import DatabaseSettings, NewJob, open_storage

ROOT = Path(__file__).resolve().parents[2]
KIND, ELSEWHERE = "child", "elsewhere"
Method = Literal["fork", "forkserver", "spawn"]
_STARTED = {
    "fork": multiprocessing.get_context("fork").Process,
    "forkserver": multiprocessing.get_context("forkserver").Process,
    "spawn": multiprocessing.get_context("spawn").Process,
}


def store(url: str) -> str:
    """Store a job with a storage of one's own; return its id."""
    with contextlib.closing(open_storage(DatabaseSettings.from_url(url))) as storage:
        return storage.jobs.enqueue(NewJob(KIND, queue_name=ELSEWHERE)).id


def _store_and_tell(url: str, told: Connection) -> None:
    told.send(store(url))


def store_in(method: Method, url: str, limit_s: float) -> str:
    """Have a process that is started by this method store a job; return its id."""
    ours, theirs = multiprocessing.Pipe()
    process = _STARTED[method](target=_store_and_tell, args=(url, theirs))
    # So that it finds this module.
    with mock.patch.object(sys, "path", [str(ROOT), *sys.path]):
        process.start()
    assert ours.poll(limit_s), f"a process started by {method} does not answer"
    job_id: str = ours.recv()
    process.join()
    return job_id
