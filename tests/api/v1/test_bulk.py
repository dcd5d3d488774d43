from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import OWNER, dead_with_steps, enqueue, having, job_with, run
from tests.support.sql import Sql

PATH = f"{PREFIX}/v1/jobs/actions"
LATER = "2999-01-01T00:00:00Z"


def act(client: FlaskClient, action: str, **body: object) -> dict[str, Any]:
    answer = client.post(PATH, json={"action": action, **body})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = json.loads(answer.data)
    assert list(document) == [
        "matched", "changed", "skipped", "complete", "next_cursor",
    ]  # fmt: skip
    return document


def refused(answer: TestResponse) -> str:
    assert answer.status_code == 400, answer.text
    assert answer.json is not None
    field: str = answer.json["field"]
    return field


def one_of_each(storage: Storage) -> dict[str, str]:
    return {each: job_with(storage, each, queue_name=each) for each in JobStatus}


# -- actions -----------------------------------------------------------------------


@pytest.mark.parametrize("by", ["ids", "filter"])
@pytest.mark.parametrize(
    ("action", "states", "changed"),
    [
        ("retry", {"failed": "pending", "dead": "pending"}, 2),
        ("cancel", {"pending": "dead", "failed": "dead"}, 3),
        ("run_now", {}, 2),
        ("reschedule", {}, 2),
        ("delete", dict.fromkeys(("pending", "failed", "done", "dead")), 5),
    ],
)
def test_an_action_changes_the_states_it_is_for(  # noqa: PLR0917  # of a table
    client: FlaskClient,
    storage: Storage,
    by: str,
    action: str,
    states: dict[str, str | None],
    changed: int,
) -> None:
    ids = one_of_each(storage)
    body: dict[str, object] = {"all": True} if by == "filter" else {}
    if by == "ids":
        body["ids"] = list(ids.values())
    if action == "reschedule":
        body["run_at"] = LATER

    report = act(client, action, **body)

    assert (report["matched"], report["changed"], report["complete"]) == (
        5, changed, True,
    )  # fmt: skip
    if by == "ids":
        assert len(report["skipped"]) == 5 - changed
        assert {skip["reason"] for skip in report["skipped"]} <= {"wrong_status"}
    else:
        assert report["skipped"] == []
    for status, job_id in ids.items():
        found = storage.job_reader.ids_in([job_id])
        expected = states.get(status, status)
        assert bool(found) is (expected is not None)
        if found:
            assert storage.job_reader.get(job_id).status == expected
    asked = action in {"delete", "cancel"}
    assert bool(storage.jobs.cancelled(OWNER)) is asked


def test_run_now_makes_waiting_jobs_due(client: FlaskClient, storage: Storage) -> None:
    ids = [enqueue(storage) for _ in range(2)]
    act(client, "reschedule", ids=ids, run_at=LATER)
    assert storage.jobs.claim("default", OWNER) == []

    act(client, "run_now", filter={"queues": ["default"]})

    assert {job.id for job in storage.jobs.claim("default", OWNER, 9)} == set(ids)


def test_the_reasons_are_told_for_each_id(
    client: FlaskClient, storage: Storage
) -> None:
    blocked = enqueue(storage, key="held")
    run(storage, Dead("no"))
    enqueue(storage, key="held")
    done = job_with(storage, JobStatus.DONE, queue_name="other")

    answer = client.post(
        PATH, json={"action": "retry", "ids": [blocked, done, "none", done]}
    )

    assert answer.json is not None
    assert answer.json["matched"] == 2
    assert answer.headers["X-Jobs-Skipped"] == "3"
    assert {skip["id"]: skip["reason"] for skip in answer.json["skipped"]} == {
        blocked: "dedupe_conflict",
        done: "wrong_status",
        "none": "not_found",
    }


