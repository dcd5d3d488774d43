from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Throttled
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.clocks import MovingClock
from tests.support.jobs import run
from tests.support.sql import Sql

URL = f"{PREFIX}/v1/queues"
NOON = "2026-01-01T12:00:00Z"
ALL: dict[str, object] = {
    "max_workers": 3,
    "paused": True,
    "retain_done_days": 1,
    "retain_dead_days": 2,
    "backoff_enabled": True,
    "backoff_base_seconds": 5,
    "backoff_max_seconds": 50,
    "max_pending": 1000,
}
# Who paused the queue or cooled it down, and who served it last.
NOTES = (
    "paused_at", "paused_by", "pause_reason", "throttled_job_id", "throttled_kind",
    "throttled_by", "throttle_cause", "last_worker", "last_served_at",
)  # fmt: skip


def test_a_registered_queue_is_answered_and_named(
    client: FlaskClient, storage: Storage
) -> None:
    answer = client.post(URL, json={"name": "größe x", **ALL})

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{URL}/gr%C3%B6%C3%9Fe%20x"
    assert answer.json is not None
    assert answer.json["name"] == "größe x"
    assert {key: answer.json[key] for key in ALL} == ALL
    assert client.get(answer.headers["Location"]).json == answer.json
    assert [queue.name for queue in storage.queues.all()] == ["größe x"]


def test_only_the_name_is_needed(client: FlaskClient) -> None:
    answer = client.post(URL, json={"name": "mail"}).json

    assert answer is not None
    defaults = QueueSettings("mail")
    assert answer["max_workers"] == defaults.max_workers
    assert answer["retain_done_days"] == defaults.retain_done_for_days
    assert (answer["paused"], answer["slots"]) == (False, [])


def test_queues_are_listed_as_each_of_them_is_read(
    client: FlaskClient, storage: Storage
) -> None:
    for name in ("slow", "mail"):
        storage.queues.ensure(name)

    answer = client.get(URL)

    assert answer.json == [
        client.get(f"{URL}/{name}").json for name in ("mail", "slow")
    ]
    assert answer.headers["X-Total-Count"] == "2"


def test_a_caller_of_some_queues_sees_these_only(storage: Storage) -> None:
    for name in ("slow", "mail"):
        storage.queues.ensure(name)
    client = client_with_token(storage, role="viewer", queues=["slow"])

    assert [queue["name"] for queue in client.get(URL).json or ()] == ["slow"]


def test_a_name_that_is_taken_is_409(client: FlaskClient, storage: Storage) -> None:
    storage.queues.ensure("mail", 7)

    answer = client.post(URL, json={"name": "mail", "max_workers": 1})

    assert answer.status_code == 409
    assert answer.json is not None
    assert answer.json["kind"] == "conflict"
    assert storage.queues.get("mail").max_workers == 7


def test_a_name_that_no_url_could_reach_is_400(
    client: FlaskClient, storage: Storage
) -> None:
    """``/v1/queues/actions`` is a route of its own."""
    answer = client.post(URL, json={"name": "actions"})

    assert answer.status_code == 400
    assert answer.json == {
        "kind": "validation",
        "field": "name",
        "msg": "'actions' is taken by the API itself",
    }
    assert storage.queues.all() == []


BAD: list[tuple[dict[str, object], str]] = [
    ({"max_workers": 1025}, "max_workers"),
    ({"backoff_base_seconds": 9, "backoff_max_seconds": 8}, "backoff_max_seconds"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_a_bad_setting_is_400_with_its_name(
    client: FlaskClient, storage: Storage, body: dict[str, object], field: str
) -> None:
    refused = client.post(URL, json={"name": "mail", **body})
    assert storage.queues.all() == []
    storage.queues.ensure("mail")
    before = storage.queues.get("mail")
    unchanged = client.patch(f"{URL}/mail", json=body)

    for answer in (refused, unchanged):
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["field"] == field
    assert storage.queues.get("mail") == before


def test_one_queue_looks_as_in_the_overview(
    client: FlaskClient, storage: Storage
) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="other"))
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))

    answer = client.get(f"{URL}/mail")

    overview = client.get(f"{PREFIX}/queue/overview").json
    assert overview is not None
    row = overview[0]
    slots = row.pop("processes")
    assert answer.json == {
        **row,
        "slots": slots,
        "max_pending": None,
        **dict.fromkeys(NOTES),
    }


def test_an_unknown_queue_is_404(client: FlaskClient) -> None:
    url = f"{URL}/none"
    answers = [client.get(url), client.patch(url, json=ALL), client.delete(url)]
    answers += [client.delete(f"{url}?force=1")]

    for answer in answers:
        assert answer.status_code == 404
        assert answer.json is not None
        assert answer.json["kind"] == "not_found"


