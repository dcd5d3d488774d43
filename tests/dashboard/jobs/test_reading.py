"""Reads of a list: few, shared, and none that the caller may not make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.dashboard.jobs.reading import JobList, may_now
from flask_forge_jobs.dashboard.jobs.rows import MAX_ERROR
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.ordering import StatusCounts
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.dashboard.jobs.test_query import read
from tests.support.clocks import MovingClock
from tests.support.jobs import job_with, run

OPERATOR = Principal.with_role("ops", "operator")


@pytest.fixture
def request_of() -> Iterator[None]:
    with Flask("host").test_request_context("/?only=rows"):
        yield


def opened(
    storage: Storage,
    text: str = "",
    principal: Principal = OPERATOR,
    **options: object,
) -> JobList:
    chosen = BlueprintOptions(clock=MovingClock(), **options)  # type: ignore[arg-type]
    present_state().principal = principal
    return JobList(Api(storage, chosen, ()), read(text))


@pytest.mark.usefixtures("request_of")
def test_one_read_counts_every_tab(storage: Storage) -> None:
    for status in (JobStatus.DEAD, JobStatus.DEAD, JobStatus.FAILED, JobStatus.DONE):
        job_with(storage, status)
    storage.jobs.enqueue(NewJob("send", delay=600))

    jobs = opened(storage, "status=dead&status=scheduled")

    assert jobs.has_all_counts
    assert jobs.counts == StatusCounts(pending=1, scheduled=1, dead=2, failed=1, done=1)
    assert jobs.matching == StatusCounts(pending=1, scheduled=1, dead=2)
    assert len(jobs.page.jobs) == jobs.matching.total == 3


@pytest.mark.usefixtures("request_of")
def test_a_search_counts_its_own_states_only(storage: Storage) -> None:
    job_with(storage, JobStatus.DEAD)
    job_with(storage, JobStatus.FAILED)

    jobs = opened(storage, "status=dead&min_attempts=1")

    assert not jobs.has_all_counts
    assert jobs.counts == jobs.matching == StatusCounts(dead=1)


@pytest.mark.usefixtures("request_of")
def test_panels_at_the_same_time_share_a_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []
    present_state().principal = OPERATOR
    api = Api(storage, BlueprintOptions(clock=MovingClock()), ())
    counts = storage.job_reader.counts

    def noted(_: object, job_filter: JobFilter, most: int | None) -> StatusCounts:
        reads.append(job_filter)
        return counts(job_filter, most)

    monkeypatch.setattr(type(storage.job_reader), "counts", noted)

    for _ in range(5):
        assert JobList(api, read("queue=mail")).counts == StatusCounts()
    assert JobList(api, read("queue=bulk")).counts == StatusCounts()

    assert len(reads) == 2


@pytest.mark.usefixtures("request_of")
def test_a_limited_caller_sees_own_queues_only(storage: Storage) -> None:
    storage.jobs.enqueue_many(
        [NewJob("send", queue_name="mail"), NewJob("bill", queue_name="billing")]
    )
    limited = Principal.with_role("ops", "operator", queues=["mail", "empty"])

    jobs = opened(storage, principal=limited)

    assert jobs.matching.total == 1
    assert jobs.known_queues == ["empty", "mail"]
    assert jobs.known_kinds == ["send"]
    assert [job.kind for job in jobs.page.jobs] == ["send"]
    with pytest.raises(Forbidden):
        opened(storage, "queue=billing", limited)


@pytest.mark.usefixtures("request_of")
def test_payloads_are_searched_by_those_who_may_see_them(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", {"card": "4242"}))
    admin = Principal.with_role("root", "admin")

    assert opened(storage, "q=4242", admin).matching.total == 1
    with pytest.raises(Forbidden):
        opened(storage, "q=4242")


@pytest.mark.usefixtures("request_of")
def test_nothing_may_be_changed_while_the_service_is_read_only(
    storage: Storage,
) -> None:
    present_state().principal = OPERATOR
    closed = Api(storage, BlueprintOptions(read_only=True), ())

    assert may_now(Api(storage, BlueprintOptions(), ())) == OPERATOR.permissions
    assert may_now(closed) == {Permission.READ}


def test_an_opened_page_shows_the_present_state(storage: Storage) -> None:
    present = Api(storage, BlueprintOptions(clock=MovingClock()), ())
    with Flask("host").test_request_context("/"):
        present_state().principal = OPERATOR
        assert JobList(present, read("")).matching.total == 0
        storage.jobs.enqueue(NewJob("send"))
        assert JobList(present, read("")).matching.total == 1


@pytest.mark.usefixtures("request_of")
def test_a_page_that_is_kept_holds_the_first_lines_of_errors(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    run(storage, Dead(f"E: {'x' * 5000}\nsecond line"), queue_name="mail")

    (job,) = opened(storage).page.jobs

    assert job.last_error is not None
    assert job.last_error.startswith("E: xxx")
    assert len(job.last_error) == MAX_ERROR
