"""Sentences about several queues become one line."""

from __future__ import annotations

from flask_forge_jobs.dashboard.overview.grouping import LEAST, grouped
from flask_forge_jobs.dashboard.shown_pages import page_about
from flask_forge_jobs.model.sentences import Sentence


def behind(number: int) -> Sentence:
    evidence = {"queue": f"q{number}", "jobs": 2, "oldest_wait_s": 60 * number}
    return Sentence("queue_behind", f"q{number} is behind", evidence)


def unserved(number: int, oldest_s: int = 9) -> Sentence:
    evidence = {"queue": f"q{number}", "jobs": number, "oldest_wait_s": oldest_s}
    return Sentence("queue_unserved", f"Queue q{number} has no worker.", evidence)


PAUSED = Sentence("queue_paused", "q is paused", {"queue": "q"})


def test_few_sentences_and_those_with_an_act_stay() -> None:
    sentences = [*map(unserved, range(1, LEAST)), PAUSED, PAUSED, PAUSED]

    assert grouped(sentences) == sentences


def test_queues_behind_are_one_line() -> None:
    first, line, last = grouped([unserved(1), *map(behind, range(4, 0, -1)), PAUSED])

    assert (first, last) == (unserved(1), PAUSED)
    assert line.text == (
        "4 queues are behind: q4, q3, q2 and q1. The oldest job waits 4m."
    )
    shown = page_about(line)
    assert shown is not None
    assert (shown.parts, shown.query) == (("queues",), {"state": ["behind"]})


def test_of_many_queues_the_first_are_named() -> None:
    (line,) = grouped([*map(unserved, range(1, 13))])

    assert line.text == (
        "12 queues have no worker: q1, q2, q3 and 9 more. They hold 78 jobs, the "
        "oldest due for 9s."
    )


def test_queues_whose_jobs_are_not_due_yet_have_no_wait() -> None:
    (line,) = grouped([unserved(number, 0) for number in range(1, 4)])

    assert line.text == ("3 queues have no worker: q1, q2 and q3. They hold 6 jobs.")
