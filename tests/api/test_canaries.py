"""S37: secrets that were stored in thirty places come out nowhere."""

from __future__ import annotations

import json
import logging
from base64 import urlsafe_b64encode

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Failed
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.conformance.requests import sample
from tests.support.jobs import OWNER, claim_one, run

# In each of them, whole, where numbers are left out, and after a cut.
CANARY = "hunterzwei"
LONG = CANARY * 6


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


KEYS = {
    "password": CANARY,
    "passwd": CANARY,
    "user_password": CANARY,
    "client_secret": CANARY,
    "accessToken": CANARY,
    "X-Api-Token": CANARY,
    "Authorization": f"Basic {CANARY}",
    "apikey": CANARY,
    "API_KEY": CANARY,
    "cookie": {"session": CANARY},
    "Set-Cookie": [CANARY, {"deep": CANARY}],
    "list": [{"x": [{"token": CANARY}]}],
}
TOKENS = {
    "github": f"ghp_4{LONG}7",
    "github app": f"ghs_{LONG}1",
    "gitlab": f"glpat-{LONG}9",
    "slack": f"xoxb-12-34-{LONG}",
    "openai": f"sk-3{LONG}",
    "stripe": f"sk_live_5{LONG}",
    "jwt": f"eyJhbGciOiJ1{CANARY}.eyJzdWIiOiIx{LONG}.{LONG}",
    "ours": f"fj_ci_7{LONG[:43]}",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{LONG}",
}
PROSE = [
    f"password={CANARY}",
    f"login with token: {CANARY}",
    f"'api_key': '{CANARY}'",
    f"Authorization: Bearer {CANARY}",
    f"at postgresql://ada:{CANARY}@db/shop",
    f"https://ada:{CANARY}@example.org/x?secret={CANARY}",
]
TEXT = "\n".join([*PROSE, *TOKENS.values()])
PAYLOAD = {**KEYS, **{f"note {name}": f"use {text}" for name, text in TOKENS.items()}}
REASON = {"queues": ["default"], "reason": TEXT[:900]}
READS = [route for route in all_routes(enable_demo=True) if not route.mutates]


def _store(storage: Storage, client: FlaskClient) -> str:
    """Put them everywhere; return a job that has them all."""
    payload = dump(PAYLOAD)
    job_id = storage.jobs.enqueue(NewJob("mine", payload, max_attempts=3)).id
    run(storage, Failed(TEXT))
    storage.job_admin.run_now(job_id)
    running = claim_one(storage)
    # In a value of JSON words like "password=" are data; see the page on redaction.
    tokens = [*TOKENS.values()]
    storage.jobs.heartbeat(OWNER, {job_id: dump({"note": KEYS, "at": tokens})})
    done = JobUpdate(running, JobStatus.DONE, result=dump([PAYLOAD, tokens]))
    assert storage.jobs.finish(OWNER, [done]) == []
    for text in (*PROSE, *TOKENS.values()):
        storage.jobs.enqueue(NewJob("each", payload, max_attempts=1))
        run(storage, Dead(text))
    storage.jobs.enqueue(NewJob("held", payload))
    claim_one(storage)
    waiting = storage.jobs.enqueue(NewJob("waits", payload)).id
    schedule = {"name": "nightly", "kind": "k", "cron_expr": "@daily"}
    for path, body in (
        ("/v1/cron", {**schedule, "payload": PAYLOAD}),
        ("/v1/jobs", {"kind": "sent", "payload": PAYLOAD}),
        ("/v1/jobs/bulk", {"items": [{"kind": "sent", "payload": PAYLOAD}]}),
        (f"/v1/jobs/{waiting}/cancel", {"reason": TEXT[:900]}),
        ("/v1/jobs", {"kind": "", "payload": PAYLOAD}),
        ("/v1/jobs", {"kind": "k", "payload": PAYLOAD, **KEYS}),
        ("/jobs/delete", {"ids": [TEXT[:100]], **PAYLOAD}),
        ("/v1/queues/actions", {"action": "cool_down", **REASON, "seconds": 60}),
        ("/v1/queues/actions", {"action": "pause", **REASON}),
    ):
        # With a query it is refused, and recorded as that.
        for query in ("", f"?token={CANARY}&x={TOKENS['github']}"):
            client.post(f"{PREFIX}{path}{query}", json=body)
    return job_id


def _ask(client: FlaskClient, route: Route, job_id: str) -> tuple[int, str]:
    request = sample(route)
    path = request.path.replace("01K5A4D3E4F5G6H7J8K9M0N1P2", job_id)
    answer = client.open(
        PREFIX + path.replace("nightly_digest", "nightly"),
        method=request.method,
        query_string=request.query,
        json=request.body if request.method == "POST" else None,
    )
    return answer.status_code, answer.text


def test_sec_S37_thirty_canaries_come_out_nowhere(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = client_with_token(storage, "admin")
    job_id = _store(storage, client)
    assert len(KEYS) + len(TOKENS) + len(PROSE) >= 27

    leaks, statuses = [], set()
    for route in READS:
        status, text = _ask(client, route, job_id)
        statuses.add(status)
        leaks += [(route.path, text)] if CANARY in text else []
    rows = client.get(f"{PREFIX}/v1/jobs?limit=100").get_json()["rows"]
    for path in (
        f"/v1/jobs/{job_id}",
        "/v1/jobs?limit=100",
        "/v1/audit?limit=100",
        "/v1/queues/default",
        "/v1/queues/default/explain",
        *(f"/v1/jobs/{row['id']}/explain" for row in rows),
    ):
        text = client.get(PREFIX + path).text
        leaks += [(path, text)] if CANARY in text else []

    around = 60
    assert [
        (path, text[max(0, text.index(CANARY) - around) :][: 2 * around])
        for path, text in leaks
    ] == []
    assert CANARY not in caplog.text
    assert statuses <= {200, 204, 404}


def test_the_canaries_are_there(storage: Storage) -> None:
    """Without this the test above might look at empty answers."""
    client = client_with_token(storage, "admin")
    job_id = _store(storage, client)

    shown = client.get(f"{PREFIX}/v1/jobs/{job_id}?reveal=1").text

    assert shown.count(CANARY) > 100
    assert new_token("ci")[0].startswith("fj_ci_")
