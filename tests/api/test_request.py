"""Bodies and queries: media type, size, syntax, shape."""

from __future__ import annotations

import io
import json

import pytest
from flask import Flask, Request, Response, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.request import DISCARDED_BODIES
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount

LIST = f"{PREFIX}/jobs/list"
ENQUEUE = f"{PREFIX}/jobs/enqueue"
RUN_NOW = f"{PREFIX}/jobs/run-now/none"
GOOD_LIST = b'{"limit":1,"offset":0}'
LIMIT = 200


@pytest.fixture
def small(storage: Storage) -> FlaskClient:
    return mount(storage, BlueprintOptions(max_body_bytes=LIMIT))


def _padded(length: int) -> bytes:
    return GOOD_LIST + b" " * (length - len(GOOD_LIST))


def _chunked(client: FlaskClient, body: bytes, url: str = LIST) -> TestResponse:
    return client.post(
        url,
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides={
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
        },
    )


def _assert_refused(answer: TestResponse, status: int, field: str) -> None:
    assert answer.json is not None, answer.text
    assert list(answer.json) == ["kind", "field", "msg"]
    assert (answer.status_code, answer.json["kind"], answer.json["field"]) == (
        status,
        "validation",
        field,
    )


class _RequestOfFlask30(Request):
    """Its limit is a view of the application's own key."""

    max_content_length = property(lambda _: None)


@pytest.mark.parametrize(("length", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
def test_the_limit_of_a_body_needs_no_flask_that_can_be_told(
    small: FlaskClient, length: int, status: int
) -> None:
    small.application.request_class = _RequestOfFlask30

    whole = small.post(LIST, data=_padded(length), content_type="application/json")
    chunked = _chunked(small, _padded(length))

    assert [whole.status_code, chunked.status_code] == [status, status]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/vnd.api+json",
        "application/json; charset=iso-8859-1",
        "application/json; charset=us-ascii",
        'application/json; charset="windows-1252"',
        "application/json; charset=nonsense; version=1",
        "application/json; charset=",
    ],
)
def test_json_media_types_are_accepted(client: FlaskClient, media_type: str) -> None:
    answer = client.post(LIST, data=GOOD_LIST, content_type=media_type)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/+json",
        "text/json",
        "application/json; charset=utf-16",
        "application/json; charset=UTF-16LE",
        'application/json; charset="UTF-32"',
    ],
)
@pytest.mark.parametrize("url", [LIST, ENQUEUE, RUN_NOW])
def test_other_media_types_are_415(
    bare_client: FlaskClient, url: str, media_type: str | None
) -> None:
    answer = bare_client.post(url, data=GOOD_LIST, content_type=media_type)

    _assert_refused(answer, 415, "content-type")


def test_a_body_is_utf_8_whatever_its_charset_says(client: FlaskClient) -> None:
    def enqueue(text: bytes) -> TestResponse:
        return client.post(
            ENQUEUE,
            data=b'{"kind":"k","queue_name":"q","payload":{"name":"' + text + b'"}}',
            content_type="application/json; charset=iso-8859-1",
        )

    job_id = enqueue("Größe".encode()).json

    inspected = client.get(f"{PREFIX}/jobs/inspect/{job_id}").json
    assert inspected is not None
    assert inspected["payload"] == {"name": "Größe"}
    _assert_refused(enqueue("Größe".encode("latin-1")), 400, "json")


def test_compressed_body_is_415(bare_client: FlaskClient) -> None:
    answer = bare_client.post(
        LIST,
        data=GOOD_LIST,
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )

    _assert_refused(answer, 415, "content-type")


@pytest.mark.parametrize(("extra", "status"), [(-1, 200), (0, 200), (1, 413), (2, 413)])
def test_body_limit_is_exact(small: FlaskClient, extra: int, status: int) -> None:
    body = _padded(LIMIT + extra)

    declared = small.post(LIST, data=body, content_type="application/json")
    chunked = _chunked(small, body)

    assert declared.status_code == status
    assert chunked.status_code == status


@pytest.mark.parametrize("url", [LIST, RUN_NOW])
def test_too_long_body_names_the_body(small: FlaskClient, url: str) -> None:
    body = _padded(10 * LIMIT)

    declared = small.post(url, data=body, content_type="application/json")
    chunked = _chunked(small, body, url)

    _assert_refused(declared, 413, "body")
    _assert_refused(chunked, 413, "body")


