from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.model.workers import Slot, SlotReport, Worker

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "record",
    [
        Slot("mail-0-H-1", "mail", "H", NOW, NOW),
        Worker("H", None, ("mail",), NOW),
        SlotReport("mail-0-H-1", "mail"),
    ],
    ids=type,
)
def test_records_do_not_change_and_compare_by_value(record: object) -> None:
    assert record == dataclasses.replace(record)  # type: ignore[type-var]  # dataclasses
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(record)[0].name, "x")  # type: ignore[arg-type]  # dataclasses


def test_an_idle_slot_has_no_job() -> None:
    assert Slot("mail-0-H-1", "mail", "H", NOW, NOW).current_job_id is None
    assert SlotReport("mail-0-H-1", "mail").current_job_id is None
