from __future__ import annotations

from dataclasses import fields

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.config.urls import ADDRESS, PARAMETERS, Location, put


def test_every_parameter_is_kept_in_a_field_of_the_settings_or_handed_on() -> None:
    kept = {each.field for each in PARAMETERS.values() if each.field is not None}

    assert kept <= {each.name for each in fields(DatabaseSettings)}
    assert kept < Location.__annotations__.keys()
    assert set(ADDRESS) < PARAMETERS.keys()


def test_a_later_value_takes_the_place_of_an_earlier_one() -> None:
    location: Location = {"backend": "postgres"}

    for name, value in (
        ("user", "ann"), ("keepalives", 0), ("options", "-c x=1"),
        ("keepalives", 1), ("user", "bob"),
    ):  # fmt: skip
        put(location, name, value)

    assert location == {
        "backend": "postgres",
        "username": "bob",
        "libpq": (("keepalives", "1"), ("options", "-c x=1")),
    }