# -- filters -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"queues": ["q1"]}, {"c"}),
        ({"kinds": ["x"]}, {"b"}),
        ({"queues": ["q1"], "kinds": ["y", "z"]}, {"a", "c"}),
        ({"statuses": ["pending"]}, {"b"}),
        ({"statuses": ["dead", "done"]}, {"a", "c"}),
        ({"statuses": ["scheduled"]}, {"a", "b", "c"}),
        ({"error": "BROKEN pipe"}, {"a", "c"}),
        ({"error": "%"}, {"a", "b", "c"}),
        ({"min_attempts": 1}, {"a", "c"}),
        ({"min_attempts": 2}, {"a", "b", "c"}),
        ({"payload_search": '{"n":2}'}, {"a", "b", "c"}),
        ({"from": LATER}, {"a", "b", "c"}),
        ({"to": "2000-01-01T00:00:00Z"}, {"a", "b", "c"}),
        ({"from": "2000-01-01T00:00:00Z", "to": LATER}, set()),
        ({"queues": ["none"]}, {"a", "b", "c"}),
    ],
)
def test_a_filter_has_the_keys_of_the_list_and_two_more(
    client: FlaskClient, storage: Storage, wanted: dict[str, object], left: set[str]
) -> None:
    if wanted == {"error": "%"}:
        wanted = {"error": "%%"}
    names = {}
    names[enqueue(storage, "y", queue_name="q1")] = "b"
    run(storage, Dead("a broken pipe"), queue_name="q1")
    names[enqueue(storage, "x", queue_name="q1")] = "a"
    names[enqueue(storage, "x", queue_name="q2")] = "c"

    report = act(client, "delete", filter=wanted)

    remaining = {names[job.id] for job in storage.job_reader.page(JobFilter(), 9).rows}
    assert remaining == left
    assert report["matched"] == report["changed"] == 3 - len(left)


@pytest.mark.parametrize("rows", [0, BATCH + 1])
def test_every_batch_is_taken(client: FlaskClient, sql: Sql, rows: int) -> None:
    if rows:
        sql.seed(rows, status="dead")

    report = act(client, "retry", filter={"statuses": ["dead"]})

    assert report == {
        "matched": rows, "changed": rows, "skipped": [], "complete": True,
        "next_cursor": None,
    }  # fmt: skip
    assert sql.counted_rows() == sql.maintained_counts()


# -- dry run, guard, cut -----------------------------------------------------------


@pytest.mark.parametrize("by", ["ids", "filter"])
def test_a_dry_run_only_counts(client: FlaskClient, storage: Storage, by: str) -> None:
    job_id = job_with(storage, JobStatus.DEAD)
    before = storage.job_reader.get(job_id)
    body: dict[str, object] = {"ids": [job_id, "none"]}
    if by == "filter":
        body = {"filter": {"statuses": ["dead"]}}

    report = act(client, "delete", dry_run=True, **body)

    assert report == {
        "matched": 1, "changed": 0, "skipped": [], "complete": True,
        "next_cursor": None,
    }  # fmt: skip
    assert storage.job_reader.get(job_id) == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("rows", "expected", "status"), [(30, 20, 200), (30, 19, 409)])
def test_the_expected_number_guards(
    client: FlaskClient,
    sql: Sql,
    rows: int,
    expected: int,
    status: int,
    *,
    dry_run: bool,
) -> None:
    sql.seed(rows, status="dead")

    answer = client.post(
        PATH,
        json={
            "action": "delete",
            "filter": {"statuses": ["dead"]},
            "expected": expected,
            "dry_run": dry_run,
        },
    )

    assert answer.status_code == status
    is_done = status == 200 and not dry_run
    assert sum(sql.counted_rows().values()) == (0 if is_done else rows)


def test_a_call_that_was_cut_goes_on_behind_its_cursor(
    storage: Storage, sql: Sql
) -> None:
    sql.seed(4, status="dead", queue_name="a", prefix="a")
    sql.seed(3, status="failed", queue_name="b", prefix="b")
    client = mount(storage, BlueprintOptions(bulk_max=3))
    body = {"action": "run_now", "all": True}

    first = client.post(PATH, json={**body, "action": "delete"})
    assert first.json is not None
    assert first.headers["X-Bulk-Complete"] == "false"
    assert (first.json["changed"], first.json["complete"]) == (3, False)
    cursor = first.json["next_cursor"]
    rest = act(client, "delete", all=True, cursor=cursor)

    assert (rest["matched"], rest["changed"], rest["complete"]) == (4, 3, False)
    wrong = client.post(PATH, json={**body, "cursor": cursor})
    assert refused(wrong) == "cursor"
    last = act(client, "delete", all=True, cursor=rest["next_cursor"])
    assert (last["changed"], last["complete"], last["next_cursor"]) == (1, True, None)
    assert sql.maintained_counts() == {}


