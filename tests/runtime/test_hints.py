from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.config.database import DEFAULT_SOURCE, DatabaseSettings
from flask_forge_jobs.runtime.hints import Hints
from flask_forge_jobs.storage.base import Storage
from tests.support.runtimes import add

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def hints(
    storage: Storage,
    settings: DatabaseSettings,
    *,
    testing: bool = False,
    debug: bool = False,
) -> Hints:
    return Hints(
        storage,
        settings,
        are_wanted=lambda: testing or debug,
        is_testing=lambda: testing,
    )


@pytest.fixture
def named(database_settings: DatabaseSettings) -> DatabaseSettings:
    return replace(database_settings, source="FORGE_JOBS_DATABASE_URL")


def test_a_queue_that_nobody_serves_is_told_once_a_minute_in_debug_mode(
    storage: Storage, named: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    storage.workers.beat("H", None, ["default"], [])
    given = hints(storage, named, debug=True)

    for _ in range(2):
        given.give(["default", "mail"])

    assert caplog.messages == ["no worker serves queue mail, its jobs wait"]


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("FORGE_JOBS_DATABASE_URL", "set FORGE_JOBS_DATABASE_URL = None"),
        ("SQLALCHEMY_DATABASE_URI", "set SQLALCHEMY_DATABASE_URI = 'sqlite://'"),
    ],
)
def test_tests_in_a_database_with_other_jobs_are_warned_once(
    storage: Storage,
    named: DatabaseSettings,
    caplog: pytest.LogCaptureFixture,
    source: str,
    advice: str,
) -> None:
    add(storage, "quick")
    named = replace(named, source=source)
    given = hints(storage, named, testing=True, debug=True)

    for _ in range(2):
        given.give(["default"])

    (message,) = caplog.messages
    assert f"set by {source}, which already holds 1 jobs" in message
    assert advice in message


@pytest.mark.parametrize("is_empty", [True, False])
def test_tests_in_a_database_of_their_own_hear_nothing(
    storage: Storage,
    named: DatabaseSettings,
    caplog: pytest.LogCaptureFixture,
    *,
    is_empty: bool,
) -> None:
    if not is_empty:
        add(storage, "quick")
    settings = named if is_empty else replace(named, source=DEFAULT_SOURCE)

    hints(storage, settings, testing=True).give(["a"])

    assert caplog.messages == []
