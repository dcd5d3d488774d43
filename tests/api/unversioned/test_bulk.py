from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import OWNER, enqueue, having, job_with
from tests.support.sql import Sql


def _post(client: FlaskClient, path: str, body: object) -> TestResponse:
    return client.post(f"{PREFIX}/jobs/{path}", json=body)


def _assert_refused(answer: TestResponse, field: str) -> None:
    assert answer.json is not None, answer.text
    assert answer.status_code == 400
    assert (answer.json["kind"], answer.json["field"]) == ("validation", field)


def test_retry_counts_what_it_put_back(client: FlaskClient, storage: Storage) -> None:
    dead = job_with(storage, JobStatus.DEAD)
    failed = job_with(storage, JobStatus.FAILED)
    pending = enqueue(storage)

    answer = _post(client, "retry", {"ids": [dead, failed, failed, pending, "none"]})

    assert answer.data == b"2"
    assert answer.headers["X-Jobs-Skipped"] == "2"
    assert storage.job_reader.get(dead).status is JobStatus.PENDING


def test_requeue_does_what_retry_does(client: FlaskClient, storage: Storage) -> None:
    failed = job_with(storage, JobStatus.FAILED)

    answer = _post(client, "requeue", {"ids": [failed, "none"]})

    assert answer.data == b"1"
    assert answer.headers["X-Jobs-Skipped"] == "1"
    assert storage.job_reader.get(failed).status is JobStatus.PENDING


def test_delete_counts_by_fate(client: FlaskClient, storage: Storage) -> None:
    running = job_with(storage, JobStatus.IN_PROGRESS)
    waiting = enqueue(storage)

    answer = _post(client, "delete", {"ids": [running, waiting, waiting, "none"]})

    assert answer.data == b"2"
    assert answer.headers["X-Jobs-Deleted"] == "1"
    assert answer.headers["X-Jobs-Cancel-Requested"] == "1"
    assert answer.headers["X-Jobs-Not-Found"] == "1"
    assert storage.job_reader.get(running).cancel_requested_at is not None


@pytest.mark.parametrize(
    ("request_of", "said"),
    [
        (
            ("delete-by-status", {"status": "done", "queus": "mail"}),
            "queus: is not a known key; did you mean 'queue'",
        ),
        (
            ("delete-by-status", {"status": "done", "kinds": "a"}),
            "kinds: is not a known key; did you mean 'kind'",
        ),
        (
            ("delete-done-older-than", {"days": 0, "kind": "a"}),
            "kind: is not a known key",
        ),
        (
            ("retry-all-failed", {"Queue_name": "mail"}),
            "Queue_name: is not a known key; did you mean 'queue_name'",
        ),
        (
            ("retry-all-by-status", {"status": "dead", "zone": 1}),
            "zone: is not a known key",
        ),
        (("delete", {"ids": [], "queue": "mail"}), "queue: is not a known key"),
    ],
)
def test_a_condition_that_nobody_knows_is_refused_and_changes_nothing(
    client: FlaskClient, sql: Sql, request_of: tuple[str, dict[str, object]], said: str
) -> None:
    path, body = request_of
    field, _, message = said.partition(": ")
    for status in ("done", "failed", "dead"):
        sql.seed(1, status=status, queue_name="other", prefix=status)
    before = sql.run("SELECT id, status FROM forge_job ORDER BY id")

    answer = _post(client, path, body)

    _assert_refused(answer, field)
    assert answer.json is not None
    assert answer.json["msg"] == message
    assert sql.run("SELECT id, status FROM forge_job ORDER BY id") == before


def test_queue_is_another_name_of_queue_name(client: FlaskClient, sql: Sql) -> None:
    for queue in ("mail", "other"):
        for status in ("done", "failed", "dead"):
            name = f"{queue}{status}"
            sql.seed(1, status=status, queue_name=queue, prefix=name)

    none = _post(client, "delete-by-status", {"status": "dead", "queue": "nowhere"})
    answers = [
        _post(client, path, {"queue": "mail", **body}).data
        for path, body in (
            ("delete-by-status", {"status": "dead", "queue_name": None}),
            ("delete-done-older-than", {"days": 0, "queue_name": "mail"}),
            ("retry-all-failed", {}),
        )
    ]

    assert none.status_code == 404
    assert answers == [b"1"] * 3
    left = sql.run("SELECT queue_name, status FROM forge_job ORDER BY 1, 2")
    assert left == [
        ("mail", "pending"), ("other", "dead"), ("other", "done"), ("other", "failed"),
    ]  # fmt: skip


