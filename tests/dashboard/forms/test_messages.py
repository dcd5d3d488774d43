"""A form says what it did, and the audit trail cannot tell it from JSON."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.dashboard.forms import messages
from flask_forge_jobs.dashboard.forms.table import form_routes
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.api.changes import CHANGES, fill, placed
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.dashboard.forms.sending import Sender

SCRIPT = {"Accept": "application/json"}
# Of what tests/api/changes.py stores: a dead job, a failed one and a done one in
# "default", one for later, the empty queue "empty", and a batch with a dead job.
SENTENCES = {
    "enqueue": "Job {id} is enqueued.",
    "enqueue to a new queue": "Job {id} is enqueued.",
    "enqueue with a key": "Job {id} is enqueued.",
    "enqueue many": "2 jobs enqueued.",
    "run now": "Job {id} is due now.",
    "delete one": "Job {id} is deleted.",
    "cancel": "Job {id} is cancelled.",
    "retry one": "Job {id} is due again, with all its attempts.",
    "reschedule": "Job {id} is rescheduled.",
    "release": "Job {id} waits for no other job.",
    "retry": "1 job retried.",
    "retry all": "2 jobs retried.",
    "retry failed": "1 job retried.",
    "delete": "1 job deleted.",
    "delete all": "2 jobs deleted.",
    "delete done": "1 job deleted.",
    "act": "1 job deleted.",
    "begin a bulk run": "0 jobs to go, batch by batch. "
    "Leaving this page stops nothing.",
    "stop a bulk run": "Stopped after 0 jobs.",
    "create a batch": "report is stored.",
    "add to a batch": "1 job enqueued.",
    "seal a batch": "Batch {id} has all its jobs, and ends with them.",
    "cancel a batch": "Batch {id} is cancelled; running jobs are asked to stop.",
    "retry a batch": "1 job of the batch is due again.",
    "delete a batch": "Batch {id} is deleted.",
    "cleanup": "1 done and 1 dead job are deleted.",
    "set workers": "default may use 3 slots of all workers together.",
    "set retention": "The settings of default are stored.",
    "set backoff": "The settings of default are stored.",
    "set expression": "nightly is stored.",
    "set dedupe": "nightly is stored.",
    "pause": "default is paused.",
    "create a queue": "new is registered.",
    "change a queue": "default may use 7 slots of all workers together.",
    "delete a queue": "empty is removed.",
    "delete a queue of jobs": "default is removed with 4 jobs.",
    "pause queues": "3 queues paused.",
    "create a schedule": "new is stored.",
    "change a schedule": "nightly is stored.",
    "disable": "nightly is off.",
    "trigger": "A job of nightly is enqueued.",
    "delete a schedule": "nightly is deleted; its jobs stay.",
    "put a limit": "new is stored.",
    "drain": "mail has no tokens now.",
    "delete a limit": "mail is deleted; jobs that take its tokens fail.",
}
Call = tuple[str, str, dict[str, object] | None]
COOL_DOWN: dict[str, object] = {"action": "cool_down", "queues": ["mail"]}
# Fields of every form, which the sender has of its own.
_OF_ALL = ("_token", "_back")


class _Host:
    """One application for all tests, which exchange its storage."""

    def __init__(self) -> None:
        self.storage: Storage | None = None
        self.message, self.status = "", 0
        self.undo: tuple[str, dict[str, str]] | None = None
        self.sender = Sender(client_with_token(self._present, "admin"))

    def _present(self) -> Storage:
        assert self.storage is not None
        return self.storage

    def send_json(self, call: Call) -> None:
        method, path, body = call
        self.sender.client.open(PREFIX + path, method=method, json=body)

    def send_form(self, call: Call) -> None:
        method, path, body = call
        path = f"{method.lower()}{path}"
        answer = self.sender.send(path, _fields(body), headers=SCRIPT)
        said, self.status = answer.json or {}, answer.status_code
        text, self.undo = said.get("message", ""), said.get("undo")
        self.message = re.sub("[0-9A-HJKMNP-TV-Z]{26}", "{id}", text)


@pytest.fixture(scope="module")
def host() -> _Host:
    return _Host()


def _fields(body: dict[str, object] | None) -> list[tuple[str, str]]:
    pairs = []
    for name, value in (body or {}).items():
        is_list = isinstance(value, list) and not isinstance(value[0], dict)
        values = value if is_list and isinstance(value, list) else [value]
        for each in values:
            text = each if isinstance(each, str) else json.dumps(each)
            pairs.append((name, text))
    return pairs


def _trail(
    host: _Host, path: Path, change: str, send: Callable[[Call], None]
) -> list[AuditRecord]:
    with contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage:
        host.storage = storage
        names = fill(storage)
        method, path_, body = placed(change, names)
        if not path_.startswith("/v1/"):
            path_ = f"/v1{path_}"
        send((method, path_, body))
        storage.refusals.flush()
        entries = storage.audit.page(AuditFilter(), 100)
    labels = {job_id: name for name, job_id in names.items()}
    return [_labelled(entry.record, labels) for entry in entries]


def _labelled(record: AuditRecord, labels: dict[str, str]) -> AuditRecord:
    # The test's client sorts the keys of its JSON.
    arguments = json.dumps(json.loads(record.arguments), sort_keys=True)
    for job_id, label in labels.items():
        arguments = arguments.replace(job_id, label)
    target = record.target or ""
    # New jobs have ids of their own.
    known = labels.get(target, "new" if len(target) == 26 else target)
    return replace(record, target=known, arguments=arguments, request_id="")


def test_every_form_has_a_sentence_of_its_own() -> None:
    forms = form_routes(all_routes(enable_demo=True))

    assert {form.action for form in forms} == set(messages._SENTENCES)


def test_every_change_is_tried() -> None:
    """But the deprecated ones, which have no form."""
    assert set(SENTENCES) == CHANGES.keys() - {"demo", "requeue"}


@pytest.mark.parametrize("change", sorted(SENTENCES))
def test_a_form_does_what_json_does_and_says_it(
    host: _Host, tmp_path: Path, change: str
) -> None:
    as_json = _trail(host, tmp_path / "json.sqlite", change, host.send_json)

    as_form = _trail(host, tmp_path / "form.sqlite", change, host.send_form)

    assert as_form == as_json
    assert as_json[0].status < 300
    assert host.message == SENTENCES[change]


@pytest.mark.parametrize(
    ("call", "undoing"),
    [
        (
            ("POST", "/v1/queues/actions", {"action": "pause", "queues": ["mail"]}),
            ["Undo", {"action": "resume", "queues": ["mail"], "ends": "paused_at"}],
        ),
        (
            (
                "POST",
                "/v1/queues/actions",
                {"action": "cool_down", "queues": ["mail"], "seconds": 60},
            ),
            [
                "End now",
                {
                    "action": "end_cooldown",
                    "queues": ["mail"],
                    "ends": "throttled_until",
                },
            ],
        ),
        (
            ("PATCH", "/v1/cron/my%20schedule", {"enabled": False}),
            ["Undo", {"enabled": True}],
        ),
        # Each time when a schedule is on looks like the others.
        (("PATCH", "/v1/cron/my%20schedule", {"enabled": True}), None),
        (("POST", "/v1/queues/actions", {"action": "pause", "all": True}), None),
        (("PATCH", "/v1/cron/my%20schedule", {"cron_expr": "0 4 * * *"}), None),
        (("DELETE", "/v1/cron/my%20schedule", None), None),
    ],
)
def test_a_pause_a_switch_and_a_cool_down_can_be_taken_back(
    host: _Host, tmp_path: Path, call: Call, undoing: list[Any] | None
) -> None:
    with _stored(host, tmp_path) as storage:
        host.send_form(call)

        undo = host.undo
        assert (undo is None) == (undoing is None)
        if undo is not None and undoing is not None:
            label, body = undoing
            if "ends" in body:
                instant = getattr(storage.queues.get("mail"), body["ends"])
                body = {**body, "ends": format_instant(instant)}
            assert [undo[0], json.loads(undo[1]["_body"])] == [label, body]
            before = (storage.queues.get("mail"), storage.cron.get("my schedule"))
            host.send_form((*call[:2], _own(undo[1])))
            after = (storage.queues.get("mail"), storage.cron.get("my schedule"))
            assert after != before


@contextlib.contextmanager
def _stored(host: _Host, folder: Path) -> Iterator[Storage]:
    settings = DatabaseSettings(path=folder / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        host.storage = storage
        storage.queues.create(QueueSettings("mail"))
        storage.cron.create(ScheduleDefinition("my schedule", "send", "0 3 * * *"))
        yield storage


def _own(fields: dict[str, str]) -> dict[str, object]:
    return {name: text for name, text in fields.items() if name not in _OF_ALL}


@pytest.mark.parametrize(
    ("change", "end"),
    [
        (
            ("POST", "/v1/queues/actions", {"action": "pause", "queues": ["mail"]}),
            ("POST", "/v1/queues/actions", {"action": "resume", "queues": ["mail"]}),
        ),
        (
            ("POST", "/v1/queues/actions", {**COOL_DOWN, "seconds": 60}),
            ("POST", "/v1/queues/actions", {**COOL_DOWN, "action": "end_cooldown"}),
        ),
        (
            ("PATCH", "/v1/cron/my%20schedule", {"enabled": False}),
            ("PATCH", "/v1/cron/my%20schedule", {"enabled": True}),
        ),
    ],
)
def test_an_old_page_undoes_no_later_change(
    host: _Host, tmp_path: Path, change: Call, end: Call
) -> None:
    with _stored(host, tmp_path) as storage:
        host.send_form(change)
        undo = host.undo
        assert undo is not None
        host.send_form(end)
        assert host.undo is None
        host.send_form(change)
        before = (storage.queues.get("mail"), storage.cron.get("my schedule"))

        host.send_form((*change[:2], _own(undo[1])))

        after = (storage.queues.get("mail"), storage.cron.get("my schedule"))
        assert (host.status, after) == (412, before)


def test_a_pause_is_stored_even_if_its_undo_cannot_be_read(
    host: _Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may go away between the two."""

    def away(*_: object) -> None:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(messages, "get_queue", away)
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        host.storage = storage
        storage.queues.create(QueueSettings("mail"))

        host.send_form(
            ("POST", "/v1/queues/actions", {"action": "pause", "queues": ["mail"]})
        )

    assert (host.message, host.undo) == ("mail is paused.", None)


