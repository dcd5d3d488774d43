"""The choice of a database is logged once, without the password."""

from __future__ import annotations

import contextlib
import dataclasses
import logging

import pytest

from flask_forge_jobs.config.database import DEFAULT_SOURCE, DatabaseSettings
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.database import ChoiceLog
from tests.support.processes import in_child

NAMED = DatabaseSettings.from_url("postgresql://app:hunter2@db/jobs")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [each for each in caplog.records if each.name.endswith("storage.database")]
    return [record.getMessage() for record in found]


def test_a_choice_is_told_once_and_without_its_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    choice = ChoiceLog(dataclasses.replace(NAMED, source="DATABASE_URL"))

    choice.log_once()
    choice.log_once()

    assert messages(caplog) == [
        "database postgresql://app:***@db:5432/jobs, named by DATABASE_URL"
    ]


def test_what_no_setting_named_is_told_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    ChoiceLog(dataclasses.replace(NAMED, source=DEFAULT_SOURCE)).log_once()

    (message,) = messages(caplog)
    assert message.endswith(" (default; no setting names one)")


def test_a_child_does_not_repeat_its_parent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    choice = ChoiceLog(dataclasses.replace(NAMED, source="DATABASE_URL"))
    choice.log_once()
    told = len(messages(caplog))

    def repeat() -> None:
        choice.log_once()
        assert len(messages(caplog)) == told

    assert in_child(repeat) == 0
    assert told == 1


def test_what_a_program_chose_is_its_own_business(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    ChoiceLog(NAMED).log_once()

    assert messages(caplog) == []


def test_the_first_opening_tells_the_choice(
    database_settings: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    named = dataclasses.replace(database_settings, source="FORGE_JOBS_DATABASE_URL")
    with contextlib.closing(open_storage(named)) as storage:
        assert messages(caplog) == []
        storage.open()
        storage.close()
        storage.open()

    (message,) = messages(caplog)
    assert message.endswith(", named by FORGE_JOBS_DATABASE_URL")
