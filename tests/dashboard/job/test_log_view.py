"""The log of a run as rows."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.job.log_view import Level, log_view
from flask_forge_jobs.model.run_logs import StoredLine

AT = 1_790_000_000_123_456


def line(number: int, level: str = "INFO", text: str = "x") -> StoredLine:
    return StoredLine(3, 2, number, AT, level, "shop", text)


def test_a_line_has_time_level_and_text() -> None:
    (row,) = log_view([line(0, "WARNING", "<b>slow</b>\nvery")]).rows

    assert (row.time, row.ms, row.style, row.level) == ("14:13:20", ".123", "w", "WARN")
    assert (row.id, row.text) == ("l3-0", "<b>slow</b>\nvery")


@pytest.mark.parametrize(
    ("level", "style", "word"),
    [
        ("DEBUG", "dim", "DEBUG"), ("INFO", "dim", "INFO"), ("warn", "w", "WARN"),
        ("ERROR", "e", "ERROR"), ("CRITICAL", "e", "CRIT"),
        ("Level 35 of the shop", "dim", "LEVEL 35"),
    ],
)  # fmt: skip
def test_a_level_is_a_word_and_a_colour(level: str, style: str, word: str) -> None:
    (row,) = log_view([line(0, level)]).rows

    assert (row.style, row.level) == (style, word)


def test_lines_of_a_level_are_shown_and_all_are_counted() -> None:
    view = log_view([line(40), line(41, "ERROR"), line(42, "WARNING")], Level.WARNINGS)

    assert [row.id for row in view.rows] == ["l3-41", "l3-42"]
    assert (view.total, view.place, view.is_cut) == (43, "3-42", False)
    assert (view.run, view.attempt) == (3, 2)


def test_without_lines_there_is_no_run() -> None:
    view = log_view([])

    assert (view.run, view.rows, view.place) == (None, (), None)


def test_an_open_page_gets_the_lines_that_follow_its_own() -> None:
    lines = [line(40), line(41, "ERROR"), line(42)]

    more, errors = log_view(lines, after="3-40"), log_view(lines, Level.ERRORS, "3-42")
    other_run, too_old = log_view(lines, after="2-41"), log_view(lines, after="3-9")

    assert ([row.id for row in more.rows], more.is_more) == (["l3-41", "l3-42"], True)
    assert (list(errors.rows), errors.is_more) == ([], True)
    for view in (other_run, too_old):
        assert (len(view.rows), view.is_more) == (3, False)
