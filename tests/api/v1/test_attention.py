from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.handlers.attention.report import RULES
from flask_forge_jobs.model.attention import (
    AnswerTimes,
    DatabaseFacts,
    Facts,
    HeldFacts,
    KindFacts,
    LimitFacts,
    OpenBatchFacts,
    OpenTransaction,
    QueueFacts,
    ScheduleFacts,
)
from flask_forge_jobs.model.proportions import Failures
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.sentences import Action
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.facts import AT, live
from tests.support.jobs import enqueue

URL = f"{PREFIX}/v1/attention"
MAIL = QueueFacts("mail", 8, counts=QueueCounts(pending=2), slots=8)
FAILS = KindFacts("mail", "send", hour=Failures(90, 99), day=Failures(0, 999))
# Every rule has something to say.
HELD = HeldFacts("J1", "mail", "send", "B1", "report", "P1", "check", "mail")
FACTS = Facts(
    AT,
    queues=[
        replace(MAIL, max_pending=2, max_workers=0),
        replace(MAIL, is_paused=True),
        replace(MAIL, oldest_wait_s=900),
        replace(MAIL, cools_for_s=9.0),
        replace(MAIL, name="bills"),
    ],
    kinds=[FAILS, replace(FAILS, dead=3, waiting=1, is_known=False)],
    workers=[
        replace(live("mail"), services=(ServiceAge("cron", 99.0, 5.0),)),
        replace(live("mail"), is_lost=True),
    ],
    schedules=[ScheduleFacts("nightly", "report", None, AT, None)],
    limits=[LimitFacts("api", 1.0, 90.0, 90)],
    held=[HELD, replace(HELD, job_id="J2", batch_id=None)],
    open_batches=[OpenBatchFacts("B1", "import", 900.0)],
    database=DatabaseFacts(
        "it is old",
        times=[AnswerTimes("reads", 9.0, 0.1)],
        transactions=[OpenTransaction("session 7", "psql", 99.0)],
        hazards=["an engine checkpoints it"],
    ),
)
LOCKED = Facts(AT, database=DatabaseFacts(write_locked_s=70.0))
ACTIONS = [
    pytest.param(sentence.action, id=f"{sentence.code}-{sentence.action.label}")
    for rule in RULES
    for facts in (FACTS, LOCKED)
    for _, sentence in rule(facts)
    if sentence.action is not None
]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_a_request_that_its_route_takes(action: Action) -> None:
    parts = urlsplit(action.path)

    [route] = [
        route
        for route in all_routes(enable_demo=False)
        if _leads(route, action.method, parts.path)
    ]

    if route.body is None:
        assert action.body is None
    else:
        route.body.load(dict(action.body or {}))
    if parts.query:
        assert route.query is not None
        assert set(parse_qs(parts.query)) <= {
            field.data_key or name for name, field in route.query.fields.items()
        }


def _leads(route: Route, method: str, path: str) -> bool:
    pattern = re.sub(r"<[^>]+>", "[^/]+", route.path)
    if route.path.endswith(">") and path == "/v1/queues/actions":
        return False
    return route.method == method and re.fullmatch(pattern, path) is not None


def test_every_rule_has_something_to_say() -> None:
    silent = [rule.__name__ for rule in RULES if not [*rule(FACTS), *rule(LOCKED)]]

    assert silent == []


def test_nothing_needs_anybody(storage: Storage) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("W", "worker-1", ["mail"], [])

    answer = mount(storage).get(URL)

    assert answer.status_code == 200
    assert answer.json is not None
    assert list(answer.json) == ["at", "summary", "sentences", "left_out"]
    assert answer.json["summary"]["code"] == "nothing_needs_you"
    assert answer.json["summary"]["evidence"]["workers"] == 1
    assert (answer.json["sentences"], answer.json["left_out"]) == ([], 0)


def test_what_needs_somebody_can_be_done_at_once(storage: Storage) -> None:
    enqueue(storage, queue_name="mail")
    storage.queues.change("mail", {"paused": True})
    client = mount(storage)

    [sentence] = client.get(URL).json["sentences"]  # type: ignore[index]  # an object

    assert list(sentence) == ["code", "text", "evidence", "action"]
    assert sentence["code"] == "queue_paused"
    action = sentence["action"]
    done = client.open(
        f"{PREFIX}{action['path']}", method=action["method"], json=action["body"]
    )
    assert done.json == {"changed": 1}


def test_a_limited_caller_learns_nothing_of_other_queues(storage: Storage) -> None:
    for name in ("mail", "bank"):
        enqueue(storage, kind=f"{name}-kind", queue_name=name)
    storage.workers.beat("bank-worker", "bank-worker", ["bank"], [])

    answer = client_with_token(storage, "viewer", ["mail"]).get(URL)

    assert "bank" not in answer.text
    assert answer.json is not None
    assert [each["code"] for each in answer.json["sentences"]] == ["queue_unserved"]
    assert answer.json["summary"]["evidence"]["counts"]["pending"] == 1
    assert answer.json["summary"]["evidence"]["workers"] == 0
