"""H1 to H6 and H18 to H20: what a body may hold, and how it may come."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.base import Storage
from tests.api.hazards.inputs import (
    BARE_ROUTES,
    BODY_ROUTES,
    STRICT_ROUTES,
    Key,
    fault,
    keys,
    label,
    number_keys,
)
from tests.api.mounting import PREFIX, mount
from tests.conformance.requests import sample
from tests.support.costs import no_hang

MALFORMED = (
    b"{", b"}", b"[1,]", b'{"a":1,}', b"{'a':1}", b'{"a":1} {"b":2}', b'{"a":1}//',
    b'/* */{"a":1}', b"{a:1}", b'{"a":tru}', b"\x00", b'{"a":"\x00"}', b'{"a":"\n"}',
    b'{"a":"\xe2\x82"}', b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}', b'{"a":01}',
    b'{"a":+1}', b'{"a":.5}', b'{"a":1.}', b'{"a":0x1}', b'{"a":"\\x41"}', b" ",
)  # fmt: skip
GATED = (
    b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}',
    b'{"a":1,"a":2}', b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"a":"\\ud800"}',
    b'{"a":{"b":1,"b":2}}', b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-32"), b'{"a":' + b"9" * 5000 + b"}",
)  # fmt: skip
OTHER_TYPES: tuple[Any, ...] = (
    None, True, 0, 1, 5, 1.0, 1.5, "", "5", "true", [], [1], {}, {"a": 1},
)  # fmt: skip
NUMBERS = (
    -1, 0, 1, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 1e308, -0.0, 0.1,
)  # fmt: skip
BODIES = pytest.mark.parametrize("route", BODY_ROUTES, ids=label)
BAD_MEDIA_TYPES = (
    "", "text/plain", "text/json", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "application/json; charset=utf-16",
    "application/jsonp", "application/xml", "application/json, text/plain", "json",
)  # fmt: skip
LIMIT = 1000


def post(client: FlaskClient, route: Route, data: bytes, **headers: str) -> Any:
    return client.open(
        f"{PREFIX}{sample(route).path}",
        method=route.method,
        data=data,
        headers={"Content-Type": "application/json", **headers},
    )


@BODIES
def test_H01_malformed_json_is_400(client: FlaskClient, route: Route) -> None:
    for body in MALFORMED:
        assert fault(post(client, route, body)) == (400, "validation", "json"), body
    if not route.is_body_optional:
        assert fault(post(client, route, b"")) == (400, "validation", "json")


@BODIES
def test_sec_S28_H02_what_the_gate_refuses_is_400(
    client: FlaskClient, route: Route
) -> None:
    for body in GATED:
        assert fault(post(client, route, body)) == (400, "validation", "json"), body


@pytest.mark.parametrize("route", ["/jobs/enqueue", "/v1/jobs"])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_sec_S27_payload_has_a_size(
    client: FlaskClient, storage: Storage, route: str, more: int
) -> None:
    """1 MiB of stored text (the design's bound), to the byte."""
    text = "x" * (MAX_PAYLOAD_BYTES - len('{"text":""}') + more)

    answer = client.post(
        f"{PREFIX}{route}", json={"kind": "sized", "payload": {"text": text}}
    )

    if more > 0:
        assert fault(answer) == (400, "validation", "payload")
        assert len(answer.data) < 1000
        return
    assert answer.status_code in {200, 201}
    [job] = storage.job_reader.page(JobFilter(kinds=("sized",)), 5).rows
    stored = storage.job_reader.get(job.id).payload
    assert len(stored) == MAX_PAYLOAD_BYTES + more


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"[" * 990, {400}),
        (b'{"a":' * 66 + b"1" + b"}" * 66, {400}),
        (b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", {400}),
        (json.dumps({str(n): n for n in range(100_000)}).encode(), {400}),
        (json.dumps({"k" * 1_000_000: 1}).encode(), {400}),
        (json.dumps({"limit": 1, "offset": 0, "x": [0] * 100_000}).encode(), {200}),
        (b'"' + b"\\" * 100_001, {400}),
        (b'{"a":"' + b'\\"' * 500_000 + b'"}', {400}),
        (b"1" * 2_000_000, {400}),
        (b"[" * 2_097_153, {413}),
    ],
    ids=range(10),
)
def test_sec_S28_H03_depth_and_width_cost_little(
    client: FlaskClient, body: bytes, statuses: set[int]
) -> None:
    """A quadratic parser takes minutes."""
    with no_hang():
        answer = client.post(
            f"{PREFIX}/jobs/list", data=body, content_type="application/json"
        )

    assert answer.status_code in statuses


