from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.handlers.attention.kinds import failing, unknown
from flask_forge_jobs.model.attention import KindFacts
from flask_forge_jobs.model.proportions import Failures
from flask_forge_jobs.model.sentences import Action
from tests.support.facts import facts_of, said

CHARGE = KindFacts(
    "billing",
    "charge_card",
    dead=289,
    hour=Failures(373, 1204),
    hour_before=Failures(20, 1100),
    day=Failures(500, 25_000),
    error="GatewayTimeout: no answer in <n>s.",
)


def test_a_kind_that_fails_more_than_usual() -> None:
    [(jobs, sentence)] = failing(facts_of(CHARGE))

    assert (jobs, sentence.code) == (373, "kind_fails")
    assert sentence.text == (
        "charge_card fails more than usual: 31% of 1,204 runs in the last hour, 2% "
        "before. Most say GatewayTimeout: no answer in <n>s."
    )
    assert sentence.evidence == {
        "kind": "charge_card",
        "queue": "billing",
        "hour": {"runs": 1204, "failed": 373},
        "hour_before": {"runs": 1100, "failed": 20},
        "day": {"runs": 25_000, "failed": 500},
        "error": "GatewayTimeout: no answer in <n>s.",
        "dead": 289,
    }
    matching = {"queues": ["billing"], "kinds": ["charge_card"], "statuses": ["dead"]}
    assert sentence.action == Action(
        "POST",
        "/v1/jobs/actions",
        "Retry 289",
        {"action": "retry", "filter": matching, "expected": 289},
    )


def test_jobs_that_come_back_by_themselves_are_not_retried() -> None:
    retrying = replace(CHARGE, dead=0, waiting=3, error=None)

    [(_, sentence)] = failing(facts_of(retrying))

    assert sentence.text.endswith("2% before.")
    assert sentence.action == Action(
        "GET", "/v1/errors?queue=billing&kind=charge_card", "Show errors"
    )


def test_failures_without_a_job_that_is_left_need_nobody() -> None:
    """The cause is mended and all jobs were retried; the hour still counts them."""
    assert list(failing(facts_of(replace(CHARGE, dead=0, waiting=0)))) == []


def test_a_kind_of_several_queues_is_said_with_its_queue() -> None:
    other = KindFacts("mail", "charge_card")

    [text] = said(failing, facts_of(CHARGE, other))

    assert text.startswith("charge_card fails more than usual in billing: 31%")


def test_a_fault_does_not_become_usual_after_an_hour() -> None:
    since_two_hours = replace(CHARGE, hour_before=Failures(340, 1100))

    assert len(said(failing, facts_of(since_two_hours))) == 1


def test_a_new_kind_is_compared_with_its_hour_before() -> None:
    new = replace(CHARGE, day=Failures(), hour_before=Failures(2, 400))

    [text] = said(failing, facts_of(new))

    assert "0.5% before" in text


@pytest.mark.parametrize(
    ("hour", "day", "fails"),
    [
        (Failures(5, 5), Failures(0, 1000), True),
        (Failures(4, 4), Failures(0, 1000), False),
        (Failures(4, 5), Failures(0, 1000), False),
        # Wide intervals: few runs say little, now or before.
        (Failures(5, 50), Failures(20, 1000), False),
        (Failures(500, 1000), Failures(0, 3), False),
        (Failures(500, 1000), Failures(), False),
        # By more than chance, but not by much.
        (Failures(1500, 100_000), Failures(10_000, 1_000_000), False),
        (Failures(2100, 100_000), Failures(10_000, 1_000_000), True),
        # As bad as ever, and better than usual.
        (Failures(300, 1000), Failures(3000, 10_000), False),
        (Failures(5, 1000), Failures(3000, 10_000), False),
    ],
)
def test_how_much_more_is_more_than_usual(
    hour: Failures, day: Failures, fails: bool
) -> None:
    kind = replace(CHARGE, hour=hour, hour_before=Failures(), day=day)

    assert bool(said(failing, facts_of(kind))) is fails


def test_a_kind_that_never_failed_before() -> None:
    never = replace(CHARGE, day=Failures(0, 5000))

    [text] = said(failing, facts_of(never))

    assert "in the last hour, none before." in text


def test_a_kind_that_no_worker_knows() -> None:
    kind = KindFacts("mail", "sned", waiting=3, is_known=False)

    [(jobs, sentence)] = unknown(facts_of(kind))

    assert jobs == 3
    assert (
        sentence.text
        == "No worker of mail knows the kind sned. 3 jobs of it cannot run."
    )
    assert sentence.action == Action(
        "GET", "/v1/jobs?queue=mail&kind=sned", "Show jobs"
    )
    assert said(unknown, facts_of(replace(kind, waiting=0))) == []
    assert said(unknown, facts_of(replace(kind, is_known=True))) == []
