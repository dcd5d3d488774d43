from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask_forge_jobs.model.cron_history import firings_to_come

AT = datetime(2027, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def every(minutes: int):  # type: ignore[no-untyped-def]
    return lambda at: at + minutes * MINUTE


def test_all_firings_of_a_window_are_found() -> None:
    found, cut = firings_to_come(
        [AT, AT, None, AT + 9 * MINUTE],
        [every(2), every(5), every(1), every(1)],
        AT,
        AT + 6 * MINUTE,
        each=9,
        steps=99,
    )

    assert [len(each) for each in found] == [3, 2, 0, 0]
    assert found[1] == [AT, AT + 5 * MINUTE]
    assert cut == [False] * 4


def test_the_end_is_exclusive() -> None:
    found, _ = firings_to_come([AT], [every(1)], AT, AT + MINUTE, each=9, steps=9)

    assert found == [[AT]]


def test_one_schedule_has_so_many_at_most() -> None:
    found, cut = firings_to_come(
        [AT, AT], [every(1), every(4)], AT, AT + 9 * MINUTE, each=5, steps=99
    )

    assert [len(each) for each in found] == [5, 3]
    assert cut == [True, False]


def test_a_busy_schedule_takes_no_steps_of_others() -> None:
    found, cut = firings_to_come(
        [AT, AT], [every(1), every(30)], AT, AT + 60 * MINUTE, each=100, steps=10
    )

    assert len(found[1]) == 2
    assert len(found[0]) == 9
    assert cut == [True, False]


def test_a_series_that_ends_is_whole() -> None:
    found, cut = firings_to_come(
        [AT], [lambda _: None], AT, AT + 9 * MINUTE, each=9, steps=9
    )

    assert (found, cut) == ([[AT]], [False])


def test_the_first_firings_of_a_later_window_are_steps_like_all_others() -> None:
    asked: list[datetime] = []

    def following(at: datetime) -> datetime:
        asked.append(at)
        return at + MINUTE

    start = AT + 30 * MINUTE
    found, cut = firings_to_come(
        [AT] * 9, [following] * 9, start, start + 9 * MINUTE, each=9, steps=4
    )

    assert len(asked) == 4
    assert [len(each) for each in found] == [1] * 4 + [0] * 5
    assert all(start <= at for each in found for at in each)
    assert cut == [True] * 9