@pytest.mark.parametrize("key", [*keys()], ids=label)
def test_H04_another_type_is_refused_and_the_field_named(
    client: FlaskClient, key: Key
) -> None:
    refused = [value for value in OTHER_TYPES if not key.takes(value)]

    for value in refused:
        body = json.dumps(key.body(value)).encode()
        status, kind, field = fault(post(client, key.route, body))
        assert (status, kind) == (400, "validation"), value
        assert (field or "").startswith(key.name.removeprefix("cron_")) or (
            field == "cron_expr"
        ), value
    assert refused or "type" not in key.schema


@pytest.mark.parametrize("route", STRICT_ROUTES, ids=label)
def test_H05_changes_and_our_own_routes_refuse_unknown_fields(
    client: FlaskClient, route: Route
) -> None:
    for name in ("state", "attempt", "claim_token", "created_at", "lmit", "__class__"):
        body = json.dumps({**sample(route).body, name: 1}).encode()
        assert fault(post(client, route, body)) == (400, "validation", name)


@pytest.mark.parametrize("body", [{"filterr": {}}, {"filter": {"statusses": ["dead"]}}])
def test_H05_a_listing_under_v1_refuses_what_its_twin_passes_over(
    client: FlaskClient, body: dict[str, object]
) -> None:
    body |= {"limit": 1, "offset": 0}
    field = "filter.statusses" if "filter" in body else "filterr"

    assert client.post(f"{PREFIX}/jobs/list", json=body).status_code == 200
    answer = client.post(f"{PREFIX}/v1/jobs/list", json=body)
    assert fault(answer) == (400, "validation", field)


@pytest.mark.parametrize("route", BARE_ROUTES, ids=label)
def test_H18_a_body_that_no_route_reads_has_the_same_limit(
    storage: Storage, route: Route
) -> None:
    client = mount(storage, BlueprintOptions(max_body_bytes=LIMIT))

    answer = post(client, route, b" " * (LIMIT + 1))

    assert fault(answer) == (413, "validation", "body")


@pytest.mark.parametrize("route", BARE_ROUTES, ids=label)
def test_H05_a_route_that_takes_no_field_refuses_any(
    client: FlaskClient, route: Route
) -> None:
    assert fault(post(client, route, b'{"run_at": 1}')) == (400, "validation", "run_at")
    for body in (b"{}", b"[1]", b"null", b"{bad"):
        # Its own refusals, such as 404, are another matter.
        answer = post(client, route, body)
        assert answer.status_code != 400, (route.path, body)


@pytest.mark.parametrize(
    "key", ["id", "status", "attempts", "process_id", "completed_at", "last_error"]
)
def test_H05_internal_fields_of_a_job_cannot_be_set(
    client: FlaskClient, key: str
) -> None:
    body = {"kind": "k", "payload": {}, key: 4}
    answer = client.post(f"{PREFIX}/jobs/enqueue", json=body)

    assert fault(answer) == (400, "validation", key)


@pytest.mark.parametrize("key", [*number_keys()], ids=label)
def test_H06_numbers_are_taken_within_their_bounds_only(
    client: FlaskClient, key: Key
) -> None:
    edges = [key.schema.get("minimum", 0), key.schema.get("maximum", 1)]
    beyond = [edges[0] - 1, edges[1] + 1]
    for value in (*NUMBERS, *edges, *beyond):
        body = json.dumps(key.body(value)).encode()
        answer = post(client, key.route, body)
        if key.takes(value):
            # It may still be wrong beside another key.
            is_beside = answer.status_code == 400 and "is below" in answer.json["msg"]
            assert answer.status_code != 400 or is_beside, answer.text
        else:
            assert fault(answer)[:2] == (400, "validation"), value


def test_H18_the_body_limit_is_exact(storage: Storage) -> None:
    client = mount(storage, BlueprintOptions(max_body_bytes=LIMIT))
    body = json.dumps({"kind": "k", "payload": ""}).encode()

    def enqueue(length: int) -> int:
        filled = body[:-2] + b"x" * (length - len(body)) + body[-2:]
        assert len(filled) == length
        return client.post(
            f"{PREFIX}/jobs/enqueue", data=filled, content_type="application/json"
        ).status_code

    assert [enqueue(LIMIT + n) for n in (-1, 0, 1)] == [200, 200, 413]


@BODIES
def test_H18_a_compressed_body_is_415(client: FlaskClient, route: Route) -> None:
    bomb = gzip.compress(b" " * 10_000_000)

    for encoding in ("gzip", "deflate", "br", "GZIP", "identity, gzip"):
        answer = post(client, route, bomb, **{"Content-Encoding": encoding})
        assert fault(answer) == (415, "validation", "content-type")


@BODIES
def test_H20_another_media_type_is_415(client: FlaskClient, route: Route) -> None:
    for media_type in BAD_MEDIA_TYPES:
        answer = post(client, route, b"{}", **{"Content-Type": media_type})
        assert fault(answer) == (415, "validation", "content-type"), media_type
