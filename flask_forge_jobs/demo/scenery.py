"""How the shop stands when the demo begins: queues, limits, schedules, first jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

from flask import Flask

from flask_forge_jobs.demo import flows, history
from flask_forge_jobs.demo.past import FIRST_ORDER, Moment, Past, past_of, queue_of
from flask_forge_jobs.demo.past_clock import PastClock
from flask_forge_jobs.demo.shop import (
    GATEWAY,
    HOUR_US,
    LEDGER,
    build_report,
    charge_card,
    index_product,
    send_receipt,
    transcode_video,
)
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import ChangeNote, QueueChanges
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage

# Slots of each queue.
QUEUES = {**flows.SLOTS, DEFAULT_QUEUE: 2}
WHO, WHY = "dana", "month-end closing, takes ten minutes"
# The next one that comes; the past has had those before.
NEXT_ORDER = FIRST_ORDER + flows.PAUSED_FOR_US // SECOND_US
_BEGIN_US = 8 * DAY_US
# Its bucket is just large enough for the shop, not for a crowd.
_TOKENS, _TOKENS_A_SECOND = 3, 0.5
_SCHEDULES = (
    ("nightly-report", build_report.kind, "0 3 * * *", {"name": "nightly"}),
    ("weekly-report", build_report.kind, "30 6 * * MON", {"name": "weekly"}),
    ("takings", build_report.kind, "*/30 * * * *", {"name": "takings"}),
    ("reindex", index_product.kind, "15 4 * * *", {"order": 1}),
    ("newsletter", send_receipt.kind, "0 9 * * TUE",
     {"order": 2, "to": "subscribers@shop.example"}),
)  # fmt: skip
# Fires too often for eight days to be told.
_OFTEN = "takings"


def prepare(app: Flask, now_us: int) -> None:
    """Fill an empty database; one with jobs stays as it is."""
    storage = state_of(app).storage
    if LEDGER in [queue.name for queue in storage.queues.all()]:
        return
    with app.app_context(), past_of(app, now_us - _BEGIN_US) as (of_past, clock):
        _set_up(of_past)
        past = Past(of_past, clock, now_us)
        past.play(_operations(of_past, clock, now_us))
        history.fill(of_past, now_us)


def _set_up(storage: Storage) -> None:
    """Set the shop up, long ago."""
    for name, slots in QUEUES.items():
        storage.queues.ensure(name)
        storage.queues.change(name, QueueChanges(max_workers=slots))
    storage.rate_limits.put(GATEWAY, _TOKENS + 2, 1.0)
    for name, kind, expression, arguments in _SCHEDULES:
        storage.cron.create(
            ScheduleDefinition(
                name, kind, expression, dump(arguments), queue_of(kind),
                enabled=name != _OFTEN,
            )
        )  # fmt: skip


def _operations(storage: Storage, clock: PastClock, now_us: int) -> list[Moment]:
    """Return what operators did since, each with its entry in the audit trail."""

    def note(who: str, action: str, target: str | None, body: object) -> None:
        arguments = dump({"body": body})
        request_id = f"demo-{clock.now_us() // SECOND_US % 10**6}"
        record = AuditRecord(
            who, action, target, "10.2.0.17", request_id, 200, 1, arguments
        )
        storage.audit.append(record)

    def limit() -> None:
        storage.rate_limits.put(GATEWAY, _TOKENS, _TOKENS_A_SECOND)
        body = {"capacity": _TOKENS, "refill_per_sec": _TOKENS_A_SECOND}
        note("kim", "put_rate_limit", GATEWAY, body)

    def begin_takings() -> None:
        storage.cron.change(
            _OFTEN, lambda schedule: replace(schedule.definition, enabled=True)
        )
        note(WHO, "cron_change", _OFTEN, {"enabled": True})

    def retry() -> None:
        filter_ = {"kinds": [charge_card.kind], "statuses": ["dead"]}
        note("kim", "jobs_act", None, {"action": "retry", "filter": filter_})

    def pause() -> None:
        storage.queues.change(LEDGER, {"paused": True}, note=ChangeNote(WHO, WHY))
        body = {"action": "pause", "queues": [LEDGER], "reason": WHY}
        note(WHO, "queue_actions", LEDGER, body)

    return [
        (now_us - 49 * HOUR_US, limit),
        (now_us - 46 * HOUR_US, retry),
        (now_us - 25 * HOUR_US, begin_takings),
        (now_us - flows.PAUSED_FOR_US - SECOND_US, pause),
        (now_us - HOUR_US // 4, partial(storage.jobs.enqueue_many, _later(now_us))),
        (now_us - SECOND_US, partial(storage.jobs.enqueue_many, _first())),
    ]


def _later(now_us: int) -> list[NewJob]:
    """Return receipts for orders that are shipped later."""
    begin = from_micros(now_us) + timedelta(hours=2)
    return [
        send_receipt.options(run_at=begin + timedelta(minutes=13 * number)).job(
            order=order, to=f"customer{order}@shop.example"
        )
        for number, order in enumerate(range(FIRST_ORDER, FIRST_ORDER + 9))
    ]


def _first() -> list[NewJob]:
    """Return what runs at the first look."""
    return [
        transcode_video.job(order=NEXT_ORDER - 30, seconds=90),
        transcode_video.job(order=NEXT_ORDER - 29, seconds=60),
        build_report.job(name="yesterday"),
    ]