def test_host_limit_does_not_cut_our_bodies(storage: Storage) -> None:
    client = mount(storage)
    client.application.config["MAX_CONTENT_LENGTH"] = 10

    answer = client.post(LIST, data=GOOD_LIST, content_type="application/json")

    assert answer.status_code == 200


def test_body_read_by_the_host_before_us_is_still_seen(storage: Storage) -> None:
    app = Flask("host")
    app.before_request(lambda: request.get_data() and None)
    client = mount(storage, app=app)

    answer = client.post(LIST, data=GOOD_LIST, content_type="application/json")

    assert answer.status_code == 200


@pytest.mark.parametrize("length", [100 * LIMIT, None])
def test_a_long_body_is_not_read_whole_if_the_host_looked_for_a_form(
    storage: Storage, length: int | None
) -> None:
    """As Flask-WTF does for its token; Flask makes the stream then, without a limit."""
    app = Flask("host")
    app.before_request(lambda: request.form.get("csrf_token"))
    client = mount(storage, BlueprintOptions(max_body_bytes=LIMIT), app=app)
    sent = io.BytesIO(b" " * (100 * LIMIT))
    announced = {} if length is None else {"CONTENT_LENGTH": str(length)}

    answer = client.post(
        LIST,
        input_stream=sent,
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, **announced},
    )

    _assert_refused(answer, 413, "body")
    assert LIMIT < sent.tell() <= (2 + DISCARDED_BODIES) * LIMIT


def test_default_limit_is_two_mebibytes(client: FlaskClient) -> None:
    fits = _padded(2_097_152)

    assert (
        client.post(LIST, data=fits, content_type="application/json").status_code == 200
    )
    _assert_refused(
        client.post(LIST, data=fits + b" ", content_type="application/json"),
        413,
        "body",
    )


@pytest.mark.parametrize("body", ["[]", "null", "1", '"x"', "true", "[1,0]"])
def test_body_that_is_no_object_is_400(bare_client: FlaskClient, body: str) -> None:
    answer = bare_client.post(LIST, data=body, content_type="application/json")

    _assert_refused(answer, 400, "body")


BACKOFF = {"enabled": True, "base_seconds": 1, "max_seconds": 2}
ENQUEUED = {"kind": "k", "payload": {}}
LISTED = {"limit": 1, "offset": 0}


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"queues": None}, "filter.queues"),
        ({"queues": "mail"}, "filter.queues"),
        ({"queues": ["a", 1]}, "filter.queues[1]"),
        ({"kinds": [None]}, "filter.kinds[0]"),
        ({"statuses": [3]}, "filter.statuses[0]"),
        ({"statuses": ["done", "odd"]}, "filter.statuses"),
        ({"from": 3}, "filter.from"),
        ({"to": "yesterday"}, "filter.to"),
        ({"payload_search": 3}, "filter.payload_search"),
        ({"queues": ["x" * 256]}, "filter.queues[0]"),
        ({"queues": ["x"] * 1001}, "filter.queues"),
    ],
)
def test_fault_in_the_filter_is_400_with_its_path(
    bare_client: FlaskClient, wanted: dict[str, object], field: str
) -> None:
    answer = bare_client.post(LIST, json={"filter": wanted, **LISTED})

    _assert_refused(answer, 400, field)


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/queue/m/max-workers", {"n": 1}),
        ("/queue/m/paused", {"paused": True}),
        ("/queue/m/backoff", BACKOFF),
        ("/jobs/enqueue", ENQUEUED),
        ("/jobs/list", LISTED),
        ("/jobs/retry", {"ids": []}),
        ("/jobs/delete", {"ids": []}),
    ],
)
def test_missing_key_is_400_with_the_key(
    bare_client: FlaskClient, path: str, good: dict[str, object]
) -> None:
    for key in good:
        answer = bare_client.post(
            PREFIX + path, json={name: good[name] for name in good if name != key}
        )

        _assert_refused(answer, 400, key)


