from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import flask_forge_jobs
from flask_forge_jobs.handlers.attention.database import SLOW_S
from flask_forge_jobs.handlers.attention.report import MAX_SENTENCES, RULES, report
from flask_forge_jobs.model.attention import DatabaseFacts, Facts, KindFacts, QueueFacts
from flask_forge_jobs.model.queues import BEHIND_S, QueueCounts
from flask_forge_jobs.model.workers import LIVE_WITHIN_S
from flask_forge_jobs.storage.attention import (
    LINE_S,
    OLD_TRANSACTION_S,
    OVERDUE_S,
    QUIET_S,
    SILENCE_S,
)
from tests.support.facts import AT, facts_of, live

MAIL = QueueFacts("mail", 8, counts=QueueCounts(pending=3, done=9), oldest_wait_s=2)


def test_nothing_to_say_is_said_with_its_proof() -> None:
    ran = KindFacts("mail", "send", completed=1204)

    said = report(facts_of(MAIL, QueueFacts("bills"), ran, live("mail", "gone")))

    assert (said.at, said.sentences, said.left_out) == (AT, [], 0)
    assert said.summary.code == "nothing_needs_you"
    assert said.summary.text == (
        "Nothing needs you: 1 worker live, 1 of 2 queues served, oldest job waits "
        "2s, 1,204 jobs done and 0 dead in the last hour."
    )
    assert said.summary.evidence == {
        "needs": 0,
        "workers": 1,
        "queues": 2,
        "queues_served": 1,
        "oldest_wait_s": 2,
        "done_last_hour": 1204,
        "dead_last_hour": 0,
        "running": 0,
        "capacity": 0,
        "counts": {
            "pending": 3,
            "scheduled": 0,
            "in_progress": 0,
            "done": 9,
            "failed": 0,
            "dead": 0,
        },
    }


def test_a_new_system_needs_nobody() -> None:
    text = report(Facts(AT)).summary.text

    assert text == (
        "Nothing needs you: 0 workers live, 0 of 0 queues served, no due job waits, "
        "0 jobs done and 0 dead in the last hour."
    )


def test_a_job_that_is_due_for_less_than_a_second_waits() -> None:
    """It was said that no due job waits, beside a sentence about one."""
    new = replace(MAIL, oldest_wait_s=0)

    text = report(facts_of(new, live("mail"))).summary.text

    assert "1 of 1 queue served, 3 jobs wait, 0 jobs done" in text


def test_the_worst_comes_first_then_the_one_with_more_jobs() -> None:
    few = replace(MAIL, is_paused=True)
    many = replace(few, name="bills", counts=QueueCounts(pending=90))
    cools = replace(MAIL, name="sms", cools_for_s=9.0)
    unserved = replace(MAIL, name="video")
    facts = facts_of(few, many, cools, unserved, live("mail", "bills", "sms"))

    said = report(facts)

    assert [(each.code, each.evidence["queue"]) for each in said.sentences] == [
        ("queue_unserved", "video"),
        ("queue_paused", "bills"),
        ("queue_paused", "mail"),
        ("queue_cools_down", "sms"),
    ]
    assert said.summary.code == "needs_you"
    assert said.summary.text.startswith("4 things need you: 1 worker live, ")


def test_of_the_queues_behind_the_longest_wait_comes_first() -> None:
    many = replace(MAIL, oldest_wait_s=400, counts=QueueCounts(pending=90))
    old = replace(MAIL, name="bills", oldest_wait_s=4000)

    said = report(facts_of(many, old, live("mail", "bills")))

    assert [each.evidence["queue"] for each in said.sentences] == ["bills", "mail"]


def test_at_most_twenty_sentences() -> None:
    queues = [replace(MAIL, name=f"q{n:02}", is_paused=True) for n in range(23)]

    said = report(facts_of(*queues))

    assert (len(said.sentences), said.left_out) == (MAX_SENTENCES, 3)
    assert said.summary.evidence["needs"] == 23


def test_sentences_that_are_left_out_are_alike_by_their_code() -> None:
    idle = [replace(MAIL, name=f"q{n:02}", max_workers=0) for n in range(22)]
    paused = replace(MAIL, name="bills", is_paused=True)

    served = live(*(each.name for each in (*idle, paused)))

    said = report(facts_of(*idle, paused, served))

    assert (said.left_out, said.left_out_alike) == (3, 2)


def test_one_need_is_singular_and_an_unread_database_proves_nothing() -> None:
    database = DatabaseFacts("it is of another version", 2, 1)

    said = report(Facts(AT, database=database, is_read=False))

    assert said.summary.text == "1 thing needs you."
    assert [each.code for each in said.sentences] == ["schema_misfit"]


def test_the_page_lists_every_sentence_and_its_threshold() -> None:
    root = Path(flask_forge_jobs.__file__).parent
    page = (root.parent / "docs/reference/attention.rst").read_text("utf-8")
    sources = "".join(
        path.read_text("utf-8") for path in (root / "handlers/attention").glob("*.py")
    )

    header, *listed = re.findall(r"^   \* - ``(\w+)``$", page, re.MULTILINE)

    assert header == "code"
    assert sorted(listed) == sorted(re.findall(r'Sentence\(\s*"(\w+)"', sources))
    for words in (
        f"has beaten for {SILENCE_S:.0f} s",
        f"beaten within {LIVE_WITHIN_S:.0f} s",
        f"runs waits for {BEHIND_S:.0f} s",
        f"or is {OVERDUE_S} s late",
        f"is {SLOW_S * 1000:.0f} ms or more",
        f"rate limit is {LINE_S} s long",
        f"open for {OLD_TRANSACTION_S:.0f} s",
        f"for {QUIET_S} s",
    ):
        assert words in page


def test_a_rule_stands_once() -> None:
    assert len(set(RULES)) == len(RULES)
