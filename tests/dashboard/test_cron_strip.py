from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.dashboard.cron_strip import Strip, axis, strip
from flask_forge_jobs.handlers.cron_history import FiringsWindow, ScheduleFirings
from flask_forge_jobs.model.cron_history import Fired, ScheduleLine

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HALF_DAY = timedelta(hours=12)
LINE = ScheduleLine(
    name="hourly",
    kind="send",
    queue_name=None,
    cron_expr="0 * * * *",
    timezone="UTC",
    enabled=True,
    next_fire_at=None,
    last_error=None,
    last_run=None,
)


def drawn(
    fired: Sequence[tuple[int, str]] = (),
    to_come: Sequence[int] = (),
    *,
    fired_cut: bool = False,
    to_come_cut: bool = False,
) -> Strip:
    """Return the strip of firings in minutes before and after noon."""
    firings = ScheduleFirings(
        LINE,
        [Fired(NOW + timedelta(minutes=at), "id", status) for at, status in fired],
        [NOW + timedelta(minutes=at) for at in to_come],
        fired_cut,
        to_come_cut,
    )
    window = FiringsWindow(NOW - HALF_DAY, NOW + HALF_DAY, NOW, [firings], True)
    return strip(firings, axis(window))


def test_the_axis_has_now_in_its_place() -> None:
    window = FiringsWindow(NOW - HALF_DAY, NOW + HALF_DAY, NOW, [], True)

    along = axis(window)

    assert (along.width, along.now) == (1440, 720)
    assert along.ticks == [0, 360, 720, 1080, 1440]
    assert along.labels == [("25", "06:00"), ("75", "18:00"), ("50", "now")]


def test_ticks_are_full_hours_over_their_labels() -> None:
    """At 08:37 an axis of 32 hours had 00:37 twice, and no label stood at its line."""
    now = NOW.replace(hour=8, minute=37)
    window = FiringsWindow(
        now - timedelta(hours=8), now + timedelta(hours=24), now, [], True
    )

    along = axis(window)

    assert (along.now, along.ticks) == (480, [323, 683, 1043, 1403, 1763])
    assert [words for _, words in along.labels] == [
        "12:00",
        "18:00",
        "Tue",
        "06:00",
        "now",
    ]
    places = [float(place) for place, _ in along.labels]
    assert places == [
        pytest.approx(each / 19.2, abs=0.01) for each in (683, 1043, 1403, 1763, 480)
    ]


def test_few_firings_are_marks_and_failures_are_taller() -> None:
    shown = drawn([(-60, "done"), (-30, "dead"), (-1, "in_progress")], [30, 60])

    assert shown.ran == "M660 8.5v16m30-16v16m29-16v16"
    assert shown.failed == "M690 6.5v20"
    assert shown.to_come == "M750 10.5v12m30-12v12"
    assert (shown.ran_bar, shown.to_come_bar) == ("", "")
    assert shown.text == "3 firings before now, 1 of them failed, 2 to come"


def test_firings_of_each_minute_are_a_bar() -> None:
    fired = [(-at, "done") for at in range(100, 0, -1)]

    shown = drawn(fired, range(1, 101), fired_cut=True, to_come_cut=True)

    assert (shown.ran, shown.ran_bar) == ("", "M0 16.5H719")
    assert (shown.to_come, shown.to_come_bar) == ("", "M721 16.5H1440")
    assert shown.text == "100 or more firings before now, 100 or more to come"


def test_a_bar_ends_where_the_firings_end() -> None:
    shown = drawn([(-at, "done") for at in range(60, 50, -1)])

    assert shown.ran_bar == "M660 16.5H669"


def test_no_firing_draws_nothing() -> None:
    shown = drawn()

    assert (shown.ran, shown.ran_bar, shown.failed) == ("", "", "")
    assert shown.text == "0 firings before now, 0 to come"
    assert shown.is_empty
    for firings in (drawn([(-60, "done")]), drawn((), [60]), drawn((), range(1, 9))):
        assert not firings.is_empty


def test_firings_of_one_second_are_one_mark_inside_the_axis() -> None:
    shown = drawn([(-900, "done"), (-900, "dead")], [900])

    assert (shown.ran, shown.to_come) == ("M0 8.5v16", "M1440 10.5v12")