def test_two_names_of_one_queue_must_agree(client: FlaskClient, sql: Sql) -> None:
    sql.seed(1, status="dead", queue_name="mail", prefix="a")
    body = {"status": "dead", "queue": "mail", "queue_name": "other"}

    answer = _post(client, "delete-by-status", body)

    _assert_refused(answer, "queue_name")
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 1


@pytest.mark.parametrize("verb", ["retry", "requeue", "delete"])
@pytest.mark.parametrize(
    ("ids", "field"),
    [(["x", ""], "ids[1]"), (["x" * 65], "ids[0]"), (["x", "y", None], "ids[2]")],
)
def test_bulk_with_bad_ids_is_400(
    client: FlaskClient, verb: str, ids: list[object], field: str
) -> None:
    _assert_refused(_post(client, verb, {"ids": ids}), field)


@pytest.mark.parametrize("verb", ["retry", "delete"])
def test_bulk_by_ids_is_cut_by_the_limit(storage: Storage, sql: Sql, verb: str) -> None:
    sql.seed(5, status="dead")
    ids = [row[0] for row in sql.run("SELECT id FROM forge_job ORDER BY id")]
    client = mount(storage, BlueprintOptions(bulk_max=3))

    answer = _post(client, verb, {"ids": ids})

    assert (answer.data, answer.headers["X-Bulk-Complete"]) == (b"3", "false")
    left = sql.run("SELECT id FROM forge_job WHERE status = 'dead' ORDER BY id")
    assert [row[0] for row in left] == ids[3:]
    again = _post(client, verb, {"ids": ids[3:]})
    assert again.data == b"2"
    assert "X-Bulk-Complete" not in again.headers


# -- retry all -------------------------------------------------------------------------


@pytest.fixture(params=["retry-all-failed", "retry-all-by-status"])
def retry_all(
    request: pytest.FixtureRequest, client: FlaskClient
) -> Callable[..., TestResponse]:
    """Retry the failed jobs by either route."""
    path: str = request.param

    def call(**body: object) -> TestResponse:
        if path == "retry-all-by-status":
            body["status"] = "failed"
        return _post(client, path, body)

    return call


def test_retry_all_of_nothing_is_zero(retry_all: Callable[..., TestResponse]) -> None:
    assert retry_all().data == b"0"


def test_retry_all_takes_every_batch(
    retry_all: Callable[..., TestResponse], sql: Sql
) -> None:
    rows = BATCH + 1
    sql.seed(rows, status="failed", due_in_s=600)
    sql.seed(2, status="dead", prefix="dead")

    answer = retry_all()

    assert answer.data == str(rows).encode()
    assert answer.headers["Content-Type"] == "application/json"
    assert "X-Bulk-Complete" not in answer.headers
    assert answer.headers["X-Jobs-Skipped"] == "0"
    assert (
        sql.counted_rows()
        == sql.maintained_counts()
        == {
            ("default", "noop", "pending", False): rows,
            ("default", "noop", "dead", False): 2,
        }
    )


def test_retry_all_can_be_kept_to_a_queue_and_a_kind(
    retry_all: Callable[..., TestResponse], sql: Sql
) -> None:
    sql.seed(2, status="failed", queue_name="mail", kind="a", prefix="a")
    sql.seed(3, status="failed", queue_name="mail", kind="b", prefix="b")
    sql.seed(4, status="failed", queue_name="other", kind="a", prefix="c")

    assert retry_all(queue_name="mail", kind="none").data == b"0"
    assert retry_all(queue_name="mail", kind="a").data == b"2"
    assert retry_all(kind="a", queue_name=None).data == b"4"
    assert retry_all(queue="mail", kind=None).data == b"3"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"queue_name": ""}, "queue_name"),
        ({"queue_name": "a,b"}, "queue_name"),
        ({"kind": " "}, "kind"),
    ],
)
def test_retry_all_with_a_bad_scope_is_400_and_changes_nothing(
    retry_all: Callable[..., TestResponse],
    storage: Storage,
    body: dict[str, object],
    field: str,
) -> None:
    job_id = job_with(storage, JobStatus.FAILED)

    _assert_refused(retry_all(**body), field)

    assert storage.job_reader.get(job_id).status is JobStatus.FAILED


def test_retry_all_of_an_unknown_queue_is_404(
    retry_all: Callable[..., TestResponse], storage: Storage
) -> None:
    job_with(storage, JobStatus.FAILED)

    answer = retry_all(queue_name="nowhere")

    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["kind"] == "not_found"


def test_retry_all_of_a_queue_that_only_jobs_name(
    retry_all: Callable[..., TestResponse], sql: Sql
) -> None:
    sql.seed(2, status="failed", queue_name="orphan")

    assert retry_all(queue_name="orphan").data == b"2"


