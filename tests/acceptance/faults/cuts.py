"""The connection is cut in the middle of what is said: nothing may be half done."""

from __future__ import annotations

import contextlib

from flask_forge_jobs import NewJob, Storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.faults.fault import Bench
from tests.support.proxy import Proxy, proxied
from tests.support.sql import Sql
from tests.support.waiting import wait_until

BATCH = 3
# Of the matrix; every one of them would show hardly more.
STEP_BYTES = 7
_ROWS = "SELECT id, status, attempts, worker_id FROM forge_job WHERE kind = ?"
_WAITING = "SELECT COUNT(*) FROM forge_job WHERE kind = ? AND status = 'pending'"


def cut_anywhere(bench: Bench) -> str:
    """C5."""
    settings = bench.settings
    with proxied(settings) as proxy:
        through = DatabaseSettings.from_url(proxy.url_of(settings))
        with contextlib.closing(open_storage(through)) as storage:
            storage.open()
            # After two seconds the flusher's bytes would be taken for the dialogue's.
            storage.recorder.on_activity = lambda: None
            cuts = Cuts(storage, bench.sql, proxy)
            # The first one asks for more than those that follow.
            cuts.talk("first")
            before = proxy.weather.passed
            cuts.talk("measured")
            size = proxy.weather.passed - before
            offsets = range(0, size, STEP_BYTES)
            count = bench.pick(20, 150, len(offsets))
            for offset in sorted(
                bench.random.sample(offsets, min(count, len(offsets)))
            ):
                cuts.cut(offset)
    bench.sql.assert_counts_equal_rows()
    return (
        f"{proxy.weather.cuts} cuts of a dialogue of {size} bytes: each job stored "
        f"once, {cuts.ended} times claimed and done, {cuts.unheard} times claimed "
        "without an answer, 0 half done"
    )


class Cuts:
    """Stores a batch and a job, claims them and ends them, all through a proxy."""

    def __init__(self, storage: Storage, sql: Sql, proxy: Proxy) -> None:
        self.ended = 0
        self.unheard = 0
        self._storage = storage
        self._sql = sql
        self._proxy = proxy

    def talk(self, name: str) -> None:
        """Do it once and look at what came of it."""
        jobs, job = self._storage.jobs, NewJob(name, queue_name=name)
        stored = jobs.enqueue_many(
            [job] * BATCH, RequestKey("someone", name, "enqueue")
        )
        stored = [*stored, jobs.enqueue(job)]
        claimed = self._claim(name, len(stored))
        refused = jobs.finish(
            name, [JobUpdate(each, JobStatus.DONE, result="1") for each in claimed]
        )
        assert refused == [], f"{name}: an end was refused"
        status, owner = ("done", None) if claimed else ("in_progress", name)
        # A claim whose answer got lost holds all of them, which its heartbeat tells.
        self.ended += bool(claimed)
        self.unheard += not claimed
        rows = {row[0]: row[1:] for row in self._sql.run(_ROWS, name)}
        wanted = {each.id: (status, 1, owner) for each in stored}
        assert rows == wanted, f"{name}: {rows} where it should be {wanted}"

    def _claim(self, name: str, count: int) -> list[ClaimedJob]:
        """Claim all, as soon as no other session has them locked.

        The server may notice late that a connection was cut, and until then a claim
        passes over the jobs that its session has picked.
        """
        claimed: list[ClaimedJob] = []

        def is_decided() -> bool:
            claimed.extend(self._storage.jobs.claim(name, name, count))
            return bool(claimed) or not self._sql.value(_WAITING, name)

        wait_until(is_decided, f"{name} is claimed")
        return claimed

    def cut(self, offset: int) -> None:
        """Do it once and cut the connection after so many bytes."""
        weather, before = self._proxy.weather, self._proxy.weather.cuts
        weather.cut_after = offset
        self.talk(f"cut-{offset}")
        assert weather.cuts == before + 1, f"nothing was cut after {offset} bytes"
