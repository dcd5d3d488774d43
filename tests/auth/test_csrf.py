"""A write that a browser sends for a page of another site is refused."""

from __future__ import annotations

import itertools

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token

JOB = {"kind": "k", "payload": {}}


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    app = Flask("host")
    app.testing = True
    options = BlueprintOptions(authenticator=lambda _: True)
    app.register_blueprint(create_blueprint(storage, options=options))
    return app.test_client()


def _write(client: FlaskClient, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        "/jobs/enqueue", json=JOB, headers={"Host": "jobs.example:8787", **named}
    ).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://jobs.example:8787"},
        {"Origin": "https://JOBS.example:8787"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://jobs.example:8787"},
        {"Origin": "https://jobs.example", "Host": "jobs.example"},
        {"Origin": "https://jobs.example", "Host": "jobs.example:443"},
        {"Origin": "http://[::1]:8787", "Host": "[::1]:8787"},
    ],
)
def test_write_of_a_program_or_of_our_page_passes(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert _write(client, **headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "odd"},
        {"Sec_Fetch_Site": "same-origin, cross-site"},
        {"Sec_Fetch_Site": ""},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://evil.test"},
        {"Origin": "http://jobs.example"},
        {"Origin": "http://jobs.example:9999"},
        {"Origin": "http://jobs.example.evil.test:8787"},
        {"Origin": "http://jobs.example:port"},
        {"Origin": "http://[::1"},
        {"Origin": "file://jobs.example:8787"},
        {"Sec_Fetch_Site": "none", "Origin": "http://evil.test"},
        {"Sec_Fetch_Site": "SAME-ORIGIN", "Origin": "http://evil.test"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://jobs.example:8787"},
    ],
)
def test_write_for_another_site_is_403_and_stores_nothing(
    client: FlaskClient, storage: Storage, headers: dict[str, str]
) -> None:
    assert _write(client, **headers) == 403
    assert storage.job_reader.statistics() == {}


def test_write_without_a_body_is_guarded_too(client: FlaskClient) -> None:
    answer = client.post("/jobs/run-now/none", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["kind"] == "forbidden"


def test_read_for_another_site_is_left_to_the_browser(client: FlaskClient) -> None:
    answer = client.get(
        "/queue/overview",
        headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.test"},
    )

    assert answer.status_code == 200
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


# What a browser says of a GET, and whether this machine's trust answers it.
READS = [
    ({}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
    ({"Origin": "http://localhost:5000"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://front.example"}, True),
    ({"Origin": "http://front.example"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, False),
    ({"Sec-Fetch-Site": "odd"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.test"}, False),
    ({"Origin": "http://evil.test"}, False),
    ({"Origin": "http://localhost:3000"}, False),
    ({"Origin": "null"}, False),
]


@pytest.mark.parametrize(("headers", "is_answered"), READS)
def test_sec_S10_a_script_of_another_origin_is_not_this_machine(
    storage: Storage, headers: dict[str, str], *, is_answered: bool
) -> None:
    """The application may let every origin read its answers, as flask-cors does."""
    options = BlueprintOptions(cors_origins=["http://front.example"])
    client = mount(storage, options)

    answer = client.get(
        f"{PREFIX}/queue/overview", headers={"Host": "localhost:5000", **headers}
    )

    assert answer.status_code == (200 if is_answered else 403)
    assert ("FORGE_JOBS_CORS_ORIGINS" in answer.text) is not is_answered


# The table of S14 (H27): what each pair of headers means for a request whose credential
# a browser would have sent on its own. None stands for a header that is absent.
ORIGINS = {
    "none": None,
    "own": "http://jobs.example:8787",
    "null": "null",
    "foreign": "http://evil.test",
    "other port": "http://jobs.example:9999",
    "subdomain": "http://sub.jobs.example:8787",
}
SITES = (None, "same-origin", "same-site", "cross-site", "none")
CREDENTIALS = {
    "cookie": {"Cookie": "session=x"},
    "basic": {"Authorization": "Basic YTpi"},
    "nothing": {},
    "text after Bearer": {"Authorization": "Bearer t"},
    "cookie and text after Bearer": {
        "Cookie": "session=x",
        "Authorization": "Bearer x",
    },
}


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_sec_S14_H27_table(client: FlaskClient, credential: str) -> None:
    """With neither header a JSON body is proof that no form sent it."""
    sent = {"Host": "jobs.example:8787", **CREDENTIALS[credential]}
    for site, origin in itertools.product(SITES, ORIGINS):
        named = {"Sec-Fetch-Site": site, "Origin": ORIGINS[origin]}
        headers = {name: value for name, value in named.items() if value is not None}
        if site is None:
            is_allowed = origin in {"none", "own"}
        else:
            is_allowed = site == "same-origin"

        answer = client.post("/jobs/enqueue", json=JOB, headers={**sent, **headers})

        assert answer.status_code == (200 if is_allowed else 403), (site, origin)
        assert {"Sec-Fetch-Site", "Origin"} <= set(answer.vary)


@pytest.mark.parametrize("is_valid", [True, False])
def test_sec_S14_only_a_token_that_is_known_needs_no_proof(
    storage: Storage, *, is_valid: bool
) -> None:
    """Whoever has a session of the host's as well is taken for its user without one."""
    client = client_with_token(storage, "admin", authenticator=lambda _: True)
    if not is_valid:
        client.environ_base["HTTP_AUTHORIZATION"] += "0"
    headers = {"Cookie": "session=x", "Sec-Fetch-Site": "cross-site"}

    for path, body, passed in (("enqueue", JOB, 200), ("run-now/none", None, 404)):
        answer = client.post(f"{PREFIX}/jobs/{path}", json=body, headers=headers)

        assert answer.status_code == (passed if is_valid else 403)
    assert bool(storage.job_reader.statistics()) is is_valid


def test_sec_S14_text_after_bearer_opens_nothing_on_loopback(storage: Storage) -> None:
    headers = {"Authorization": "Bearer x", "Sec-Fetch-Site": "cross-site"}

    answer = mount(storage).post(f"{PREFIX}/jobs/enqueue", json=JOB, headers=headers)

    assert answer.status_code == 403
    assert storage.job_reader.statistics() == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Forge-Jobs": "0"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 403),
        ({"Content-Type": "application/json"}, 404),
        ({"X-Forge-Jobs": "1"}, 404),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Origin": "http://jobs.example"}, 404),
        ({"Authorization": "Bearer t"}, 403),
    ],
)
def test_sec_S14_without_a_body_something_must_show_that_no_form_sent_it(
    client: FlaskClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post(
        "/jobs/run-now/none", headers={"Host": "jobs.example", **headers}
    )

    assert answer.status_code == status


@pytest.mark.parametrize("form", ["text/plain", "application/x-www-form-urlencoded"])
def test_sec_S14_json_smuggled_in_a_form_is_refused(
    client: FlaskClient, storage: Storage, form: str
) -> None:
    """``enctype=text/plain`` lets a form send what parses as JSON."""
    body = b'{"kind":"k","payload":{"a":"="}}'
    answer = client.post("/jobs/enqueue", data=body, content_type=form)

    assert answer.status_code == 415
    assert storage.job_reader.statistics() == {}


def test_sec_S14_page_over_http_cannot_write_to_its_https_twin(
    client: FlaskClient,
) -> None:
    answer = client.post(
        "https://jobs.example/jobs/enqueue",
        json=JOB,
        headers={"Host": "jobs.example:80", "Origin": "http://jobs.example"},
    )

    assert answer.status_code == 403
