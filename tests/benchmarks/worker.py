"""``flask forge-jobs worker`` as a real process: how fast it starts, what it costs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.benchmarks.application import URL_VARIABLE

# The instant comes from the job's row, so a slow look costs no precision.
_LOOK_EVERY_S = 0.05
_LONGEST_START_S = 30.0
_SETTLE_S = 3.0
_IDLE_S = 10.0
_STOP_S = 15.0
_US = 1_000_000


def measure_worker(backend: str, location: str, root: Path) -> dict[str, float]:
    """Start a worker on a database with one waiting job and let it idle.

    Returns:
        ``first_s`` from the start of the process to the job's end, ``idle_percent`` of
        a core over ten seconds, ``rss_mib`` after them.

    Raises:
        TimeoutError: The job was not done in time.
    """
    url = f"sqlite:///{location}" if backend == "sqlite" else location
    settings = DatabaseSettings.from_url(url)
    clock = SystemClock()
    with (
        contextlib.closing(open_storage(settings)) as storage,
        tempfile.TemporaryFile("w+") as log,
    ):
        begun_us = clock.now_us()
        with _worker(url, root, log) as process:
            done_us = _wait_until_done(storage, log)
            time.sleep(_SETTLE_S)
            before_s = _cpu_s(process.pid)
            time.sleep(_IDLE_S)
            return {
                "first_s": (done_us - begun_us) / _US,
                "idle_percent": (_cpu_s(process.pid) - before_s) / _IDLE_S * 100,
                "rss_mib": _rss_mib(process.pid),
            }


@contextlib.contextmanager
def _worker(url: str, root: Path, log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    application = "tests.benchmarks.application"
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", application, "forge-jobs", "worker"],
        cwd=root,
        env=os.environ | {URL_VARIABLE: url, "FLASK_SKIP_DOTENV": "1"},
        stderr=log,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_done(storage: Storage, log: IO[str]) -> int:
    """Return when the only job ended, in microseconds since the epoch."""
    ends_at = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < ends_at:
        for job in storage.job_reader.page(JobFilter(), 1, 0).rows:
            if job.completed_at is not None:
                return to_micros(job.completed_at)
        time.sleep(_LOOK_EVERY_S)
    log.seek(0)
    last = log.read().strip().rpartition("\n")[2]
    raise TimeoutError(f"no job was done within {_LONGEST_START_S:g} s; {last}")


def _cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, in user and kernel mode."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # The name, in parentheses, may hold spaces; fields 14 and 15 count from 1.
    after_name = text.rpartition(")")[2].split()
    ticks = int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")
