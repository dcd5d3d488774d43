from __future__ import annotations

from flask_forge_jobs.model.seldom import PERIOD_S, Seldom
from tests.support.clocks import MovingClock


def test_each_kind_is_said_once_a_minute_with_how_often_it_was_not() -> None:
    clock = MovingClock()
    seldom = Seldom(clock.monotonic)

    said = [seldom.is_time_for("away") for _ in range(4)]
    other = seldom.is_time_for("slow")
    clock.move(PERIOD_S)
    later = seldom.is_time_for("away")

    assert said == [True, False, False, False]
    assert (other, later) == (True, True)
    assert seldom.more("away") == " (3 more since the last line)"
    assert seldom.more("away") == seldom.more("slow") == ""
