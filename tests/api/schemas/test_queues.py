"""The overview byte for byte; the requests are tested over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.queues import (
    BackoffRequest,
    NewQueueRequest,
    QueueOverview,
)
from flask_forge_jobs.model.queues import QueueCounts, QueueSettings
from flask_forge_jobs.model.queues import QueueOverview as Overview
from flask_forge_jobs.model.workers import Slot

AT = datetime(2026, 9, 16, 9, 30, 11, 402_000, tzinfo=UTC)
EXACT = AT.replace(microsecond=0)
MICROS = AT.replace(microsecond=120_045)
PROCESS = Slot("mail-0-H-1", "mail", "H", AT, EXACT, "J")
IDLE = Slot("mail-1-H-1", "mail", "H", AT, MICROS)


def test_overview_has_exactly_the_references_bytes() -> None:
    item = Overview(
        QueueSettings("mail", throttled_until=AT),
        QueueCounts(1, 2, 3, 4, 5, 6),
        [PROCESS, IDLE],
        14,
    )

    assert encode(dumper(QueueOverview())(item)).decode() == (
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

    loaded = BackoffRequest().load(body)

    assert loaded == {
        "backoff_enabled": True, "backoff_base_seconds": 1, "backoff_max_seconds": 2,
    }  # fmt: skip


def test_a_new_queue_is_loaded_as_the_models_settings() -> None:
    body = {"name": "mail", "retain_done_days": 1, "retain_dead_days": 2}

    loaded = NewQueueRequest().load(body)

    assert loaded == {
        "name": "mail",
        "retain_done_for_days": 1,
        "retain_dead_for_days": 2,
    }
    assert QueueSettings(**loaded).retain_dead_for_days == 2
