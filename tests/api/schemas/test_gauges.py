from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.gauges import GaugeSeriesSchema, GaugesQuerySchema
from flask_forge_jobs.handlers.gauges import GaugeSeries
from flask_forge_jobs.model.instants import from_micros

WINDOW = {"from": "2026-09-16T09:00:00Z", "to": "2026-09-16T10:00:00Z"}


def test_a_gap_on_the_wire() -> None:
    gap = GaugeSeries(
        "mail", from_micros(0), 60, [None], [None], [None], [None], [None]
    )

    assert list(GaugeSeriesSchema().dump(gap).items()) == [
        ("name", "mail"),
        ("from", "1970-01-01T00:00:00Z"),
        ("bucket_secs", 60),
        ("waiting", [None]),
        ("oldest_wait_seconds", [None]),
        ("running", [None]),
        ("free_slots", [None]),
        ("live_workers", [None]),
    ]


def test_a_window_needs_a_width() -> None:
    with pytest.raises(ValidationError) as caught:
        GaugesQuerySchema().load(WINDOW)

    assert caught.value.messages == {"bucket_secs": ["is required"]}
