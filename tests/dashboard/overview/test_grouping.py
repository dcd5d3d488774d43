"""Sentences about several queues become one line."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.dashboard.overview.grouping import LEAST, grouped
from flask_forge_jobs.dashboard.shown_pages import page_about
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.model.sentences import Sentence

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def behind(number: int) -> Sentence:
    evidence = {"queue": f"q{number}", "jobs": 2, "oldest_wait_s": 60 * number}
    return Sentence("queue_behind", f"q{number} is behind", evidence)


def unserved(number: int, oldest_s: int = 9) -> Sentence:
    evidence = {"queue": f"q{number}", "jobs": number, "oldest_wait_s": oldest_s}
    return Sentence("queue_unserved", f"Queue q{number} has no worker.", evidence)


def lines(*sentences: Sentence, left_out: int = 0, alike: int = 0) -> list[Sentence]:
    report = Report(NOW, Sentence("needs_you", ""), sentences, left_out, alike)
    shown, rest = grouped(report)
    assert rest == left_out - (alike if shown[-1] not in sentences else 0)
    return list(shown)


PAUSED = Sentence("queue_paused", "q is paused", {"queue": "q"})


def test_few_sentences_and_those_with_an_act_stay() -> None:
    sentences = [*map(unserved, range(1, LEAST)), PAUSED, PAUSED, PAUSED]

    assert lines(*sentences) == sentences


def test_queues_behind_are_one_line() -> None:
    first, line, last = lines(unserved(1), *map(behind, range(4, 0, -1)), PAUSED)

    assert (first, last) == (unserved(1), PAUSED)
    assert line.text == (
        "4 queues are behind: q4, q3, q2 and q1. The oldest job waits 4m."
    )
    shown = page_about(line)
    assert shown is not None
    assert (shown.parts, shown.query) == (("queues",), {"state": ["behind"]})


def test_of_many_queues_the_first_are_named() -> None:
    (line,) = lines(*map(unserved, range(1, 13)))

    assert line.text == (
        "12 queues have no worker: q1, q2, q3 and 9 more. 78 jobs wait, the oldest "
        "for 9s."
    )


def test_queues_whose_jobs_are_not_due_yet_have_no_wait() -> None:
    (line,) = lines(*(unserved(number, 0) for number in range(1, 4)))

    assert line.text == ("3 queues have no worker: q1, q2 and q3. 6 jobs wait.")


def test_queues_that_the_report_leaves_out_count_in_their_line() -> None:
    (line,) = lines(*map(unserved, range(1, 21)), left_out=12, alike=10)
    _, last = lines(PAUSED, behind(9), left_out=9, alike=9)
    (*kept, _) = lines(PAUSED, behind(9), behind(8), PAUSED, left_out=5, alike=5)

    assert line.text == (
        "30 queues have no worker: q1, q2, q3 and 27 more. More than 210 jobs wait."
    )
    assert last.text == (
        "10 queues are behind: q9 and 9 more. The oldest job waits 9m."
    )
    assert kept == [PAUSED, behind(9), behind(8)]
