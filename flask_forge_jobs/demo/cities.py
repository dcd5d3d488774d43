"""The reports on the shop's fifty cities: a batch each, with a chain in each region.

One of last month stands: a city's entries are missing, and the others of its region
wait for it until the ledger goes on and that city is retried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask_forge_jobs.demo.shop import CITIES, MONTH, count_city, send_report
from flask_forge_jobs.ids import lifted
from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.storage.base import Storage

REGIONS = 5
# One takes a little less.
PERIOD_S = 240
# When the finished report and the one that stands began, before the demo does.
_FINISHED_US, _STANDS_US = 55 * 60 * SECOND_US, 25 * 60 * SECOND_US
# Longer than a city of the past takes, and how many come one after the other.
_RUN_US, _RUNS = 5 * SECOND_US, CITIES // REGIONS + 2
# The last one of its region.
_CANCELLED_CITY = CITIES - 1


def begin_report(storage: Storage, report: str) -> list[str]:
    """Store a report; return the ids of its jobs, by city.

    The cities of a region come one after the other, so that no report occupies the
    queue.
    """
    (batch_id, *ids) = storage.mint(1 + CITIES)
    ids = lifted(ids, batch_id)
    jobs = [
        count_city.options(
            after=ids[city - REGIONS : city - REGIONS + 1] if city >= REGIONS else (),
            on_parent_dead="hold",
        ).job(report=report, city=city)
        for city in range(CITIES)
    ]
    new = NewBatch(
        f"report {report}",
        {"report": report, "cities": CITIES},
        {BatchEvent.SUCCESS: send_report.as_follow_up()},
        batch_id=batch_id,
    )
    storage.batches.create(new, jobs, ids=ids)
    return ids


def past_reports(
    storage: Storage, run: Callable[[], None], now_us: int
) -> list[tuple[int, Callable[[], object]]]:
    """Return when the reports of the past begin and go on, and what happens then."""

    def stand() -> None:
        ids = begin_report(storage, MONTH)
        storage.job_admin.cancel(ids[_CANCELLED_CITY])

    return [
        (now_us - began_us + turn * _RUN_US, act if turn == 0 else run)
        for began_us, act in (
            (_FINISHED_US, partial(begin_report, storage, "of yesterday")),
            (_STANDS_US, stand),
        )
        for turn in range(_RUNS + 1)
    ]
