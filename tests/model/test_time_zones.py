"""Only names of the time zone database pass, and none is opened as a path."""

from __future__ import annotations

from importlib.resources import files
from zoneinfo import available_timezones

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.time_zones import check_time_zone, load_time_zone
from tests.support.costs import lines_run


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"]
)
def test_a_zone_of_the_database_passes(name: str) -> None:
    assert load_time_zone(check_time_zone(name)).key == name


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Mars/Olympus",
        "europe/berlin",
        "Europe/Berlin ",
        "../../etc/passwd",
        "TZ=../../etc/passwd",
        "/etc/passwd",
        "/usr/share/zoneinfo/UTC",
        "Europe/../UTC",
        "Europe",
        "posix/UTC",
        "right/UTC",
        "posixrules",
        "localtime",
        "UTC\x00",
        "\ud800",
        "x" * 65,
        None,
        1,
        ["UTC"],
    ],
)
def test_anything_else_is_refused_and_named(value: object) -> None:
    check_time_zone("UTC")  # reads which zones there are, once
    faults: list[InvalidInputError] = []

    def check() -> None:
        with pytest.raises(InvalidInputError) as caught:
            check_time_zone(value)
        faults.append(caught.value)

    assert lines_run(check) < 200
    assert [fault.field for fault in faults] == ["timezone"]


def test_every_zone_that_passes_can_be_loaded() -> None:
    known = set((files("tzdata") / "zones").read_text("utf-8").split())

    assert {load_time_zone(check_time_zone(name)).key for name in known} == known
    # Beside newer ones, some hosts have files that are not in the database.
    assert len(known & available_timezones()) > 400
