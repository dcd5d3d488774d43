"""Takes the pictures of the documentation, of a demo whose clock stands still.

``python -m tests.acceptance.pictures --docs`` runs it. All that the pages show follows
from :data:`NOW`, so the pictures change only with the pages.
"""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from random import Random

from flask import Flask
from playwright.sync_api import Browser, Page

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.demo import scenery
from flask_forge_jobs.demo.flows import WORKERS
from flask_forge_jobs.demo.past_clock import PastClock
from flask_forge_jobs.demo.shop import LEDGER
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.support.browser import Theme, tab
from tests.support.databases import sqlite_url
from tests.support.wsgi import served

FOLDER = Path(__file__).parents[2] / "docs" / "_static" / "dashboard"
NOW_US = 1_779_374_180 * SECOND_US  # a Thursday afternoon in May 2026
PATHS: Mapping[str, str] = {
    "overview": "/",
    "jobs": "/dead?all=1",
    "job": "/jobs/{job_id}",
    "errors": "/errors",
    "cron": "/cron",
    "metrics": "/kinds?range=7d",
}
LONGEST = 120_000
THEMES: tuple[Theme, ...] = ("light", "dark")
_RUNS_FOR_US = 31 * SECOND_US
# Chromium encodes a quality of 1 without loss, which is not always longer.
_QUALITIES = (1, 0.9)
_TO_WEBP = """async ([png, quality]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const { width, height } = image;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


@contextlib.contextmanager
def still_demo(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve the demo at :data:`NOW_US`; yield its address and a failed job's id."""
    clock = PastClock(NOW_US)
    app = Flask("demo", instance_path=str(folder))
    app.secret_key = "of the pictures"
    app.config["FORGE_JOBS_DATABASE_URL"] = sqlite_url(folder / "queue.sqlite")
    with _same_ids():
        ForgeJobs(app, clock=clock, open_to_loopback=True)
        storage = state_of(app).storage
        with closing(storage):
            storage.open()
            scenery.prepare(app, NOW_US)
            _work(storage, clock)
            failed = JobFilter(statuses=[JobStatus.DEAD], kinds=["close_order"])
            job_id = storage.job_reader.page(failed, 1, 0).rows[0].id
            with served(app) as port:
                yield f"http://127.0.0.1:{port}/forge-jobs", job_id


@contextlib.contextmanager
def _same_ids() -> Iterator[None]:
    """Let ids be the same each time."""
    make = UlidGenerator.__init__
    before = make.__defaults__
    make.__defaults__ = (None, Random(4711).getrandbits)
    try:
        yield
    finally:
        make.__defaults__ = before


def _work(storage: Storage, clock: PastClock) -> None:
    """Let both workers be alive, one of them in the middle of a job."""
    second = WORKERS[1]
    clock.set(NOW_US - _RUNS_FOR_US)
    (job,) = storage.jobs.claim("media", second, 1)
    clock.set(NOW_US)
    report = dump({"done": 31, "total": 90, "message": "scene 4"})
    storage.jobs.heartbeat(second, {job.id: report})
    for worker_id in WORKERS:
        names = [
            name
            for name in scenery.QUEUES
            if (name == "media") is (worker_id == second)
        ]
        slots = [
            SlotReport(f"{worker_id}-{name}-{number}", name)
            for name in names
            for number in range(scenery.QUEUES[name])
            if name != LEDGER
        ]
        if worker_id == second:
            slots[0] = SlotReport(slots[0].slot_id, "media", current_job_id=job.id)
        process = WorkerProcess(
            version="0.1.0", host=f"{worker_id}.shop", pid=412, up_us=9 * _RUNS_FOR_US
        )
        storage.workers.beat(worker_id, worker_id, names, slots, process=process)


def take(browser: Browser, folder: Path, scratch: Path) -> None:
    """Take every picture in both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    with still_demo(scratch) as (address, job_id):
        for theme in THEMES:
            with tab(browser, theme=theme) as page, tab(browser) as blank:
                page.clock.set_fixed_time(NOW_US // 1000)
                for name, path in PATHS.items():
                    page.goto(address + path.format(job_id=job_id))
                    webp = _webp(blank, page.screenshot(animations="disabled"))
                    assert len(webp) <= LONGEST, f"{name}: {len(webp):,} bytes"
                    (folder / f"{name}-{theme}.webp").write_bytes(webp)


def _webp(page: Page, png: bytes) -> bytes:
    """Return a picture in the shortest form."""
    text = b64encode(png).decode()
    forms = [page.evaluate(_TO_WEBP, [text, quality]) for quality in _QUALITIES]
    return b64decode(min(forms, key=len))
