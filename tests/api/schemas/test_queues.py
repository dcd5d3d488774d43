"""Answers byte for byte; most requests are tested over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.bulk import DeleteDoneRequestSchema
from flask_forge_jobs.api.schemas.jobs import (
    EnqueueRequestSchema,
    KindsQuerySchema,
    ScheduledQuerySchema,
)
from flask_forge_jobs.api.schemas.new_jobs import NewJobRequestSchema
from flask_forge_jobs.api.schemas.queues import (
    BackoffRequestSchema,
    CleanupRequestSchema,
    NamesQueueSchema,
    NewQueueRequestSchema,
    ProcessesQuerySchema,
    QueueOverviewSchema,
    QueueProcessSchema,
    WorkersOverviewSchema,
)
from flask_forge_jobs.model import workers
from flask_forge_jobs.model.queues import QueueCounts, QueueOverview, QueueSettings
from flask_forge_jobs.model.workers import QueueSlots, Slot, Worker, WorkerLoad

AT = datetime(2026, 9, 16, 9, 30, 11, 402_000, tzinfo=UTC)
EXACT = AT.replace(microsecond=0)
MICROS = AT.replace(microsecond=120_045)
PROCESS = Slot("mail-0-H-1", "mail", "H", AT, EXACT, "J")
IDLE = Slot("mail-1-H-1", "mail", "H", AT, MICROS)


def test_overview_has_exactly_the_references_bytes() -> None:
    item = QueueOverview(
        QueueSettings("mail", throttled_until=AT),
        QueueCounts(1, 2, 3, 4, 5, 6),
        [PROCESS, IDLE],
        14,
    )

    assert encode(dumper(QueueOverviewSchema())(item)).decode() == (
        '{"name":"mail","paused":false,"max_workers":64,"counts":{"pending":1,'
        '"scheduled":2,"in_progress":3,"done":4,"failed":5,"dead":6},"processes":['
        '{"process_id":"mail-0-H-1","queue_name":"mail","host_id":"H","started_at":'
        '"2026-09-16T09:30:11.402Z","heartbeat_at":"2026-09-16T09:30:11Z",'
        '"current_job_id":"J"},{"process_id":"mail-1-H-1","queue_name":"mail",'
        '"host_id":"H","started_at":"2026-09-16T09:30:11.402Z","heartbeat_at":'
        '"2026-09-16T09:30:11.120045Z","current_job_id":null}],"retain_done_days":7,'
        '"retain_dead_days":30,"backoff_enabled":false,"backoff_base_seconds":60,'
        '"backoff_max_seconds":1800,"throttled_until":"2026-09-16T09:30:11.402Z",'
        '"oldest_pending_age_seconds":14}'
    )


def test_backoff_request_is_a_change_of_the_settings() -> None:
    body = {"enabled": True, "base_seconds": 1, "max_seconds": 2}

    loaded = BackoffRequestSchema().load(body)

    assert loaded == {
        "backoff_enabled": True, "backoff_base_seconds": 1, "backoff_max_seconds": 2,
    }  # fmt: skip


def test_a_new_queue_is_loaded_as_the_models_settings() -> None:
    body = {"name": "mail", "retain_done_days": 1, "retain_dead_days": 2}

    loaded = NewQueueRequestSchema().load(body)

    assert loaded == {
        "name": "mail",
        "retain_done_for_days": 1,
        "retain_dead_for_days": 2,
    }
    assert QueueSettings(**loaded).retain_dead_for_days == 2


ENQUEUE = {"kind": "k", "payload": {}}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (EnqueueRequestSchema(), ENQUEUE),
        (NewJobRequestSchema(), ENQUEUE),
        (DeleteDoneRequestSchema(), {"days": 1}),
        (CleanupRequestSchema(), {}),
        (KindsQuerySchema(), {}),
        (ScheduledQuerySchema(), {}),
        (ProcessesQuerySchema(), {}),
    ],
    ids=lambda part: type(part).__name__,
)
def test_queue_stands_wherever_queue_name_does(
    schema: NamesQueueSchema, body: dict[str, object]
) -> None:
    for name in ("queue", "queue_name"):
        loaded = schema.load({**body, name: "mail"})
        assert loaded["queue_name"] == "mail"
        assert "queue" not in loaded
    assert schema.load(body)["queue_name"] is None
    with pytest.raises(ValidationError) as raised:
        schema.load({**body, "queue": "mail", "queue_name": "other"})
    assert raised.value.messages == {"queue_name": ["differs from queue"]}


def test_process_has_exactly_the_references_bytes() -> None:
    process = Slot("mail-0-H-1", "mail", "H", AT, AT.replace(microsecond=0))

    assert encode(dumper(QueueProcessSchema())(process)).decode() == (
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
    found = workers.WorkersOverview([worker], ["default"])

    assert encode(dumper(WorkersOverviewSchema())(found)).decode() == (
        '{"workers":[{"host_id":"H","worker_name":"mailer-1","queues":["mail",'
        '"default"],"slots":[{"queue_name":"mail","slots":2}],"workers_live":2,'
        '"in_flight":1,"heartbeat_at":"2026-09-16T09:30:11.402Z",'
        '"heartbeat_age_seconds":1}],"unassigned_queues":["default"]}'
    )
