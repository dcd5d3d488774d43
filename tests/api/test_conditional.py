from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.support.jobs import enqueue


@pytest.mark.parametrize("path", ["/jobs/failed", "/v1/jobs", "/queue/overview"])
def test_a_read_is_answered_in_full_to_who_has_nothing(
    client: FlaskClient, storage: Storage, path: str
) -> None:
    enqueue(storage)

    answers = [client.get(PREFIX + path) for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 200
        assert answer.data
        tag, is_weak = answer.get_etag()
        assert tag
        assert not is_weak
    assert answers[0].get_etag() == answers[1].get_etag()


@pytest.mark.parametrize("sent", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_who_has_it_already_gets_304_and_no_body(
    client: FlaskClient, storage: Storage, sent: str
) -> None:
    enqueue(storage)
    path = f"{PREFIX}/v1/jobs"
    tag, _ = client.get(path).get_etag()

    answer = client.get(path, headers={"If-None-Match": sent.format(tag)})

    assert answer.status_code == 304
    assert answer.data == b""
    assert answer.get_etag() == (tag, False)
    assert "Content-Type" not in answer.headers
    assert "Content-Length" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Total-Count"] == "1"
    assert "X-Request-Id" in answer.headers


def test_a_change_is_sent_whole(client: FlaskClient, storage: Storage) -> None:
    path = f"{PREFIX}/jobs/kinds"
    tag, _ = client.get(path).get_etag()
    enqueue(storage)

    answer = client.get(path, headers={"If-None-Match": f'"{tag}"'})

    assert (answer.status_code, answer.data) == (200, b'["noop"]')
    assert answer.get_etag() != (tag, False)


def test_head_has_the_tag_too(client: FlaskClient) -> None:
    path = f"{PREFIX}/jobs/kinds"
    tag = client.get(path).headers["ETag"]

    assert client.head(path).headers["ETag"] == tag
    assert client.head(path, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/health", "/v1/metrics"])
def test_probes_are_always_answered_whole(client: FlaskClient, path: str) -> None:
    answer = client.get(PREFIX + path, headers={"If-None-Match": "*"})

    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert answer.data


def test_only_successful_reads_have_a_tag(client: FlaskClient) -> None:
    missing = client.get(f"{PREFIX}/v1/jobs/none", headers={"If-None-Match": "*"})
    listed = client.post(
        f"{PREFIX}/jobs/list",
        json={"limit": 1, "offset": 0},
        headers={"If-None-Match": "*"},
    )

    assert (missing.status_code, listed.status_code) == (404, 200)
    for answer in (missing, listed):
        assert "ETag" not in answer.headers


def test_the_tag_of_a_queues_settings_is_not_that_of_the_answer(
    client: FlaskClient, storage: Storage
) -> None:
    enqueue(storage)
    path = f"{PREFIX}/v1/queues/default"
    tag = client.get(path).headers["ETag"]
    enqueue(storage)

    answer = client.get(path, headers={"If-None-Match": tag})

    assert answer.status_code == 200
    assert answer.headers["ETag"] == tag
    assert answer.json is not None
    assert answer.json["counts"]["pending"] == 2
