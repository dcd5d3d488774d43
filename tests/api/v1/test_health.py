from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.backends import each_backend
from tests.support.later_steps import ADDITIVE, BREAKING, later_steps, migrated

URL = f"{PREFIX}/v1/health/ready"


def test_readiness_is_200_with_and_without_workers(
    client: FlaskClient, storage: Storage
) -> None:
    without = client.get(URL)
    storage.workers.beat("H", None, ["mail"], [], [ServiceAge("cron", 2.9, 5.0)])
    with_one = client.get(URL)

    assert (without.status_code, with_one.status_code) == (200, 200)
    assert without.json is not None
    assert with_one.json is not None
    assert (without.json["status"], with_one.json["status"]) == ("degraded", "ok")
    assert list(with_one.json) == ["status", "checks", "services"]
    assert list(with_one.json["checks"][0]) == ["name", "ok", "detail"]
    assert without.json["services"] == []
    (cron,) = with_one.json["services"]
    assert list(cron) == ["name", "age_seconds", "late"]
    assert (cron["name"], cron["late"]) == ("cron", False)
    assert with_one.json["checks"][0] == {"name": "storage", "ok": True, "detail": None}


def test_readiness_is_503_with_the_same_shape_when_the_database_is_gone() -> None:
    client = mount(faulty_storage(StorageUnavailableError("/srv/secret.sqlite")))

    answer = client.get(URL)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json is not None
    assert answer.json["status"] == "unavailable"
    assert [check["name"] for check in answer.json["checks"]] == [
        "storage", "schema", "workers", "services", "snapshots", "queues",
    ]  # fmt: skip
    assert "secret" not in answer.text


@each_backend
@pytest.mark.parametrize(
    ("sort", "status", "said"),
    [
        (ADDITIVE, 200, "version {later}, this code knows {known}"),
        (
            BREAKING,
            503,
            "version {later} needs code that knows {later}, this one knows {known}",
        ),
    ],
)
def test_readiness_is_true_to_whether_this_code_may_work_on_a_newer_schema(
    sort: str,
    status: int,
    said: str,
    client: FlaskClient,
    database_settings: DatabaseSettings,
) -> None:
    assert client.get(URL).status_code == 200
    with migrated(database_settings, sort):
        answer = client.get(URL)
        alive = client.get(f"{PREFIX}/health")

    later = later_steps(database_settings.backend, sort)[-1].version
    assert answer.json is not None
    assert answer.json["checks"][1] == {
        "name": "schema",
        "ok": status == 200,
        "detail": said.format(later=later, known=later - 1),
    }
    assert (answer.status_code, alive.status_code) == (status, 200)


def test_sec_S40_readiness_is_for_callers_that_may_read(storage: Storage) -> None:
    """S40: without a credential there is only /health."""
    for role, queues in (("viewer", None), ("viewer", ["mail"])):
        assert client_with_token(storage, role, queues).get(URL).status_code == 200
    assert client_with_token(storage, "metrics").get(URL).status_code == 403
