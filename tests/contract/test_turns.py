"""Every statement that ends, reopens or deletes jobs, and the test that names it.

Such a statement has to report its jobs to the settlement, or others wait for them in
vain. A new one is missing here until a test shows that it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.storage.catalogue import load_migrations, load_statements

FOLDER = Path(__file__).parent
LINKS, BATCHES = "jobs/test_links.py", "test_batches.py"
# By statement, or by function of the schema of PostgreSQL: a file, and a test of it.
NAMED = {
    "finish": (LINKS, "test_a_job_waits_until_all_its_parents_are_done"),
    "finish_done": (LINKS, "test_a_job_waits_until_all_its_parents_are_done"),
    "forge_finish": (LINKS, "test_a_job_waits_until_all_its_parents_are_done"),
    "forge_exchange": (
        "jobs/test_exchange.py",
        "test_an_end_in_one_message_frees_the_jobs_that_wait",
    ),
    "finish_cancelled": (LINKS, '"stopped": stop'),
    "rescue": (LINKS, '"rescued": lose'),
    "cancel_waiting": (LINKS, '"cancelled": '),
    "delete_jobs": (LINKS, '"deleted": '),
    "delete_with_status": (LINKS, '"deleted in bulk": '),
    "delete_due": (LINKS, '"deleted with its queue": '),
    "delete_deferred": (BATCHES, "test_a_queue_takes_its_waiting_jobs_along"),
    "delete_expired": (LINKS, "test_a_deleted_parent_is_remembered_by_its_child"),
    "requeue_jobs": (BATCHES, "test_a_retry_reopens_the_counts_and_no_event"),
    **dict.fromkeys(
        ("cancel_plain", "delete_plain", "retry_plain"),
        (
            "jobs/test_plain_changes.py",
            "test_what_something_comes_of_is_left_to_others",
        ),
    ),
    "end_children": (LINKS, "test_a_parent_that_ends_without_being_done"),
    "reopen_children": (LINKS, "test_a_retry_takes_dependents_along_when_asked"),
    # A job that begins to run has not ended.
    "claim": ("jobs/test_queue.py", "def test_"),
    "forge_claim": ("jobs/test_queue.py", "def test_"),
    "claim_one": (LINKS, "test_nothing_but_a_release_makes_a_waiting_job_due"),
}
_WRITES = re.compile(
    r"DELETE FROM forge_job\b(?!_)"
    r"|UPDATE forge_job\b(?: AS \w+)?\s+SET\b(?:(?!\bWHERE\b)[\s\S])*?\bstatus = "
)


def writing(dialect: str) -> Iterator[str]:
    """Names of the statements and functions that write a state or delete jobs."""
    for name, statement in load_statements(dialect).items():
        if _WRITES.search(statement.sql):
            yield name.removesuffix("_noted")
    for step in load_migrations(dialect):
        for name, body in re.findall(
            r"CREATE FUNCTION (\w+)\(([\s\S]*?)\n\$\$;", step.sql
        ):
            if _WRITES.search(body):
                yield name


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_every_statement_that_ends_or_deletes_jobs_is_named(dialect: str) -> None:
    own = {name for name in NAMED if dialect == "postgres" or "forge_" not in name}
    if dialect == "postgres":
        # Two call the functions, one is of SQLite.
        own -= {"finish", "claim", "finish_done"}
    else:
        own -= {"cancel_plain", "delete_plain", "retry_plain"}

    assert set(writing(dialect)) == own


@pytest.mark.parametrize("name", NAMED)
def test_the_test_that_is_named_exists(name: str) -> None:
    file, text = NAMED[name]

    assert text in (FOLDER / file).read_text("utf-8")
