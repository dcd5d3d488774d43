"""Every mutation, done or refused, leaves one entry; a read leaves none."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from typing import NoReturn

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.auditor import LINES_A_MINUTE
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.errors import JobNotFoundError, StorageUnavailableError
from flask_forge_jobs.model.audit import AuditEntry, AuditFilter
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.audit import AuditLog
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import QUEUE, job_with

ROUTES = [route for route in all_routes(enable_demo=True) if route.permission]
MUTATIONS = [route for route in ROUTES if route.mutates]
READS = [route for route in ROUTES if not route.mutates]


def _entries(storage: Storage) -> list[AuditEntry]:
    return storage.audit.page(AuditFilter(), 1000)


def _call(client: FlaskClient, route: Route) -> int:
    path = PREFIX + re.sub("<.*?>", "none", route.path)
    body: dict[str, str] | None = None if route.method == "GET" else {}
    return client.open(path, method=route.method, json=body).status_code


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return client_with_token(storage, "operator", token_id="ada")


def test_sec_S42_each_mutating_route_leaves_one_entry(storage: Storage) -> None:
    admin = client_with_token(storage, "admin", token_id="ada")

    statuses = [_call(admin, route) for route in MUTATIONS]

    storage.refusals.flush(is_last=True)
    noted: Counter[tuple[str, int, str]] = Counter()
    for entry in _entries(storage):
        record = entry.record
        noted[record.action, record.status, record.actor] += record.requests
    assert noted == Counter(
        (route.endpoint.removeprefix("v1_"), status, "ada")
        for route, status in zip(MUTATIONS, statuses, strict=True)
    )


def test_reads_leave_none(storage: Storage) -> None:
    admin = client_with_token(storage, "admin")

    for route in READS:
        _call(admin, route)

    assert _entries(storage) == []


def test_entry_says_who_did_what_from_where(
    client: FlaskClient, storage: Storage
) -> None:
    answer = client.post(
        f"{PREFIX}/jobs/enqueue",
        json={"kind": "k", "payload": {"password": "canary", "to": "x"}},
        headers={"X-Request-Id": "r-17", "X-Forwarded-For": "198.51.100.9"},
        environ_overrides={"REMOTE_ADDR": "192.0.2.7"},
    )

    [entry] = _entries(storage)
    record = entry.record
    assert (record.actor, record.action, record.target) == (
        "ada",
        "jobs_enqueue",
        answer.get_json(),
    )
    assert (record.address, record.request_id) == ("192.0.2.7", "r-17")
    assert (record.status, record.changed) == (200, 1)
    assert entry.detail["arguments"] == {
        "body": {"kind": "k", "payload": {"password": "[redacted]", "to": "x"}}
    }


def test_number_of_changes_is_what_the_answer_says(
    client: FlaskClient, storage: Storage
) -> None:
    def enqueue(**options: object) -> str:
        job = {"kind": "k", "payload": {}, **options}
        return str(client.post(f"{PREFIX}/jobs/enqueue", json=job).get_json())

    ids = [enqueue(), enqueue(dedupe_key="one"), enqueue(dedupe_key="one")]
    client.post(f"{PREFIX}/jobs/retry", json={"ids": ids})
    client.post(f"{PREFIX}/jobs/delete", json={"ids": [*ids, "none"]})

    changed = [entry.record.changed for entry in reversed(_entries(storage))]
    assert changed == [1, 1, 0, 0, 2]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jobs/enqueue", {"kind": "k", "payload": {}}),
        ("/v1/jobs/bulk", {"items": [{"kind": "k", "payload": {}}]}),
    ],
)
def test_a_repeated_request_changes_nothing(
    client: FlaskClient, storage: Storage, path: str, body: dict[str, object]
) -> None:
    for _ in range(2):
        answer = client.post(PREFIX + path, json=body, headers={"Idempotency-Key": "a"})
        assert answer.status_code < 300

    changed = [entry.record.changed for entry in reversed(_entries(storage))]
    assert changed == [1, 0]


def test_a_dry_run_changes_nothing(client: FlaskClient, storage: Storage) -> None:
    job_with(storage, JobStatus.DONE)
    storage.queues.change(QUEUE, {"retain_done_for_days": 0, "retain_dead_for_days": 0})

    for is_dry in (True, False):
        answer = client.post(f"{PREFIX}/queue/cleanup", json={"dry_run": is_dry})
        assert answer.get_json() == {"done_deleted": 1, "dead_deleted": 0}

    changed = [entry.record.changed for entry in reversed(_entries(storage))]
    assert changed == [0, 1]


@pytest.mark.parametrize(
    ("role", "path", "body", "status"),
    [
        ("viewer", "/jobs/delete", {"ids": ["a"]}, 403),
        ("operator", "/queue/none/paused", {"paused": True}, 404),
        ("operator", "/queue/none/max-workers", {"n": -1}, 400),
        ("operator", "/jobs/enqueue", {"kind": 1}, 400),
    ],
)
def test_sec_S42_refused_mutation_leaves_one_entry_too(
    storage: Storage, role: str, path: str, body: dict[str, object], status: int
) -> None:
    client_with_token(storage, role).post(PREFIX + path, json=body)

    [entry] = _entries(storage)
    assert (entry.record.status, entry.record.changed) == (status, 0)


def test_stranger_leaves_a_line_in_the_log_only(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_with_token(storage, "admin")
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer fj_ci_wrong"

    client.post(f"{PREFIX}/jobs/delete?a=x%0AINFO%20fake", json={"ids": ["a"]})

    assert _entries(storage) == []
    [record] = caplog.records
    assert "401 jobs_delete by nobody" in record.getMessage()
    assert "fj_ci_wrong" not in caplog.text
    assert len(record.getMessage().splitlines()) == 1


def test_target_with_control_characters_is_kept_escaped(
    client: FlaskClient, storage: Storage
) -> None:
    client.post(f"{PREFIX}/jobs/run-now/a%00b%0Ac", json={})

    [entry] = _entries(storage)
    assert entry.record.target == r"a\x00b\nc"


def test_database_that_failed_is_not_asked_once_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = mount(faulty_storage(StorageUnavailableError("down")))

    answer = client.post(f"{PREFIX}/jobs/delete", json={"ids": ["a"]})

    assert answer.status_code == 503
    assert "not in the audit trail: 503 jobs_delete by local" in caplog.text


def test_an_entry_that_cannot_be_stored_is_one_line(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a file that is read-only, where a dry run still counts."""
    client = client_with_token(storage, "operator", token_id="ada")

    def refuse(*_: object) -> NoReturn:
        raise StorageUnavailableError("read-only")

    monkeypatch.setattr(AuditLog, "append", refuse)

    answer = client.post(f"{PREFIX}/queue/cleanup", json={"dry_run": True})

    assert answer.status_code == 200
    [record] = caplog.records
    assert record.getMessage().startswith("not in the audit trail: 200 queue_cleanup")
    assert record.getMessage().endswith("; read-only")
    assert record.exc_info is None


