from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from flask_forge_jobs.handlers.attention import database
from flask_forge_jobs.model.attention import (
    AnswerTimes,
    DatabaseFacts,
    Facts,
    Need,
    OpenTransaction,
)
from tests.support.facts import AT

Rule = Callable[[Facts], Iterable[Need]]


def texts(rule: Rule, facts: DatabaseFacts) -> list[str]:
    return [sentence.text for _, sentence in rule(Facts(AT, database=facts))]


def test_a_schema_that_does_not_fit() -> None:
    facts = DatabaseFacts("it has version 1, and this code needs 2", 1, 2)

    [(_, sentence)] = database.misfit(Facts(AT, database=facts))

    assert sentence.text == (
        "The schema does not fit: it has version 1, and this code needs 2."
    )
    assert sentence.evidence["command"] == "flask forge-jobs db migrate"
    assert texts(database.misfit, DatabaseFacts(None, 1, 1)) == []


def test_a_file_that_is_locked() -> None:
    [text] = texts(database.locked, DatabaseFacts(write_locked_s=70.0))
    assert text == (
        "The database is locked: another connection has kept its write lock, and no "
        "worker could write for 1m."
    )
    assert texts(database.locked, DatabaseFacts()) == []


@pytest.mark.parametrize(
    ("now_s", "usual_s", "is_slow"),
    [
        (0.05, 0.016, True),
        (0.05, 0.017, False),
        (0.049, 0.001, False),
        (3.0, 1.0, True),
    ],
)
def test_how_slow_is_slow(now_s: float, usual_s: float, is_slow: bool) -> None:
    times = [AnswerTimes("reads", now_s, usual_s)]

    assert bool(texts(database.slow, DatabaseFacts(times=times))) is is_slow


def test_the_slower_calls_are_said() -> None:
    times = [AnswerTimes("reads", 0.2, 0.01), AnswerTimes("writes", 0.4, 0.02)]

    assert texts(database.slow, DatabaseFacts(times=times)) == [
        "The database answers slowly: p95 of writes 400ms, usually 20ms."
    ]


def test_open_transactions_are_one_sentence_about_the_oldest() -> None:
    held = [
        OpenTransaction("session 7", "", 61.0),
        OpenTransaction("session 8", "psql", 3700.0),
    ]

    [text] = texts(database.old_transactions, DatabaseFacts(transactions=held))
    assert text == (
        "A transaction is open for 1h 1m: session 8 of psql. It slows claims down "
        "until it ends. 1 more is open."
    )
    [text] = texts(database.old_transactions, DatabaseFacts(transactions=held[:1]))
    assert text == (
        "A transaction is open for 1m: session 7. It slows claims down until it ends."
    )


def test_connections_that_may_damage_the_file() -> None:
    assert texts(database.hazards, DatabaseFacts(hazards=("an engine does",))) == [
        "The SQLite file is at risk: an engine does."
    ]