# -- refusals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "requeue", "ids": []}, "action"),
        ({"action": "retry", "ids": ["x", ""]}, "ids[1]"),
        ({"action": "retry", "ids": ["x"] * 10_001}, "ids"),
        ({"action": "retry", "filter": {"queue": ["q"]}}, "filter.queue"),
        ({"action": "retry", "filter": {"queues": "q"}}, "filter.queues"),
        ({"action": "retry", "filter": {"statuses": ["deadd"]}}, "filter.statuses"),
        ({"action": "retry", "filter": {"error": "x"}}, "filter.error"),
        ({"action": "retry", "filter": {"min_attempts": -1}}, "filter.min_attempts"),
        ({"action": "retry", "filter": {"min_attempts": 1001}}, "filter.min_attempts"),
        ({"action": "retry", "ids": [], "cursor": "x"}, "cursor"),
        ({"action": "retry", "all": True, "cursor": "x"}, "cursor"),
    ],
)
def test_a_bad_instruction_is_400_and_changes_nothing(
    client: FlaskClient, storage: Storage, body: object, field: str
) -> None:
    job_id = job_with(storage, JobStatus.DEAD)

    assert refused(client.post(PATH, json=body)) == field

    assert storage.job_reader.get(job_id).status is JobStatus.DEAD


# -- who may do what ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "status"),
    [("retry", 200), ("run_now", 200), ("delete", 403), ("cancel", 403)],
)
def test_ending_jobs_needs_the_permission_to_delete(
    storage: Storage, action: str, status: int
) -> None:
    caller = Principal("ci", frozenset({Permission.JOBS_RETRY}))
    client = mount(storage, BlueprintOptions(authenticator=lambda _: caller))
    job_id = enqueue(storage)

    answer = client.post(PATH, json={"action": action, "ids": [job_id]})

    assert answer.status_code == status
    assert storage.job_reader.get(job_id).status is JobStatus.PENDING


def test_a_limited_credential_reaches_its_queues_only(
    storage: Storage, sql: Sql
) -> None:
    sql.seed(2, status="dead", queue_name="mail", prefix="mail")
    sql.seed(3, status="dead", queue_name="other", prefix="other")
    client = client_with_token(storage, "operator", ["mail"])
    elsewhere = client.post(
        PATH, json={"action": "delete", "filter": {"queues": ["other"]}}
    )
    assert elsewhere.status_code == 403

    by_id = act(client, "retry", ids=["mail-1", "other-1", "none"])
    by_filter = act(client, "delete", all=True)

    assert (by_id["matched"], by_id["changed"]) == (1, 1)
    assert {skip["id"]: skip["reason"] for skip in by_id["skipped"]} == {
        "other-1": "not_found",
        "none": "not_found",
    }
    assert (by_filter["matched"], by_filter["changed"]) == (2, 2)
    assert storage.job_reader.total(having(JobStatus.DEAD)) == 3


@pytest.mark.parametrize("by", ["ids", "filter"])
def test_a_retry_of_many_may_begin_with_the_first_step(
    client: FlaskClient, storage: Storage, by: str
) -> None:
    ids = [dead_with_steps(storage) for _ in range(2)]
    chosen: Any = {"ids": ids} if by == "ids" else {"filter": {"statuses": ["dead"]}}

    assert act(client, "retry", restart=True, **chosen)["changed"] == 2
    answer = client.post(PATH, json={"action": "delete", "ids": ids, "restart": True})

    assert [storage.steps.kept(each).results for each in ids] == [{}, {}]
    assert refused(answer) == "restart"


@pytest.mark.parametrize("by", ["ids", "filter"])
def test_a_retry_brings_back_the_jobs_that_died_with_others(
    client: FlaskClient, storage: Storage, by: str
) -> None:
    parent = enqueue(storage)
    child = storage.jobs.enqueue(NewJob("noop", after=[parent])).id
    run(storage, Dead("no"))
    chosen: Any = {"ids": [parent, child]} if by == "ids" else {"all": True}
    limited = client_with_token(storage, "operator", ["default"])
    body = {"action": "retry", "dependents": True, **chosen}

    assert limited.post(PATH, json=body).status_code == 403
    assert act(client, **body)["changed"] == 2
    answer = client.post(PATH, json=body | {"action": "run_now"})

    assert storage.job_reader.get(child).is_waiting
    assert refused(answer) == "dependents"


def test_a_filter_chooses_a_batch_or_jobs_that_wait(
    client: FlaskClient, storage: Storage
) -> None:
    batch = storage.batches.create(NewBatch("report"), [NewJob("part")] * 2)
    parent = enqueue(storage)
    storage.jobs.enqueue(NewJob("noop", after=[parent]))

    of_batch = act(client, "delete", filter={"batch": batch.id})
    of_waiting = act(client, "cancel", filter={"waiting": True}, dry_run=True)
    answer = client.post(PATH, json={"action": "delete", "filter": {"batch": "b"}})

    assert (of_batch["changed"], of_waiting["matched"]) == (2, 1)
    assert storage.job_reader.get(parent).status is JobStatus.PENDING
    assert refused(answer) == "filter.batch"
