from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flask_forge_jobs.config.database import DEFAULT_SOURCE, DatabaseSettings
from flask_forge_jobs.runtime.hints import MAX_SEEN, Hints
from flask_forge_jobs.storage.base import Storage
from tests.support.runtimes import add

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def hints(
    storage: Storage,
    settings: DatabaseSettings,
    *,
    testing: bool = False,
    debug: bool = False,
    known: Sequence[str] = (),
) -> Hints:
    return Hints(
        storage,
        settings,
        enabled_by=lambda: (testing, debug),
        is_testing=lambda: testing,
        known_kinds=lambda: known,
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


NEVER_SERVED = (
    "no worker has ever served queue mail, its jobs wait; start one with "
    "`flask forge-jobs worker --queues mail`"
)


def test_a_queue_that_was_never_served_is_told_once_outside_debug_mode(
    storage: Storage, named: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    storage.workers.beat("H", None, ["default"], [])
    given = hints(storage, named)

    for queue_name in ("mail", "default", "mail"):
        given.look_at(queue_name, "quick", may_read=True)
        given.look_at(queue_name, "other", may_read=True)

    assert caplog.messages == [NEVER_SERVED]
    assert ("mail", "quick") in given.seen


def test_the_command_for_a_queue_can_be_pasted_into_a_shell(
    storage: Storage, named: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    hints(storage, named).look_at("my mail", "quick", may_read=True)

    assert caplog.messages[0].endswith("worker --queues 'my mail'`")


def test_a_queue_that_a_worker_has_served_is_not_told(
    storage: Storage, named: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Its worker may be about to come back, as in a deploy."""
    storage.queues.ensure("mail")
    storage.workers.beat("H", None, ["mail"], [])
    storage.workers.remove("H")  # it has run no job
    given = hints(storage, named)
    given.served_here = lambda: ["here"]

    given.look_at("mail", "quick", may_read=True)
    given.look_at("here", "quick", may_read=True)

    assert caplog.messages == []


def test_within_a_transaction_of_the_caller_nothing_is_read(
    storage: Storage, named: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    given = hints(storage, named)

    given.look_at("mail", "quick", may_read=False)
    assert caplog.messages == []
    given.look_at("mail", "quick", may_read=True)

    assert caplog.messages == [NEVER_SERVED]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("send_wellcome", " (did you mean send_welcome?)"),
        ("qqq\n", ""),
        ("send_welcome", None),
    ],
)
def test_a_kind_without_a_task_is_told_once(
    storage: Storage,
    named: DatabaseSettings,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    message: str | None,
) -> None:
    given = hints(storage, named, testing=True, known=["send_welcome", "tidy"])

    for may_read in (False, True):
        given.look_at("mail", kind, may_read=may_read)

    shown = kind.replace("\n", "\\n")
    told = f"no task of this application has the kind {shown}{message}; its jobs wait "
    assert caplog.messages == (
        [] if message is None else [f"{told}for a worker that has one"]
    )


def test_a_program_without_tasks_enqueues_any_kind(
    storage: Storage, named: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    hints(storage, named, testing=True).look_at("mail", "any", may_read=True)

    assert caplog.messages == []


def test_invented_kinds_fill_no_memory(
    storage: Storage, named: DatabaseSettings
) -> None:
    given = hints(storage, named, testing=True)

    for number in range(MAX_SEEN + 10):
        given.look_at("mail", f"kind{number}", may_read=True)

    assert len(given.seen) == MAX_SEEN
