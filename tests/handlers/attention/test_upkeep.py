from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.handlers.attention.upkeep import missed, used_up
from flask_forge_jobs.model.attention import Facts, LimitFacts, ScheduleFacts
from flask_forge_jobs.model.sentences import Action
from tests.support.facts import AT, live, said

NIGHTLY = ScheduleFacts("nightly", "report", None, AT, "no queue is free.")


def test_a_schedule_that_did_not_fire() -> None:
    [(_, sentence)] = missed(Facts(AT, schedules=[NIGHTLY]))

    assert sentence.text == (
        "nightly did not fire at 2026-09-16T12:00:00Z: no queue is free."
    )
    assert sentence.action == Action("POST", "/v1/cron/nightly/trigger", "Run now")


def test_why_a_schedule_is_overdue() -> None:
    overdue = replace(NIGHTLY, error=None)

    [alone] = said(missed, Facts(AT, schedules=[overdue]))
    [served] = said(missed, Facts(AT, schedules=[overdue], workers=[live("mail")]))

    assert alone.endswith(": no worker is running.")
    assert served.endswith(": it is overdue.")


@pytest.mark.parametrize(
    ("per_sec", "words"),
    [
        (2.5, "2.5 a second"),
        (1, "1 a second"),
        (0.5, "30 a minute"),
        (1 / 600, "6 an hour"),
        (1 / 86_400, "1 a day"),
    ],
)
def test_a_limit_that_is_used_up(per_sec: float, words: str) -> None:
    limit = LimitFacts("api", per_sec, 120.0, 1)

    [(jobs, sentence)] = used_up(Facts(AT, limits=[limit]))

    assert jobs == 1
    assert sentence.text == (
        f"api is used up: 1 job waits for a token, about 2m at {words}."
    )
    assert sentence.action == Action("GET", "/v1/rate-limits/api", "Show limit")
