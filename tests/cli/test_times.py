from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli.times import at_age, instant, instant_or_age, later
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.instants import to_micros

CONTEXT = click.Context(click.Command("x"))
OPTION = click.Option(["--since"])
NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


class StandingClock(SystemClock):
    """A clock that stands."""

    def now_us(self) -> int:
        return to_micros(NOW)


def test_an_instant_has_an_offset() -> None:
    assert instant(CONTEXT, OPTION, None) is None
    assert (
        instant(CONTEXT, OPTION, "2027-01-31T12:00:00Z") == "2027-01-31T12:00:00+00:00"
    )
    with pytest.raises(click.BadParameter, match=r"no offset .* write 2027-01-31T12:"):
        instant(CONTEXT, OPTION, "2027-01-31T12:00:00")
    with pytest.raises(click.BadParameter, match="is not a time"):
        instant(CONTEXT, OPTION, "2h")
    assert instant_or_age(CONTEXT, OPTION, "2h") == "2h"
    with pytest.raises(click.BadParameter, match=r"is not a time .* nor an age like"):
        instant_or_age(CONTEXT, OPTION, "2 weeks")


def test_an_age_ends_before_there_is_no_instant_of_it() -> None:
    app = Flask("shop")
    ForgeJobs(app, clock=StandingClock())

    for age in ("20001d", "999999d", "9" * 12 + "s", "9" * 12 + "d"):
        with pytest.raises(click.BadParameter, match=f"'{age}' .* 20000 days"):
            instant_or_age(CONTEXT, OPTION, age)

    assert instant_or_age(CONTEXT, OPTION, "20000d") == "20000d"
    with app.app_context():
        assert at_age("20000d") == (NOW - timedelta(days=20_000)).isoformat()


def test_ages_and_delays_count_from_the_clock() -> None:
    app = Flask("shop")
    ForgeJobs(app, clock=StandingClock())

    with app.app_context():
        assert at_age("2h") == (NOW - timedelta(hours=2)).isoformat()
        assert at_age("2027-01-31T12:00:00+00:00") == "2027-01-31T12:00:00+00:00"
        assert at_age(None) is None
        assert later(None, 90) == (NOW + timedelta(seconds=90)).isoformat()
        assert later("x", None) == "x"
        for delay_s in (-1.0, float("nan"), 1e12):
            with pytest.raises(click.UsageError, match="--delay"):
                later(None, delay_s)
        with pytest.raises(click.UsageError, match="not both"):
            later("x", 1)
