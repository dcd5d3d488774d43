from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.bulk_actions import Instruction, act
from flask_forge_jobs.handlers.errors import list_errors
from flask_forge_jobs.handlers.jobs import find_jobs
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import enqueue, run


def fail(storage: Storage, text: str, queue_name: str = "default") -> str:
    job_id = enqueue(storage, kind=f"in-{queue_name}", queue_name=queue_name)
    run(storage, Dead(text), queue_name=queue_name)
    return job_id


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"within": "1h"}, "range"),
        ({"sort": "count"}, "sort"),
        ({"queue_names": [""]}, "queue"),
        ({"kinds": ["\x00"]}, "kind"),
        ({"cursor": "AAAA"}, "cursor"),
    ],
)
def test_what_is_out_of_bounds_is_named(
    storage: Storage, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        list_errors(storage, **asked)
    assert caught.value.field == field


def test_errors_are_those_of_some_queues_and_kinds(storage: Storage) -> None:
    for queue_name in ("a", "b", "c"):
        fail(storage, "no", queue_name)

    [group] = list_errors(storage, queue_names=["a", "b"]).groups
    [other] = list_errors(storage, kinds=["in-c"]).groups

    assert (group.queues, group.count) == (["a", "b"], 2)
    assert other.queues == ["c"]
    assert list_errors(storage, queue_names=["d"]).total == 0


def test_a_cursor_leads_to_the_next_page_of_its_request(storage: Storage) -> None:
    for text in ("ab", "cd", "ef"):
        fail(storage, text)

    first = list_errors(storage, limit=2)
    last = list_errors(storage, limit=2, cursor=first.next_cursor)

    signatures = [each.signature for each in (*first.groups, *last.groups)]
    assert signatures == ["ab", "cd", "ef"]
    assert (first.total, last.total, last.next_cursor) == (3, 3, None)
    # Sums are those of all pages.
    assert [(page.failures, page.fresh) for page in (first, last)] == [(3, 3)] * 2
    for other in ({"sort": "-last_seen"}, {"kinds": ["k"]}, {"within": "7d"}):
        with pytest.raises(InvalidInputError, match="cursor"):
            list_errors(storage, cursor=first.next_cursor, **other)


def test_a_signature_lists_and_retries_the_same_jobs(storage: Storage) -> None:
    ids = {fail(storage, f"timeout after {n} s") for n in (1, 2)}
    fail(storage, "else")
    [group] = [each for each in list_errors(storage).groups if each.dead == 2]
    wanted = JobFilter(signature=group.signature)

    found = find_jobs(
        storage, wanted, sort="-enqueued_at", limit=5, cursor=None, count="exact",
        redactor=Redactor(),
    )  # fmt: skip
    report = act(
        storage,
        Instruction(action=JobAction.RETRY, job_filter=wanted, expected=2),
        limits=BulkLimits(),
    )

    assert {row.id for row in found.rows} == ids
    assert (found.total, report.matched, report.changed) == (2, 2, 2)
    assert storage.job_reader.total(wanted) == 0


@pytest.mark.parametrize("value", ["", "x" * 201, "\x00"])
def test_a_signature_has_bounds(storage: Storage, value: str) -> None:
    with pytest.raises(InvalidInputError, match="signature"):
        find_jobs(
            storage,
            JobFilter(signature=value),
            sort="-enqueued_at", limit=5, cursor=None, count="exact",
            redactor=Redactor(),
        )  # fmt: skip