# -- If-Match ----------------------------------------------------------------------


def test_a_change_with_the_present_tag_is_made(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("mail")
    tag = client.get(f"{URL}/mail").headers["ETag"]
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))

    answer = client.patch(
        f"{URL}/mail", json={"max_workers": 2}, headers={"If-Match": tag}
    )

    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["max_workers"], answer.json["counts"]["pending"]) == (2, 1)
    assert answer.headers["ETag"] != tag
    assert client.get(f"{URL}/mail").headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize("header", ['"x"', "W/{tag}", "", '"x", W/{tag}'])
def test_a_change_with_another_tag_is_412_and_changes_nothing(
    client: FlaskClient, storage: Storage, header: str
) -> None:
    """A weak tag does not guard: it says nothing about every bit."""
    storage.queues.ensure("mail", 7)
    tag = client.get(f"{URL}/mail").headers["ETag"]

    answer = client.patch(
        f"{URL}/mail",
        json={"max_workers": 2},
        headers={"If-Match": header.format(tag=tag)},
    )

    assert answer.status_code == 412
    assert answer.json is not None
    assert list(answer.json) == ["kind", "msg"]
    assert answer.json["kind"] == "conflict"
    assert storage.queues.get("mail").max_workers == 7


def test_a_bad_value_is_400_whatever_the_tag(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("mail", 7)

    answer = client.patch(
        f"{URL}/mail", json={"max_workers": -1}, headers={"If-Match": '"x"'}
    )

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "max_workers"
    assert storage.queues.get("mail").max_workers == 7


def test_of_several_tags_or_a_star_one_must_fit(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("mail")
    tag = client.get(f"{URL}/mail").headers["ETag"]

    for header, workers in ((f'"x", {tag}', 2), ("*", 3)):
        answer = client.patch(
            f"{URL}/mail", json={"max_workers": workers}, headers={"If-Match": header}
        )
        assert answer.status_code == 200
        assert storage.queues.get("mail").max_workers == workers


def test_the_tag_changes_with_every_setting_and_with_nothing_else(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    tags = {client.get(f"{URL}/mail").headers["ETag"]}
    for key, value in ALL.items():
        tags.add(client.patch(f"{URL}/mail", json={key: value}).headers["ETag"])
    assert len(tags) == len(ALL) + 1

    sql.run("UPDATE forge_queue SET throttle_attempts = 3, throttled_until = 99")

    assert client.get(f"{URL}/mail").headers["ETag"] in tags


def test_a_read_is_never_304(client: FlaskClient, storage: Storage) -> None:
    """The tag says nothing of the counts."""
    storage.queues.ensure("mail")
    tag = client.get(f"{URL}/mail").headers["ETag"]

    answer = client.get(f"{URL}/mail", headers={"If-None-Match": tag})

    assert answer.status_code == 200


# -- delete ------------------------------------------------------------------------


def test_delete_of_a_queue_without_unfinished_jobs(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    sql.seed(2, queue_name="mail", status="done")

    answer = client.delete(f"{URL}/mail")

    assert (answer.status_code, answer.data) == (204, b"")
    assert storage.queues.all() == []
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 2
    assert client.delete(f"{URL}/mail").status_code == 404


@pytest.mark.parametrize("query", ["", "?force=0", "?force=false"])
def test_delete_of_a_queue_with_unfinished_jobs_is_409(
    client: FlaskClient, storage: Storage, query: str
) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))

    answer = client.delete(f"{URL}/mail{query}")

    assert answer.status_code == 409
    assert answer.json is not None
    assert "1 unfinished" in answer.json["msg"]
    assert storage.queues.get("mail").name == "mail"


def test_delete_by_force_takes_unfinished_jobs_along(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    sql.seed(3, queue_name="mail")
    sql.seed(2, queue_name="mail", status="in_progress", prefix="running")

    answer = client.delete(f"{URL}/mail?force=1")

    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["X-Jobs-Deleted"] == "3"
    assert answer.headers["X-Jobs-Cancel-Requested"] == "2"
    assert storage.queues.all() == []
    sql.assert_counts_equal_rows()
    assert sql.counted_rows() == {("mail", "noop", "in_progress", False): 2}


def test_a_delete_by_force_that_is_cut_is_409_and_may_be_repeated(
    storage: Storage, sql: Sql
) -> None:
    client = mount(storage, BlueprintOptions(bulk_max=500))
    storage.queues.ensure("mail")
    sql.seed(700, queue_name="mail")

    first = client.delete(f"{URL}/mail?force=1")
    second = client.delete(f"{URL}/mail?force=1")

    assert (first.status_code, second.status_code) == (409, 204)
    assert second.headers["X-Jobs-Deleted"] == "200"


@pytest.mark.parametrize(("query", "field"), [("force=yes", "force"), ("f=1", "f")])
def test_delete_refuses_a_bad_query(
    client: FlaskClient, storage: Storage, query: str, field: str
) -> None:
    storage.queues.ensure("mail")

    answer = client.delete(f"{URL}/mail?{query}")

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field
    assert storage.queues.get("mail").name == "mail"


# -- actions -----------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"queues": None}])
def test_all_queues_are_paused_and_resumed(
    client: FlaskClient, storage: Storage, body: dict[str, Any]
) -> None:
    storage.queues.ensure("a")
    storage.queues.ensure("b")

    first = client.post(f"{URL}/actions", json={"action": "pause", **body})
    again = client.post(f"{URL}/actions", json={"action": "pause", **body})

    assert first.data == b'{"changed":2}'
    assert again.data == b'{"changed":0}'
    assert all(queue.paused for queue in storage.queues.all())
    one = client.post(f"{URL}/actions", json={"action": "resume", "queues": ["a"]})
    assert one.data == b'{"changed":1}'
    assert [queue.paused for queue in storage.queues.all()] == [False, True]


def test_a_cooldown_is_ended(client: FlaskClient, storage: Storage) -> None:
    for name in ("a", "b"):
        storage.jobs.enqueue(NewJob("k", queue_name=name))
        run(storage, Throttled(300), queue_name=name)

    ends = client.get(f"{URL}/a").get_json()["throttled_until"]
    body = {"action": "end_cooldown", "queues": ["a"], "ends": ends}
    answers = [client.post(f"{URL}/actions", json=body) for _ in range(2)]

    assert [answer.get_json() for answer in answers] == [{"changed": 1}, {"changed": 0}]
    until = [queue.throttled_until for queue in storage.queues.all()]
    assert until[0] is None
    assert until[1] is not None


def test_a_cooldown_that_is_over_keeps_no_other_from_its_end(
    storage: Storage,
) -> None:
    """A worker clears it later; until then the answer was 412."""
    clock = MovingClock(SystemClock().now_us())
    client = mount(storage, BlueprintOptions(clock=clock))
    storage.queues.ensure("a")
    storage.queues.cool_down(["a"], 60)
    body = {"action": "end_cooldown", "queues": ["a"], "ends": NOON}
    assert client.post(f"{URL}/actions", json=body).status_code == 412

    clock.move(61)

    assert client.post(f"{URL}/actions", json=body).get_json() == {"changed": 0}


def test_a_pause_is_ended_unless_it_is_over(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.create(QueueSettings("a", paused=True))
    paused_at = client.get(f"{URL}/a").get_json()["paused_at"]

    body = {"action": "resume", "queues": ["a"]}
    another = client.post(f"{URL}/actions", json=body | {"ends": NOON})
    assert (another.status_code, storage.queues.get("a").paused) == (412, True)
    for changed in (1, 0):  # the second one repeats it, as after a lost answer
        answer = client.post(f"{URL}/actions", json=body | {"ends": paused_at})
        assert answer.get_json() == {"changed": changed}
        assert not storage.queues.get("a").paused


@pytest.mark.parametrize("action", ["pause", "end_cooldown"])
@pytest.mark.parametrize("name", ["none", "", "a,b"])
def test_an_action_on_an_unknown_queue_is_404_and_changes_none(
    client: FlaskClient, storage: Storage, name: str, action: str
) -> None:
    storage.queues.ensure("a")

    body = {"action": action, "queues": ["a", name]}
    answer = client.post(f"{URL}/actions", json=body)

    assert answer.status_code == 404
    assert not storage.queues.get("a").paused


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "pause", "queues": [1]}, "queues[0]"),
        ({"action": "pause", "queues": ["a"], "ends": NOON}, "ends"),
        ({"action": "resume", "queues": ["a", "b"], "ends": NOON}, "ends"),
        ({"action": "end_cooldown", "ends": NOON}, "ends"),
    ],
)
def test_a_bad_action_is_400(
    client: FlaskClient, body: dict[str, object], field: str
) -> None:
    answer = client.post(f"{URL}/actions", json=body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field


def test_delete_by_force_needs_the_right_to_delete_jobs(storage: Storage) -> None:
    editor = Principal("ed", frozenset({Permission.QUEUES_EDIT}))
    options = BlueprintOptions(authenticator=lambda _: editor)
    client = mount(storage, options)
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    storage.queues.ensure("empty")

    refused = client.delete(f"{URL}/mail?force=1")

    assert refused.status_code == 403
    assert refused.json is not None
    assert "jobs.delete" in refused.json["msg"]
    assert storage.queues.waiting(["mail"]) == {"mail": 1}
    assert client.delete(f"{URL}/empty").status_code == 204


@pytest.mark.parametrize("way", ["actions", "patch", "twin", "create"])
def test_a_pause_shows_the_caller_and_the_reason(storage: Storage, way: str) -> None:
    client = client_with_token(storage, "operator")
    reason = {"reason": "password=hunter2 leaks"}
    if way == "create":
        client.post(URL, json={"name": "mail", "paused": True, **reason})
    else:
        storage.queues.ensure("mail")
    if way == "actions":
        client.post(f"{URL}/actions", json={"action": "pause", **reason})
    if way == "patch":
        client.patch(f"{URL}/mail", json={"paused": True, **reason})
    if way == "twin":
        twin = f"{PREFIX}/v1/queue/mail/paused"
        client.post(twin, json={"paused": True, **reason})

    queue = client.get(f"{URL}/mail").json

    assert queue is not None
    assert queue["paused_by"] == "ci"
    assert queue["paused_at"].endswith("Z")
    assert queue["pause_reason"] == "password=[redacted] leaks"
    assert [queue] == client.get(URL).json


def test_the_reference_s_route_takes_no_reason(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("mail")
    body = {"paused": True, "reason": "x"}

    answer = client.post(f"{PREFIX}/queue/mail/paused", json=body)

    assert answer.status_code == 400
    assert not storage.queues.get("mail").paused
    overview = client.get(f"{PREFIX}/queue/overview").json
    assert overview is not None
    assert not set(NOTES) & set(overview[0])


def test_a_queue_cools_down_for_a_time(storage: Storage) -> None:
    client = client_with_token(storage, "operator")
    storage.queues.ensure("mail")
    body = {"action": "cool_down", "queues": ["mail"], "seconds": 60}

    answer = client.post(f"{URL}/actions", json={**body, "reason": "quota"})

    assert answer.data == b'{"changed":1}'
    queue = client.get(f"{URL}/mail").json
    assert queue is not None
    assert (queue["throttled_by"], queue["throttle_cause"]) == ("ci", "quota")
    assert queue["throttled_until"] is not None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "cool_down"}, "seconds"),
        ({"action": "pause", "seconds": 60}, "seconds"),
        ({"action": "pause", "reason": "x" * 1001}, "reason"),
    ],
)
def test_a_bad_reason_or_time_is_400(
    client: FlaskClient, storage: Storage, body: dict[str, Any], field: str
) -> None:
    storage.queues.ensure("mail")

    answer = client.post(f"{URL}/actions", json=body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field
    assert not storage.queues.get("mail").paused


# -- a caller with some queues only ------------------------------------------------


def test_a_limited_caller_registers_and_touches_its_own_queues_only(
    storage: Storage,
) -> None:
    client = client_with_token(storage, "operator", ["mail", "later"])
    storage.queues.ensure("bank")

    assert client.post(URL, json={"name": "mail"}).status_code == 201
    assert client.post(URL, json={"name": "other"}).status_code == 403
    assert client.get(f"{URL}/bank").status_code == 403
    assert client.patch(f"{URL}/bank", json={"paused": True}).status_code == 403
    assert client.delete(f"{URL}/bank?force=1").status_code == 403
    assert [queue.name for queue in storage.queues.all()] == ["bank", "mail"]


def test_all_queues_of_a_limited_caller_are_its_own(storage: Storage) -> None:
    client = client_with_token(storage, "operator", ["mail", "later"])
    for name in ("bank", "mail"):
        storage.queues.ensure(name)

    both = client.post(
        f"{URL}/actions", json={"action": "pause", "queues": ["mail", "bank"]}
    )
    assert both.status_code == 403
    everything = client.post(f"{URL}/actions", json={"action": "pause"})

    assert everything.data == b'{"changed":1}'
    assert [queue.paused for queue in storage.queues.all()] == [False, True]


def test_a_bound_is_set_answered_with_429_and_taken_away_again(
    client: FlaskClient,
) -> None:
    """Back-pressure: what a queue takes in, by its own setting."""
    created = client.post(URL, json={"name": "mail", "max_pending": 1})
    job = {"kind": "send", "payload": {}, "queue_name": "mail"}
    jobs = f"{PREFIX}/v1/jobs"
    assert created.json is not None
    assert created.json["max_pending"] == 1
    assert client.post(jobs, json=job).status_code == 201

    full = client.post(jobs, json=job)
    changed = client.patch(f"{URL}/mail", json={"max_pending": None})

    assert (full.status_code, full.headers["Retry-After"]) == (429, "5")
    assert full.json == {"kind": "rate_limited", "retry_after_secs": 5}
    assert changed.json is not None
    assert changed.json["max_pending"] is None
