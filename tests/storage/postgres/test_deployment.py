from __future__ import annotations

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.postgres.deployment import (
    MANY_DEAD_ROWS,
    findings_of,
    server_findings,
)
from tests.support.clocks import MovingClock
from tests.support.sql import Sql

SOUND = ("on", "on", "on", "on", 0)
TABLE = ("forge_job", 10, 3, False)


def codes(
    server: tuple[object, ...] = SOUND,
    table: tuple[object, ...] = TABLE,
    skew_s: float = 0.0,
) -> list[str]:
    return [each.code for each in findings_of(server, [table], skew_s)]


@pytest.mark.parametrize(
    ("server", "code"),
    [
        (SOUND, []),
        (("off", "on", "on", "on", 0), ["not_durable"]),
        (("on", "off", "on", "on", 0), ["not_durable"]),
        (("on", "on", "off", "on", 0), ["not_durable"]),
        (("on", "on", "local", "on", 0), []),
        (("on", "on", "on", "off", 0), ["autovacuum_off"]),
    ],
)
def test_settings_of_the_server(server: tuple[object, ...], code: list[str]) -> None:
    assert codes(server) == code


def test_a_clock_that_differs() -> None:
    assert codes(skew_s=1.9) == []
    (ahead,) = findings_of(SOUND, [], 90.0)
    (behind,) = findings_of(SOUND, [], -3.0)
    assert ahead.text.startswith("The clock of the database is 1m ahead of")
    assert behind.text.startswith("The clock of the database is 3s behind")


def test_dead_rows_and_unattended_tables() -> None:
    few_alive = ("forge_job", 10, MANY_DEAD_ROWS + 1, False)
    many_alive = ("forge_job", 10**7, MANY_DEAD_ROWS + 1, False)

    assert codes(table=few_alive) == ["dead_rows"]
    assert codes(table=many_alive) == []
    assert codes(table=("forge_job", 10, 3, True)) == ["autovacuum_off"]


def test_the_state_of_a_real_server(
    postgres: Storage, postgres_settings: DatabaseSettings
) -> None:
    postgres.open()
    postgres_sql = Sql(postgres_settings)
    clock = MovingClock(postgres_sql.now_us() - 60_000_000)
    postgres_sql.run("ALTER TABLE forge_job SET (autovacuum_enabled = false)")
    try:
        found = list(server_findings(postgres.database, clock))
    finally:
        postgres_sql.run("ALTER TABLE forge_job RESET (autovacuum_enabled)")

    unattended = [each for each in found if each.code == "autovacuum_off"]
    assert [each.remedy for each in unattended] == [
        "ALTER TABLE forge_job RESET (autovacuum_enabled)"
    ]
    assert [each.text for each in found if each.code == "clock_skew"] == [
        "The clock of the database is 1m ahead of the clock of this host."
    ]
