"""The schedule byte for byte; the requests are tested over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.cron import (
    ChangeScheduleRequestSchema,
    CreateScheduleRequestSchema,
    CronScheduleInZoneSchema,
    CronScheduleSchema,
)
from flask_forge_jobs.handlers.cron import ScheduleDetail
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition

REFERENCE = (
    '{"name":"nightly_digest","kind":"send_digest",'
    '"payload":{"batch":500,"tz":"UTC"},"queue_name":null,"cron_expr":"0 0 6 * * *",'
    '"enabled":true,"max_attempts":3,"dedupe_key":"nightly_digest",'
    '"last_fired_at":"2026-09-16T06:00:00.184Z","next_fire_at":"2026-09-17T06:00:00Z",'
    '"last_error":null,"created_at":"2026-08-01T12:00:00Z",'
    '"updated_at":"2026-09-16T06:00:00.185Z"}'
)
DETAIL = ScheduleDetail(
    Schedule(
        ScheduleDefinition(
            "nightly_digest", "send_digest", "0 0 6 * * *", max_attempts=3,
            dedupe_key="nightly_digest", timezone="Europe/Berlin",
        ),
        created_at=datetime(2026, 8, 1, 12, tzinfo=UTC),
        updated_at=datetime(2026, 9, 16, 6, 0, 0, 185_000, tzinfo=UTC),
        last_fired_at=datetime(2026, 9, 16, 6, 0, 0, 184_000, tzinfo=UTC),
        next_fire_at=datetime(2026, 9, 17, 6, tzinfo=UTC),
    ),
    {"tz": "UTC", "batch": 500},
)  # fmt: skip


def test_a_schedule_has_exactly_the_references_bytes() -> None:
    assert encode(dumper(CronScheduleSchema())(DETAIL)).decode() == REFERENCE


def test_our_schedule_ends_with_what_the_reference_does_not_know() -> None:
    assert encode(dumper(CronScheduleInZoneSchema())(DETAIL)).decode() == (
        REFERENCE.removesuffix("}") + ',"timezone":"Europe/Berlin",'
        '"catch_up":"once","catch_up_limit":100,"declared_by":null}'
    )


def test_what_a_new_schedule_leaves_out_has_a_default() -> None:
    loaded = CreateScheduleRequestSchema().load(
        {"name": "n", "kind": "k", "cron_expr": "@daily"}
    )

    assert loaded == {
        "name": "n", "kind": "k", "cron_expr": "@daily", "payload": {},
        "queue_name": None, "timezone": "UTC", "enabled": True, "max_attempts": None,
        "dedupe": False, "catch_up": "once", "catch_up_limit": 100,
    }  # fmt: skip


@pytest.mark.parametrize(
    "document", [{}, {"queue_name": None}, {"payload": None}, {"max_attempts": None}]
)
def test_a_change_holds_what_was_named_and_no_more(document: dict[str, None]) -> None:
    assert ChangeScheduleRequestSchema().load(document) == document
