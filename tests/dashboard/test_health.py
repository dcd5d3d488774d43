"""Health as sentences, the worst of them first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flask_forge_jobs.dashboard.health import (
    DUTIES,
    MIGRATE_COMMAND,
    WORKER_COMMAND,
    Health,
    Tone,
    in_words,
)
from flask_forge_jobs.errors import (
    MigrationError,
    SchemaTooNewError,
    StorageUnavailableError,
)
from flask_forge_jobs.handlers.readiness import Readiness, ReadinessCheck, readiness
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.runtime import duties
from flask_forge_jobs.storage.base import OpenSnapshot, Storage
from tests.api.faulty import faulty_storage
from tests.support.sql import Sql


def said_by(health: Health, name: str) -> str:
    """Return the words of a check."""
    return next(fact.words for fact in health.facts if fact.name == name)


def test_a_healthy_service_says_why(storage: Storage) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("H", None, ["mail"], [])
    storage.workers.beat("I", None, ["mail"], [])

    health = in_words(readiness(storage))

    assert (health.title, health.tone) == ("Healthy", Tone.GOOD)
    assert health.reason.startswith("The database answers in ")
    assert health.reason.endswith("ms; 2 workers are live.")
    assert {fact.tone for fact in health.facts} == {Tone.GOOD}
    said = {fact.name: fact.words for fact in health.facts}
    assert said.pop("Database").endswith("ms and takes writes.")
    assert said == {
        "Schema": "Version 1 fits this code.",
        "Workers": "2 live.",
        "Duties": "All are on time.",
        "Queues": "1 queue has a worker.",
    }


def test_it_does_not_call_a_service_healthy_whose_work_needs_someone(
    storage: Storage,
) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("H", None, ["mail"], [])

    needs = [
        Sentence("queue_paused", "reports is paused by ops, “full”. 1 job waits."),
        Sentence("kind_failing", "charge fails more than usual: 31% of 9 runs."),
    ]

    health = in_words(readiness(storage), needs, left_out=3)

    assert (health.title, health.tone, health.reason) == (
        "Healthy, but 5 things need you", Tone.WARN, "",
    )  # fmt: skip
    assert said_by(health, "Work") == (
        "reports is paused, charge fails more than usual and 3 more."
    )


def test_it_does_not_say_again_what_a_check_says(storage: Storage) -> None:
    storage.queues.ensure("bills")
    storage.workers.beat("H", None, ["mail"], [])
    unserved = Sentence("queue_unserved", "Queue bills has no worker. 1 job waits.")
    late = Sentence("duty_late", "cron of H does not tick: the last time was 9s ago.")

    health = in_words(readiness(storage), [unserved, late])

    assert said_by(health, "Work") == "cron of H does not tick."
    assert "Work" not in {
        each.name for each in in_words(readiness(storage), [unserved]).facts
    }


def test_without_a_worker_it_says_what_to_start(storage: Storage) -> None:
    health = in_words(readiness(storage))

    assert (health.title, health.tone) == ("No worker is running", Tone.BAD)
    assert health.reason == "Jobs are stored, and wait until a worker starts."
    (workers,) = (fact for fact in health.facts if fact.name == "Workers")
    assert workers.words == "No worker is live. Start one:"
    assert workers.command == WORKER_COMMAND
    facts = {fact.name: (fact.tone, fact.words) for fact in health.facts}
    assert facts["Duties"] == (Tone.UNKNOWN, "Workers do them.")
    assert facts["Queues"] == (Tone.UNKNOWN, "No queue yet.")
    assert not health.is_away
    storage.queues.create(QueueSettings("held", paused=True))
    said = said_by(in_words(readiness(storage)), "Queues")
    assert said == "All are paused or without slots."


def test_a_queue_without_a_worker_is_named(storage: Storage) -> None:
    storage.queues.ensure("bills")
    storage.workers.beat("H", None, ["mail"], [])

    health = in_words(readiness(storage))

    assert health.title == "Healthy, but a queue has no worker"
    # Its check says which.
    assert health.reason == ""
    assert said_by(health, "Queues") == "Queue bills has no worker."
    storage.queues.ensure("pages")
    health = in_words(readiness(storage))
    assert (health.title, health.tone) == (
        "Healthy, but 2 queues have no worker", Tone.BAD,
    )  # fmt: skip
    assert said_by(health, "Queues") == "2 queues have no worker: bills and pages."


def test_a_late_service_is_named(storage: Storage, sql: Sql) -> None:
    storage.workers.beat("H", None, ["mail"], [], [ServiceAge("cron", 41.0, 5.0)])
    sql.age(5)

    health = in_words(readiness(storage))

    assert health.title == "Healthy, but duties of a worker are overdue"
    assert said_by(health, "Duties").startswith("Not done: schedules for 4")


def test_late_duties_are_named_by_their_effect(storage: Storage) -> None:
    ages = [ServiceAge(name, 161.0, 1.0) for name in ("sampler", "upkeep", "own")]
    storage.workers.beat("H", None, ["mail"], [], ages)

    assert said_by(in_words(readiness(storage)), "Duties") == (
        "Not done: own for 2m, measures of CPU and memory for 2m, "
        "counts of jobs for 2m."
    )


def test_every_duty_of_a_worker_has_words() -> None:
    names = set()
    for path in Path(duties.__file__).parent.glob("*.py"):
        names.update(
            re.findall(r'super\(\).__init__\(\s*"([a-z-]+)"', path.read_text())
        )

    assert names == set(DUTIES)


def test_an_old_transaction_is_told(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.workers.beat("H", None, ["mail"], [])
    snapshot = OpenSnapshot(90.0, "session 7")
    monkeypatch.setattr(Storage, "oldest_snapshot", lambda _: snapshot)

    health = in_words(readiness(storage))

    assert health.title == "Healthy, but an old transaction slows claims"
    said = said_by(health, "Transactions")
    assert said.startswith("Session 7 has had a transaction open for 90 s")


@pytest.mark.parametrize(
    ("error", "title", "reason", "command"),
    [
        (
            StorageUnavailableError("at /srv/x"),
            "The database does not answer",
            "Stored jobs are kept. Meanwhile no job starts and none is added.",
            None,
        ),
        (
            MigrationError(1, "at /srv/x"),
            "The database's schema differs",
            "",
            None,
        ),
        (
            SchemaTooNewError(9, 8, 1),
            "The database's schema differs",
            "",
            None,
        ),
    ],
)
def test_a_fault_is_told_without_internals(
    error: Exception, title: str, reason: str, command: str | None
) -> None:
    health = in_words(readiness(faulty_storage(error)))

    assert (health.title, health.tone, health.reason) == (title, Tone.BAD, reason)
    assert health.is_away
    assert {fact.command for fact in health.facts} == {command}
    unknown = {fact.name for fact in health.facts if fact.tone is Tone.UNKNOWN}
    assert {"Workers", "Duties", "Queues"} <= unknown
    assert "/srv/x" not in repr(health)


def test_a_standby_and_an_old_schema_are_told() -> None:
    rest = [
        ReadinessCheck("workers", True, "1 live"),
        *(ReadinessCheck(name, True) for name in ("services", "snapshots", "queues")),
    ]
    old = ReadinessCheck("schema", False, "version 1, this code knows 2")
    fits = ReadinessCheck("schema", True, "version 2, this code knows 2")
    writable = ReadinessCheck("storage", True)
    standby = ReadinessCheck("storage", False, "takes no writes")

    migrated = in_words(Readiness((writable, old, *rest), workers=1))
    written = in_words(Readiness((standby, fits, *rest), workers=1))

    assert migrated.title == "The database's schema is old"
    assert MIGRATE_COMMAND in {fact.command for fact in migrated.facts}
    assert written.title == "The database takes no writes"
