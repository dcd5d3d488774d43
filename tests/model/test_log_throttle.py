from __future__ import annotations

from flask_forge_jobs.model.log_throttle import PERIOD_S, LogThrottle
from tests.support.clocks import MovingClock


def test_each_kind_is_said_once_a_minute_with_how_often_it_was_not() -> None:
    clock = MovingClock()
    throttle = LogThrottle(clock.monotonic)

    said = [throttle.is_time_for("away") for _ in range(4)]
    other = throttle.is_time_for("slow")
    clock.move(PERIOD_S)
    later = throttle.is_time_for("away")

    assert said == [True, False, False, False]
    assert (other, later) == (True, True)
    assert throttle.more("away") == " (3 more since the last line)"
    assert throttle.more("away") == throttle.more("slow") == ""
