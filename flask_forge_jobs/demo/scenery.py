"""How the shop stands when the demo begins: queues, limits, schedules, first jobs."""

from __future__ import annotations

from datetime import timedelta

from flask_forge_jobs.demo import history
from flask_forge_jobs.demo.shop import (
    GATEWAY,
    LEDGER,
    build_report,
    charge_card,
    close_order,
    index_product,
    resize_image,
    send_receipt,
    transcode_video,
    write_entry,
)
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import ChangeNote, QueueChanges
from flask_forge_jobs.storage.base import Storage

# Slots of each queue.
QUEUES = {"orders": 3, LEDGER: 2, "mail": 3, "media": 3, "search": 2, "reports": 1}
WHO, WHY = "dana", "the bank's file of today is wrong; ask before you resume"
FIRST_ORDER = 4711
UNCLOSED, UNENTERED = 48, 160
_SCHEDULES = (
    ("nightly-report", build_report.kind, "0 3 * * *", {"name": "nightly"}),
    ("weekly-report", build_report.kind, "30 6 * * MON", {"name": "weekly"}),
    ("ten-minute-report", build_report.kind, "*/10 * * * *", {"name": "takings"}),
    ("reindex", index_product.kind, "15 4 * * *", {"order": 1}),
    ("newsletter", send_receipt.kind, "0 9 * * TUE",
     {"order": 2, "to": "subscribers@shop.example"}),
)  # fmt: skip


def prepare(storage: Storage, now_us: int) -> None:
    """Fill an empty database; one with jobs stays as it is."""
    if LEDGER in [queue.name for queue in storage.queues.all()]:
        return
    for name, slots in QUEUES.items():
        storage.queues.ensure(name)
        storage.queues.change(name, QueueChanges(max_workers=slots))
    storage.queues.change(LEDGER, {"paused": True}, note=ChangeNote(WHO, WHY))
    storage.rate_limits.put(GATEWAY, capacity=5, refill_per_sec=1.0)
    for name, kind, expression, arguments in _SCHEDULES:
        storage.cron.create(
            ScheduleDefinition(name, kind, expression, dump(arguments), _queue_of(kind))
        )
    storage.audit.append(_pause())
    history.fill(storage, now_us)
    storage.jobs.enqueue_many(_first_jobs(now_us))


def _queue_of(kind: str) -> str:
    return next(flow.queue_name for flow in history.FLOWS if flow.kind == kind)


def _pause() -> AuditRecord:
    body = {"action": "pause", "queues": [LEDGER], "reason": WHY}
    return AuditRecord(
        WHO, "queue_actions", LEDGER, "127.0.0.1", "demo", 200, 1, dump({"body": body})
    )


def _first_jobs(now_us: int) -> list[NewJob]:
    later = from_micros(now_us) + timedelta(hours=2)
    orders = range(FIRST_ORDER, FIRST_ORDER + UNENTERED)
    return [
        *(close_order.job(order=order) for order in orders[:UNCLOSED]),
        *(write_entry.job(order=order, cents=order * 7) for order in orders),
        *(charge_card.job(order=order, cents=order * 7) for order in orders[:20]),
        *(resize_image.job(order=order, sizes=[64, 256, 1024]) for order in orders[:6]),
        transcode_video.job(order=FIRST_ORDER, seconds=90),
        transcode_video.job(order=FIRST_ORDER + 1, seconds=60),
        build_report.job(name="yesterday"),
        *(
            send_receipt.options(run_at=later + timedelta(minutes=13 * number)).job(
                order=order, to=f"customer{order}@shop.example"
            )
            for number, order in enumerate(orders[:9])
        ),
    ]