@pytest.mark.parametrize(
    "call",
    [
        ("POST", "/v1/queues/actions", {"action": "pause", "queues": ["mail"]}),
        ("PATCH", "/v1/cron/my%20schedule", {"enabled": False}),
    ],
)
def test_what_another_has_done_already_is_not_taken_back(
    host: _Host, tmp_path: Path, call: Call
) -> None:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        host.storage = storage
        storage.queues.create(QueueSettings("mail"))
        storage.cron.create(ScheduleDefinition("my schedule", "send", "0 3 * * *"))
        host.send_json(call)

        host.send_form(call)

    assert host.undo is None
    assert host.message == "Nothing was changed: it is so already."


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/queues/actions", {"action": "explode"}),
        ("/v1/jobs/none/retry", None),
        ("/v1/jobs/actions", {"action": "delete"}),
        # Changes nothing, so its entry is written after the request.
        ("/v1/jobs/actions", {"action": "delete", "ids": ["none"]}),
    ],
)
def test_the_trail_of_a_refused_or_empty_change_is_the_same_too(
    host: _Host, tmp_path: Path, path: str, body: dict[str, object] | None
) -> None:
    trails = []
    for name, send in (("json", host.send_json), ("form", host.send_form)):
        settings = DatabaseSettings(path=tmp_path / name)
        with contextlib.closing(open_storage(settings)) as storage:
            host.storage = storage
            send(("POST", path, body))
            storage.refusals.flush()
            entries = storage.audit.page(AuditFilter(), 100)
        trails.append([replace(entry.record, request_id="") for entry in entries])

    assert trails[0] == trails[1]
    assert len(trails[0]) == 1


def test_the_end_of_a_cool_down_starts_no_worker(host: _Host, tmp_path: Path) -> None:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        host.storage = storage
        storage.queues.create(QueueSettings("mail"))
        storage.queues.cool_down(["mail"], 60.0)
        body: dict[str, object] = {"action": "end_cooldown", "queues": ["mail"]}

        host.send_form(("POST", "/v1/queues/actions", body))

    assert host.message == "mail is no longer cooling down."


def test_a_schedule_whose_job_is_unfinished_enqueues_nothing(
    host: _Host, tmp_path: Path
) -> None:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        host.storage = storage
        storage.cron.create(
            ScheduleDefinition("nightly", "send", "0 3 * * *", dedupe_key="nightly")
        )
        for _ in range(2):
            host.send_form(("POST", "/v1/cron/nightly/trigger", {}))

    assert host.message == "Nothing was added: job {id} holds the dedupe key."
