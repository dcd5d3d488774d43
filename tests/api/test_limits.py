"""Rate limits of the API: off by default, per caller and class."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.limits import RequestLimits
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.clocks import MovingClock

READ = f"{PREFIX}/queue/overview"
RATES = {"read": "3/hour", "write": "2/hour", "bulk": "1/hour"}


def _read(client: FlaskClient) -> int:
    return client.get(READ).status_code


def _write(client: FlaskClient) -> int:
    url = f"{PREFIX}/queue/mail/paused"
    return client.post(url, json={"paused": True}).status_code


def _bulk(client: FlaskClient) -> int:
    return client.post(f"{PREFIX}/jobs/retry", json={"ids": []}).status_code


def test_sec_S30_each_class_has_its_own_limit(storage: Storage) -> None:
    client = client_with_token(storage, "admin", rate_limits=RATES)

    assert [_read(client) for _ in range(4)] == [200, 200, 200, 429]
    assert [_write(client) for _ in range(3)] == [404, 404, 429]
    assert [_bulk(client) for _ in range(2)] == [200, 429]


def test_sec_S30_answer_is_exact_and_says_when_to_come_back(storage: Storage) -> None:
    client = client_with_token(storage, "admin", rate_limits={"read": "1/minute"})
    client.get(READ)

    answer = client.get(READ)

    seconds = int(answer.headers["Retry-After"])
    assert 1 <= seconds <= 60
    assert answer.data == b'{"kind":"rate_limited","retry_after_secs":%d}' % seconds


def test_sec_S30_a_window_ends(storage: Storage) -> None:
    clock = MovingClock()
    client = client_with_token(
        storage, "admin", rate_limits={"read": "1 per 2 minutes"}, clock=clock
    )
    client.get(READ)
    clock.move(80.5)

    assert client.get(READ).headers["Retry-After"] == "40"
    clock.move(39.5)
    assert _read(client) == 200


def test_callers_do_not_share_a_limit(storage: Storage) -> None:
    def known(request: object) -> object:
        return Principal.with_role(request.headers["X-User"], "viewer")  # type: ignore[attr-defined]  # a request

    client = client_with_token(
        storage, "admin", rate_limits={"read": "1/hour"}, authenticator=known
    )
    del client.environ_base["HTTP_AUTHORIZATION"]

    statuses = [
        client.get(READ, headers={"X-User": user}).status_code
        for user in ("ada", "bob", "ada", "bob")
    ]

    assert statuses == [200, 200, 429, 429]


def test_health_and_strangers_are_not_counted(storage: Storage) -> None:
    client = client_with_token(storage, "admin", rate_limits={"read": "1/hour"})

    for _ in range(3):
        assert client.get(f"{PREFIX}/health").status_code == 200
    assert _read(client) == 200


def test_several_rates_hold_together(storage: Storage) -> None:
    client = client_with_token(
        storage, "admin", rate_limits={"read": "100/second; 2/hour"}
    )

    assert [_read(client) for _ in range(3)] == [200, 200, 429]


def test_off_by_default(storage: Storage) -> None:
    client = client_with_token(storage, "admin")

    assert {_read(client) for _ in range(200)} == {200}


@pytest.mark.parametrize(
    "rates", [{"reed": "1/hour"}, {"read": "often"}, {"read": ""}, {"read": "1/eon"}]
)
def test_wrong_rate_stops_the_start(rates: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="FORGE_JOBS_RATE_LIMITS"):
        RequestLimits(rates, SystemClock())