# -- refused again and again ----------------------------------------------------------


def test_sec_S42_refusals_of_a_minute_are_one_entry_and_a_number(
    storage: Storage,
) -> None:
    viewer = client_with_token(storage, "viewer")

    for number in range(50):
        viewer.post(f"{PREFIX}/jobs/delete", json={"ids": [str(number)]})
        viewer.post(f"{PREFIX}/queue/none/paused", json={"paused": True})

    assert len(_entries(storage)) == 2
    storage.refusals.flush(is_last=True)
    entries = list(reversed(_entries(storage)))
    assert [entry.record.requests for entry in entries] == [1, 1, 49, 49]
    assert {entry.record.status for entry in entries} == {403}
    detail = entries[2].detail
    assert (detail["requests"], detail["changed"]) == (49, 0)


def test_limit_that_turns_away_leaves_an_entry(storage: Storage) -> None:
    client = client_with_token(storage, "admin", rate_limits={"write": "1/minute"})

    for _ in range(3):
        client.post(f"{PREFIX}/queue/none/paused", json={"paused": True})

    records = [entry.record for entry in reversed(_entries(storage))]
    assert [record.status for record in records] == [404, 429]


# -- lines of the log -----------------------------------------------------------------


@pytest.mark.parametrize("is_known", [True, False])
def test_sec_S42_refused_read_leaves_a_line(
    storage: Storage, caplog: pytest.LogCaptureFixture, *, is_known: bool
) -> None:
    client = client_with_token(storage, "viewer", token_id="ada")
    if not is_known:
        client.environ_base["HTTP_AUTHORIZATION"] = "Bearer fj_ci_wrong"

    client.get(f"{PREFIX}/v1/audit?actor=x%0AINFO%20fake")

    [record] = caplog.records
    wanted = "403 audit by ada" if is_known else "401 audit by nobody"
    assert f"refused: {wanted} from 127.0.0.1" in record.getMessage()
    assert len(record.getMessage().splitlines()) == 1
    assert "wrong" not in caplog.text
    assert _entries(storage) == []


