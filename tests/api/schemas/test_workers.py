from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.workers import QueueProcess, WorkersOverview
from flask_forge_jobs.model import workers as model
from flask_forge_jobs.model.workers import QueueSlots, Slot, Worker, WorkerLoad

AT = datetime(2026, 9, 16, 9, 30, 11, 402_000, tzinfo=UTC)


def test_process_has_exactly_the_references_bytes() -> None:
    process = Slot("mail-0-H-1", "mail", "H", AT, AT.replace(microsecond=0))

    assert encode(dumper(QueueProcess())(process)).decode() == (
        '{"process_id":"mail-0-H-1","queue_name":"mail","host_id":"H","started_at":'
        '"2026-09-16T09:30:11.402Z","heartbeat_at":"2026-09-16T09:30:11Z",'
        '"current_job_id":null}'
    )


def test_workers_have_exactly_the_references_bytes() -> None:
    known = Worker("H", "mailer-1", ("mail", "default"), AT)
    worker = WorkerLoad(
        known,
        [QueueSlots("mail", 2)],
        live_slot_count=2,
        in_flight_count=1,
        heartbeat_age_s=1,
    )
    found = model.WorkersOverview([worker], ["default"])

    assert encode(dumper(WorkersOverview())(found)).decode() == (
        '{"workers":[{"host_id":"H","worker_name":"mailer-1","queues":["mail",'
        '"default"],"slots":[{"queue_name":"mail","slots":2}],"workers_live":2,'
        '"in_flight":1,"heartbeat_at":"2026-09-16T09:30:11.402Z",'
        '"heartbeat_age_seconds":1}],"unassigned_queues":["default"]}'
    )
