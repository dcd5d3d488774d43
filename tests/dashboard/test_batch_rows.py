"""A batch in words: its state, its counts, and whether it can go on by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flask_forge_jobs.dashboard.batch_rows import BatchRow
from flask_forge_jobs.handlers.batches import BatchRecord
from flask_forge_jobs.model.batches import Batch
from flask_forge_jobs.model.sentences import Sentence

NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)


def row_of(**changed: Any) -> BatchRow:
    """Return a batch of 50 jobs, of which none has started."""
    given = {
        "id": "01KB9V6W3E5Q8Y4N2M7T6R1W0X", "name": "report 7", "data": "null",
        "total": 50, "done": 0, "dead": 0, "removed": 0, "is_sealed": True,
        "cancel_on_dead": False, "cancel_requested_at": None, "on_success": None,
        "on_finished": None, "on_dead": None, "succeeded_at": None,
        "finished_at": None, "died_at": None, "within": None, "created_at": NOW,
        "last_added_at": NOW, "completed_at": None,
    }  # fmt: skip
    batch = Batch(**{**given, **changed})
    return BatchRow(BatchRecord(batch, batch.name, None, redacted=False, within=None))


@pytest.mark.parametrize(
    ("changed", "word", "words", "sentence"),
    [
        (
            {"done": 20, "running": 3}, "Running",
            "20 of 50 done, 3 in progress, 27 waiting",
            "3 jobs are in progress, 27 wait.",
        ),
        (
            {"done": 20, "running": 1, "is_sealed": False}, "Open",
            "20 of 50 done, 1 in progress, 29 waiting",
            (
                "It is open: its producer may still add jobs. 1 job is in progress, "
                "29 wait."
            ),
        ),
        (
            {"done": 44, "dead": 1}, "Waiting",
            "45 of 50 ended (1 dead), 5 waiting",
            "No job is in progress, 5 wait, 1 is dead.",
        ),
        (
            {"done": 48, "dead": 1, "removed": 1}, "Dead",
            "50 of 50 ended (1 dead, 1 removed)",
            "It ended, and 1 job is dead. A retry lets it go on.",
        ),
        (
            {"done": 50}, "Done", "50 of 50 done",
            "It is done, with 50 jobs.",
        ),
        (
            {"done": 9, "running": 2, "cancel_requested_at": NOW}, "Cancelling",
            "9 of 50 done, 2 in progress, 39 waiting",
            "It is being cancelled: 41 jobs have not ended.",
        ),
        (
            {}, "Waiting", "0 of 50 done, 50 waiting",
            "No job is in progress, 50 wait.",
        ),
        (
            {"done": 49, "removed": 1}, "Done", "50 of 50 ended (1 removed)",
            "It is done: 50 of 50 ended (1 removed).",
        ),
        (
            {"total": 0}, "Empty", "no jobs", "It had no jobs, so it ended at once.",
        ),
    ],
)  # fmt: skip
def test_a_batch_says_what_it_does(
    changed: dict[str, Any], word: str, words: str, sentence: str
) -> None:
    row = row_of(**changed)

    assert (row.word, row.words, row.sentence) == (word, words, sentence)


def test_a_batch_that_waits_has_no_colour_of_work() -> None:
    waits, runs = row_of(done=44), row_of(done=44, running=1)

    assert (waits.badge, waits.tone) == ("pending", ("ink", "pending"))
    assert (runs.badge, runs.tone) == ("running", ("blue", "running"))


def test_an_empty_batch_is_no_success() -> None:
    empty, done = row_of(total=0), row_of(done=50)

    assert (empty.badge, empty.tone) == ("empty", ("ink", "unknown"))
    assert (done.badge, done.tone) == ("done", ("green", "done"))
    # Its producer may still add jobs.
    assert row_of(total=0, is_sealed=False).word == "Open"


def test_a_batch_that_cannot_end_says_why() -> None:
    row = row_of(dead=1)
    text = f"Batch {row.id} (a) (b) cannot end: 5 jobs wait for job 7, which is dead."
    row.need = Sentence("batch_stands", text, {"batch": row.id, "name": "a) (b"})

    assert row.stands
    assert row.tone == ("amber", "warn")
    assert row.sentence == "It cannot end: 5 jobs wait for job 7, which is dead."


def test_a_batch_that_has_ended_since_the_report_does_not_stand() -> None:
    row = row_of(done=50)
    row.need = Sentence("batch_stands", "Batch 7 (x) cannot end.", {"batch": "7"})

    assert not row.stands
    assert row.sentence == "It is done, with 50 jobs."


def test_the_bar_has_the_jobs_that_have_started() -> None:
    row = row_of(done=20, dead=2, running=3, removed=1)

    assert row.bar == [(20, "green"), (2, "red"), (3, "blue"), (1, "ink")]
    assert sum(part.count for part in row.parts) == 50


def test_a_name_reorders_nothing() -> None:
    assert "\u202e" not in row_of(name="a\u202eb\nc").name