def test_refusals_do_not_fill_the_log(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_with_token(storage, "viewer")

    for _ in range(2 * LINES_A_MINUTE):
        client.get(f"{PREFIX}/v1/audit")

    assert len(caplog.records) == LINES_A_MINUTE


def test_requests_that_the_database_fails_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While it is away every change fails, and all for one reason."""
    client = mount(faulty_storage(StorageUnavailableError("down")))

    for _ in range(3):
        answer = client.post(f"{PREFIX}/jobs/delete", json={"ids": ["a"]})
        assert answer.status_code == 503

    assert caplog.text.count("not in the audit trail") == 1


# -- S34: who changes what will run --------------------------------------------------

EDITS = {
    "cron_change": ("PATCH", "/v1/cron/nightly", {"payload": {"to": "x"}}),
    "cron_change the kind": ("PATCH", "/v1/cron/nightly", {"kind": "other"}),
    "cron_set_expr": ("POST", "/cron/nightly/expr", {"expr": "5 4 * * *"}),
    "cron_set_enabled": ("POST", "/cron/nightly/enabled", {"enabled": False}),
    "cron_set_dedupe": ("POST", "/cron/nightly/dedupe", {"dedupe": True}),
}


def _schedule(storage: Storage) -> ScheduleDefinition:
    made = ScheduleDefinition("nightly", "digest", "0 3 * * *", '{"to":"all"}')
    storage.cron.create(made)
    return made


@pytest.mark.parametrize("edit", EDITS)
def test_sec_S34_edit_of_a_schedule_tells_before_and_after(
    client: FlaskClient, storage: Storage, edit: str
) -> None:
    before = _schedule(storage)
    method, path, body = EDITS[edit]

    for _ in range(2):
        assert client.open(PREFIX + path, method=method, json=body).status_code == 200

    again, first = _entries(storage)
    after = storage.cron.get("nightly").definition
    assert after != before
    assert first.record.action == edit.partition(" ")[0]
    assert json.loads(first.record.arguments)["edit"] == {
        "before": before.digest(), "after": after.digest(),
    }  # fmt: skip
    assert json.loads(again.record.arguments)["edit"] == {
        "before": after.digest(), "after": after.digest(),
    }  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_sec_S34_edit_of_a_schedule_needs_its_own_permission(
    storage: Storage, edit: str
) -> None:
    before = _schedule(storage)
    every = frozenset(Permission) - {Permission.CRON_EDIT}
    client = mount(
        storage,
        BlueprintOptions(authenticator=lambda _: Principal("all but one", every)),
    )
    method, path, body = EDITS[edit]

    answer = client.open(PREFIX + path, method=method, json=body)

    assert answer.status_code == 403
    assert storage.cron.get("nightly").definition == before
    [entry] = _entries(storage)
    assert "edit" not in json.loads(entry.record.arguments)


def test_sec_S34_no_route_changes_what_a_stored_job_runs(storage: Storage) -> None:
    client = client_with_token(storage, "admin")
    tried = 0
    for route in MUTATIONS:
        job_id = storage.jobs.enqueue(NewJob("mine", '{"to":"me"}')).id
        path = PREFIX + re.sub("<[^>]*job_id>", job_id, route.path)
        change = {"kind": "evil", "payload": {"to": "evil"}}
        for extra in ({}, {"ids": [job_id]}, {"filter": {"kinds": ["mine"]}}):
            client.open(
                re.sub("<.*?>", "none", path),
                method=route.method,
                json={"action": "reschedule", "priority": 3, **change, **extra},
            )
        with contextlib.suppress(JobNotFoundError):
            job = storage.job_reader.get(job_id)
            assert (job.kind, job.payload) == ("mine", '{"to":"me"}'), route.path
            tried += 1

    assert tried > 40