def test_first_fault_in_order_of_declaration_is_named(bare_client: FlaskClient) -> None:
    answer = bare_client.post(f"{PREFIX}/queue/m/backoff", json={"max_seconds": "x"})

    _assert_refused(answer, 400, "enabled")


def test_ignored_body_may_be_absent(client: FlaskClient) -> None:
    program = {"X-Forge-Jobs": "1"}
    assert client.post(RUN_NOW, headers=program).status_code == 404
    assert client.post(RUN_NOW, data=b"{}", content_type="application/json").json == {
        "kind": "not_found",
        "msg": "no job has the id 'none'",
    }


def test_payload_may_be_as_deep_as_in_python(client: FlaskClient) -> None:
    def enqueue(depth: int) -> TestResponse:
        payload = b"[" * depth + b"]" * depth
        body = b'{"kind":"k","payload":%b}' % payload
        return client.post(ENQUEUE, data=body, content_type="application/json")

    assert enqueue(64).status_code == 200
    _assert_refused(enqueue(65), 400, "json")


def test_a_body_has_a_number_of_objects_and_arrays(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes up to 200 bytes of memory for three that are sent."""
    monkeypatch.setattr("flask_forge_jobs.api.request.MAX_CONTAINERS", 99)

    def enqueue(count: int) -> TestResponse:
        # One more is the body, and one the payload.
        body = b'{"kind":"k","payload":[%b1]}' % (b"[]," * (count - 2))
        return client.post(ENQUEUE, data=body, content_type="application/json")

    assert enqueue(99).status_code == 200
    _assert_refused(enqueue(100), 400, "json")


@pytest.mark.parametrize("length", [str(LIMIT + 100), None])
def test_rest_of_a_long_body_is_read_so_that_the_answer_arrives(
    small: FlaskClient, length: str | None
) -> None:
    rest = io.BytesIO(_padded(LIMIT + 100))
    announced = {} if length is None else {"CONTENT_LENGTH": length}

    answer = small.post(
        LIST,
        input_stream=rest,
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, **announced},
    )

    _assert_refused(answer, 413, "body")
    assert rest.read() == b""


def test_body_that_arrives_in_pieces_is_read_whole(client: FlaskClient) -> None:
    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 3))

    answer = client.post(
        LIST,
        input_stream=Pieces(GOOD_LIST),
        content_type="application/json",
        environ_overrides={
            "CONTENT_LENGTH": str(len(GOOD_LIST)),
            "wsgi.input_terminated": True,
        },
    )

    assert answer.status_code == 200


@pytest.mark.parametrize("is_ended", [True, False])
def test_the_application_reads_the_body_as_well(
    storage: Storage, is_ended: bool
) -> None:
    app, seen = Flask("host"), []

    @app.after_request
    def look(response: Response) -> Response:
        seen.append((request.get_data(), request.stream.read()))
        return response

    answer = mount(storage, app=app).post(
        LIST,
        data=GOOD_LIST,
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True} if is_ended else {},
    )

    assert answer.status_code == 200
    assert seen == [(GOOD_LIST, b"")]


def test_body_shorter_than_its_length_is_400(bare_client: FlaskClient) -> None:
    answer = bare_client.post(
        LIST,
        input_stream=io.BytesIO(GOOD_LIST),
        content_type="application/json",
        environ_overrides={
            "CONTENT_LENGTH": str(len(GOOD_LIST) + 5),
            "wsgi.input_terminated": True,
        },
    )

    _assert_refused(answer, 400, "body")


def test_body_that_the_server_cannot_read_is_400(bare_client: FlaskClient) -> None:
    class Damaged(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def seek(self, _offset: int, _whence: int = io.SEEK_SET) -> int:
            return 0

        def tell(self) -> int:
            return 0

        def readinto(self, _buffer: object) -> int:
            raise ArithmeticError("a chunk has no size")

    answer = bare_client.post(
        LIST,
        input_stream=Damaged(),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )

    _assert_refused(answer, 400, "body")


def test_big_body_of_legal_json_is_answered(bare_client: FlaskClient) -> None:
    body = json.dumps({"ids": [str(number) for number in range(10_001)]})

    answer = bare_client.post(
        f"{PREFIX}/jobs/delete", data=body, content_type="application/json"
    )

    _assert_refused(answer, 400, "ids")
