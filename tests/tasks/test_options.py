from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.api.schemas.new_jobs import NewJobRequestSchema
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import DEDUPE_KEY_LENGTH
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.tasks.options import EnqueueOptions, JobOptions
from flask_forge_jobs.tasks.routing import DefaultRouter


def new_job(options: JobOptions, payload: str = "{}", *, kind: str = "send") -> NewJob:
    return options.new_job(kind, payload, DefaultRouter())


def test_the_options_of_a_job_are_those_that_can_be_asked_for() -> None:
    """In Python, and over HTTP with the field's own name for the queue."""
    asked = set(EnqueueOptions.__annotations__)
    over_http = set(NewJobRequestSchema().fields) - {"kind", "payload"}

    assert {each.name for each in fields(JobOptions)} == asked - {"connection"}
    assert over_http - asked == {"queue_name"}


def test_an_option_that_is_not_there_is_named() -> None:
    with pytest.raises(TypeError, match="no option 'priorty'; did you mean priority="):
        JobOptions().changed(priorty=1)
    with pytest.raises(
        TypeError, match="no option 'x'; there are after, dedupe_by_args, "
    ):
        JobOptions().changed(x=1)


def test_options_that_are_none_stay_as_they_are() -> None:
    options = JobOptions(queue="mail", max_attempts=3)

    assert options.changed(queue=None, priority=None) is options
    assert options.changed(priority=-1) == JobOptions("mail", -1, max_attempts=3)


def test_the_queue_is_the_routers_choice_unless_one_is_given() -> None:
    assert new_job(JobOptions()).queue_name == "default"
    assert new_job(JobOptions(queue="mail")).queue_name == "mail"


def test_a_key_of_the_arguments_does_not_know_their_order() -> None:
    by_args = JobOptions(dedupe_by_args=True)
    keys = [
        new_job(by_args, payload).dedupe_key
        for payload in (
            '{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}', '{"a":2}',
        )
    ]  # fmt: skip

    assert keys[0] == keys[1] != keys[2]


def test_a_key_of_the_arguments_knows_the_kind() -> None:
    by_args = JobOptions(dedupe_by_args=True)

    assert (
        new_job(by_args, kind="a").dedupe_key != new_job(by_args, kind="b").dedupe_key
    )


def test_the_longest_kind_leaves_room_for_the_key() -> None:
    key = new_job(JobOptions(dedupe_by_args=True), kind="x" * 128).dedupe_key

    assert key is not None
    assert len(key) <= DEDUPE_KEY_LENGTH


def test_a_key_that_is_given_takes_the_place_of_the_tasks_own() -> None:
    by_args = JobOptions(dedupe_by_args=True)

    assert new_job(by_args.changed(dedupe_key="k")).dedupe_key == "k"
    assert new_job(by_args.changed(dedupe_by_args=False)).dedupe_key is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"dedupe_key": "k", "dedupe_by_args": True}, "dedupe_by_args"),
        ({"dedupe_by_args": "yes"}, "dedupe_by_args"),
        ({"dedupe_for": timedelta(hours=1)}, "dedupe_for"),
        ({"replace": ("payload",)}, "replace"),
        ({"dedupe_by_args": True, "replace": ("kind",)}, "replace"),
        ({"dedupe_by_args": True, "dedupe_for": 60}, "dedupe_for"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        new_job(JobOptions().changed(**given))

    assert caught.value.field == field
