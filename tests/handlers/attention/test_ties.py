from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.handlers.attention import ties
from flask_forge_jobs.model.attention import Facts, HeldFacts, OpenBatchFacts
from tests.support.facts import AT, said

ONE = HeldFacts(
    "J1", "mail", "send", parent_id="P1", parent_name="check", parent_queue="bank"
)
OTHER = replace(ONE, job_id="J2", parent_id="P2")


def way_out(*held: HeldFacts) -> str | None:
    [(_, sentence)] = ties.held(Facts(AT, held=held))
    return None if sentence.action is None else sentence.action.path


@pytest.mark.parametrize(
    ("held", "path"),
    [
        ([ONE], "/v1/jobs/P1/retry"),
        ([ONE, replace(ONE, job_id="J2")], "/v1/jobs/P1/retry"),
        ([replace(ONE, is_batch=True)], "/v1/batches/P1/retry"),
        ([replace(ONE, is_gone=True)], "/v1/jobs/J1/release"),
        ([ONE, replace(OTHER, job_id="J1")], "/v1/jobs/J1/release"),
        ([ONE, OTHER], "/v1/jobs?queue=mail&kind=send&waiting=1"),
    ],
)
def test_the_one_action_that_helps(held: list[HeldFacts], path: str) -> None:
    assert way_out(*held) == path


def test_kinds_and_queues_are_said_apart() -> None:
    facts = Facts(AT, held=[ONE, OTHER, replace(ONE, job_id="J3", kind="bill")])

    assert said(ties.held, facts) == [
        "send in mail is on hold: 2 jobs wait for 2 jobs that are dead.",
        "bill in mail is on hold: 1 job waits for job P1 (check), which is dead.",
    ]


def test_a_job_of_a_batch_is_said_with_its_batch_alone() -> None:
    facts = Facts(AT, held=[replace(ONE, batch_id="B1", batch_name="report")])

    assert said(ties.held, facts) == []
    assert said(ties.standing, facts) == [
        "Batch B1 (report) cannot end: 1 job waits for job P1 (check), which is dead."
    ]
    assert said(ties.standing, facts.limited_to(["bank"])) == []


def test_a_limited_caller_does_not_learn_of_a_parent_elsewhere() -> None:
    batch = replace(ONE, batch_id="B1", batch_name="report", error="no")

    limited = Facts(AT, held=[batch]).limited_to(["mail"])

    assert said(ties.standing, limited) == []
    assert said(ties.held, limited) == [
        "send in mail is on hold: 1 job waits for a job that is dead."
    ]
    whole = Facts(AT, held=[batch]).limited_to(["mail", "bank"])
    assert said(ties.held, whole) == [
        "send in mail is on hold: 1 job waits for job P1 (check), which is dead, “no”."
    ]


def test_a_batch_that_is_left_open() -> None:
    facts = Facts(AT, open_batches=[OpenBatchFacts("B1", "import", 1800.0, 7, 2)])

    [(jobs, sentence)] = ties.left_open(facts)

    assert (jobs, sentence.evidence["jobs"]) == (2, 7)
    assert sentence.text == (
        "Batch B1 (import) is open and cannot end: its producer has added nothing for "
        "30m."
    )
