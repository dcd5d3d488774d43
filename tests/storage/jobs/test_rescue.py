"""The rescue of jobs whose worker has stopped its heartbeat, row by row."""

from __future__ import annotations

import json
from typing import cast

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.claims import REAPED_MESSAGE, RunningJob
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE
from flask_forge_jobs.storage.database import Parameter, Row
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.rescue import rescue_jobs

NOBODY = FollowUpStore(cast("StoreExecutor", None), UlidGenerator(SystemClock()))
SEEN = [RunningJob("job", 2, 5, "owner")]
DIED = f"{REAPED_MESSAGE}: its worker process died 3 times"


class ScriptedTransaction:
    """Returns given rows and records writes."""

    attempt = 0

    def __init__(self, stale: list[Row], queue: list[Row] | None = None) -> None:
        self.stale = stale
        self.queue = queue or []
        self.written: list[dict[str, object]] = []
        self.woken: list[str] = []
        self.deferred: dict[str, list[dict[str, object]]] = {}

    def defer(self, name: str, /, **parameters: Parameter) -> None:
        self.deferred[name] = json.loads(str(parameters["rows"]))

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        if name == "lock_stale":
            return self.stale
        if name == "get_queue":
            return self.queue
        if name == "followed_up":
            return []
        self.written = json.loads(str(parameters["rows"]))
        return [(row["job_id"], None, None, None) for row in self.written]

    def wake(self, queue_name: str) -> None:
        self.woken.append(queue_name)


def row(
    attempts: int = 2,
    max_attempts: int = 5,
    crashes: int = 0,
    cancel_at: int | None = None,
    reason: str | None = None,
) -> Row:
    return (
        "job", "mail", attempts, max_attempts, crashes, "[]", cancel_at, "send", reason,
        attempts, 1, 2, "owner", "mail-3-owner-0", True,
    )  # fmt: skip


def rescue(transaction: ScriptedTransaction, jitter: float | None = None) -> int:
    rescued, _, _ = rescue_jobs(
        transaction,  # type: ignore[arg-type]  # as much of it as is used
        SEEN,
        1_000_000,
        None if jitter is None else lambda: jitter,
        NOBODY,
    )
    assert all(each[:2] == ("mail", "send") for each in rescued)
    return len(rescued)


@pytest.mark.parametrize(
    ("stale", "status", "message"),
    [
        (row(), "failed", REAPED_MESSAGE),
        (row(attempts=5), "dead", REAPED_MESSAGE),
        (row(crashes=1), "failed", REAPED_MESSAGE),
        (row(crashes=2), "dead", DIED),
        (row(cancel_at=1), "dead", CANCELLED_MESSAGE),
        (row(cancel_at=1, reason="why"), "dead", f"{CANCELLED_MESSAGE}: why"),
        (row(attempts=5, crashes=2, cancel_at=1), "dead", CANCELLED_MESSAGE),
    ],
)
def test_a_silent_job_ends_by_its_numbers(
    stale: Row, status: str, message: str
) -> None:
    transaction = ScriptedTransaction([stale])

    assert rescue(transaction) == 1

    (written,) = transaction.written
    assert (written["new_status"], written["error"]) == (status, message)
    (entry,) = json.loads(str(written["history"]))
    assert entry == {
        "at": "1970-01-01T00:00:01Z", "attempt": stale[2], "message": message,
    }  # fmt: skip
    assert (written["delay_us"] is None) == (status == "dead")
    assert transaction.woken == ["mail"]


@pytest.mark.parametrize(
    ("backoff", "jitter", "delay_s"),
    [(False, None, 1), (False, 0.9, 1), (True, None, 40), (True, 0.5, 42)],
)
def test_the_delay_is_the_queues(
    *, backoff: bool, jitter: float | None, delay_s: int
) -> None:
    settings = ("mail", 1, False, 7, 30, backoff, 10, 1000, 0, None, 0, None)
    queue = (*settings, *(None,) * 9)
    transaction = ScriptedTransaction([row()], [queue])

    rescue(transaction, jitter)

    assert transaction.written[0]["delay_us"] == delay_s * 1_000_000


def test_nothing_that_is_still_as_it_was_seen_is_nothing_to_do() -> None:
    transaction = ScriptedTransaction([])

    assert rescue(transaction) == 0

    assert (transaction.written, transaction.woken) == ([], [])