def test_retry_all_counts_conflicts_as_skipped(
    client: FlaskClient, storage: Storage
) -> None:
    for _ in range(3):
        enqueue(storage, key="once")
        storage.job_admin.cancel(claimable(storage))
    job_with(storage, JobStatus.DEAD)

    answer = _post(client, "retry-all-by-status", {"status": "dead"})

    assert (answer.data, answer.headers["X-Jobs-Skipped"]) == (b"2", "2")


def claimable(storage: Storage) -> str:
    (job,) = storage.job_reader.page(having(JobStatus.PENDING), 1).rows
    return job.id


@pytest.mark.parametrize(
    "request_of", [{}, {"data": b""}, {"json": {}}, {"json": {"queue_name": None}}]
)
def test_retry_all_failed_needs_no_body(
    client: FlaskClient, storage: Storage, request_of: dict[str, object]
) -> None:
    job_with(storage, JobStatus.FAILED)

    answer = client.post(f"{PREFIX}/jobs/retry-all-failed", **request_of)

    assert answer.data == b"1"


@pytest.mark.parametrize(
    "status", ["pending", "in_progress", "done", "deadd", "", "Failed", 5, None]
)
def test_retry_all_by_another_status_is_400(
    client: FlaskClient, sql: Sql, status: object
) -> None:
    for each in JobStatus:
        sql.seed(1, status=each, prefix=each)
    before = sql.run("SELECT * FROM forge_job ORDER BY id")

    _assert_refused(_post(client, "retry-all-by-status", {"status": status}), "status")

    assert len(before) == len(JobStatus)
    assert sql.run("SELECT * FROM forge_job ORDER BY id") == before


def test_retry_all_is_cut_by_the_limit_and_goes_on(storage: Storage, sql: Sql) -> None:
    sql.seed(7, status="failed")
    client = mount(storage, BlueprintOptions(bulk_max=3))

    answers = [client.post(f"{PREFIX}/jobs/retry-all-failed") for _ in range(4)]

    assert [answer.data for answer in answers] == [b"3", b"3", b"1", b"0"]
    assert [answer.headers.get("X-Bulk-Complete") for answer in answers] == [
        "false", "false", None, None,
    ]  # fmt: skip


# -- delete by status ------------------------------------------------------------------


@pytest.mark.parametrize("status", JobStatus)
def test_delete_by_status_takes_one_state(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    for each in JobStatus:
        job_with(storage, each, queue_name=each.value)
    runs = status is JobStatus.IN_PROGRESS

    answer = _post(client, "delete-by-status", {"status": status.value})

    assert answer.data == b"1"
    assert answer.headers["X-Jobs-Deleted"] == ("0" if runs else "1")
    assert answer.headers["X-Jobs-Cancel-Requested"] == ("1" if runs else "0")
    assert storage.job_reader.total(having(status)) == int(runs)
    assert storage.job_reader.total(JobFilter()) == 4 + int(runs)
    assert bool(storage.jobs.cancelled(OWNER)) is runs


@pytest.mark.parametrize("rows", [0, BATCH + 1])
def test_delete_by_status_takes_every_batch(
    client: FlaskClient, sql: Sql, rows: int
) -> None:
    if rows:
        sql.seed(rows, status="dead")
    sql.seed(1, status="done", prefix="kept")

    answer = _post(client, "delete-by-status", {"status": "dead", "queue_name": None})

    assert answer.data == str(rows).encode()
    assert sql.counted_rows() == sql.maintained_counts()
    assert sql.counted_rows() == {("default", "noop", "done", False): 1}


def test_delete_by_status_can_be_kept_to_a_queue_and_a_kind(
    client: FlaskClient, sql: Sql
) -> None:
    sql.seed(2, status="done", queue_name="mail", kind="a", prefix="a")
    sql.seed(3, status="done", queue_name="mail", kind="b", prefix="b")
    sql.seed(4, status="done", queue_name="other", kind="a", prefix="c")

    def deleted(**scope: object) -> bytes:
        return _post(client, "delete-by-status", {"status": "done", **scope}).get_data()

    assert deleted(queue_name="mail", kind="none") == b"0"
    assert deleted(queue_name="mail", kind="a") == b"2"
    assert deleted(kind="a") == b"4"
    assert deleted(queue_name="mail") == b"3"


def test_delete_by_status_can_be_kept_to_older_jobs(
    client: FlaskClient, storage: Storage
) -> None:
    first, second = (storage.job_reader.get(enqueue(storage)) for _ in range(2))
    assert first.enqueued_at < second.enqueued_at

    def deleted(older_than: str) -> bytes:
        body = {"status": "pending", "older_than": older_than}
        return _post(client, "delete-by-status", body).get_data()

    assert deleted("1970-01-01T00:00:00Z") == b"0"
    assert deleted(format_instant(first.enqueued_at)) == b"0"
    assert deleted(format_instant(second.enqueued_at)) == b"1"
    assert storage.job_reader.get(second.id) == second


@pytest.mark.parametrize(
    ("rows", "expected", "status"), [(200, 222, 200), (200, 223, 409)]
)
def test_delete_by_status_compares_with_the_expected_number(
    client: FlaskClient, sql: Sql, rows: int, expected: int, status: int
) -> None:
    """Both more than 10 % and more than 10 rows must differ."""
    if rows:
        sql.seed(rows, status="dead")

    answer = _post(client, "delete-by-status", {"status": "dead", "expected": expected})

    assert answer.status_code == status
    left = sum(sql.counted_rows().values())
    assert left == (rows if status == 409 else 0)
    if status == 409:
        assert answer.json is not None
        assert list(answer.json) == ["kind", "msg"]


def test_delete_by_status_is_cut_by_the_limit_and_goes_on(
    storage: Storage, sql: Sql
) -> None:
    sql.seed(1200, status="done", queue_name="a", prefix="a")
    sql.seed(2, status="done", queue_name="b", prefix="b")
    client = mount(storage, BlueprintOptions(bulk_max=600))

    answers = [_post(client, "delete-by-status", {"status": "done"}) for _ in "123"]

    assert [answer.data for answer in answers] == [b"600", b"600", b"2"]
    assert answers[0].headers["X-Bulk-Complete"] == "false"
    assert "X-Bulk-Complete" not in answers[2].headers
    assert sum(sql.counted_rows().values()) == 0


# -- delete done -----------------------------------------------------------------------


def test_delete_done_older_than_goes_by_the_day_it_ended(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    job_with(storage, JobStatus.DONE)
    job_with(storage, JobStatus.DEAD)
    sql.age(3 * 86_400)
    young = job_with(storage, JobStatus.DONE)

    def deleted(days: int) -> bytes:
        return _post(client, "delete-done-older-than", {"days": days}).get_data()

    assert deleted(36_500) == b"0"
    assert deleted(3) == b"1"
    assert storage.job_reader.get(young).status is JobStatus.DONE
    assert deleted(0) == b"1"
    assert storage.job_reader.total(JobFilter()) == 1


def test_delete_done_covers_queues_that_only_jobs_name(
    client: FlaskClient, sql: Sql
) -> None:
    sql.seed(501, status="done", queue_name="orphan", prefix="a")
    sql.seed(3, status="done", queue_name="other", prefix="b")

    def deleted(queue_name: str | None) -> bytes:
        body = {"days": 0, "queue_name": queue_name}
        return _post(client, "delete-done-older-than", body).get_data()

    assert deleted("other") == b"3"
    assert deleted(None) == b"501"
    assert deleted(None) == b"0"
    assert sql.maintained_counts() == {}


def test_delete_done_is_cut_by_the_limit_and_goes_on(
    storage: Storage, sql: Sql
) -> None:
    sql.seed(4, status="done", queue_name="a", prefix="a")
    sql.seed(4, status="done", queue_name="b", prefix="b")
    client = mount(storage, BlueprintOptions(bulk_max=6))

    answers = [_post(client, "delete-done-older-than", {"days": 0}) for _ in "12"]

    assert [answer.data for answer in answers] == [b"6", b"2"]
    assert answers[0].headers["X-Bulk-Complete"] == "false"
    assert "X-Bulk-Complete" not in answers[1].headers


# -- credentials that are limited to some queues -------------------------------------


@pytest.fixture
def scoped(storage: Storage) -> FlaskClient:
    """A client whose token is limited to the queues ``mail`` and ``post``."""
    return client_with_token(storage, "operator", ["mail", "post"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("retry-all-failed", {}),
        ("retry-all-by-status", {"status": "dead"}),
        ("delete-by-status", {"status": "failed"}),
        ("delete-done-older-than", {"days": 0}),
    ],
)
def test_a_limited_credential_reaches_its_queues_only(
    scoped: FlaskClient, sql: Sql, path: str, body: dict[str, object]
) -> None:
    for name in ("mail", "post", "other"):
        for status in ("failed", "dead", "done"):
            sql.seed(2, status=status, queue_name=name, prefix=f"{name}-{status}")
    before = {key: n for key, n in sql.counted_rows().items() if key[0] == "other"}

    assert _post(scoped, path, body | {"queue_name": "other"}).status_code == 403
    assert _post(scoped, path, body | {"queue_name": "mail"}).data == b"2"
    assert _post(scoped, path, body).data == b"2"

    after = {key: n for key, n in sql.counted_rows().items() if key[0] == "other"}
    assert after == before
