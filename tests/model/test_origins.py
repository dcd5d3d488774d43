from __future__ import annotations

import json

import pytest

from flask_forge_jobs.model.origins import (
    MAX_LENGTH,
    carried_text,
    is_of_task,
    of_task,
    origin_of,
)


def test_an_origin_is_read_from_what_a_job_carries() -> None:
    assert origin_of(carried_text("POST /signup")) == "POST /signup"
    assert origin_of('{"request_id":"r"}') is None


def test_a_long_origin_is_cut() -> None:
    assert json.loads(carried_text("x" * 999)) == {"origin": "x" * MAX_LENGTH}


@pytest.mark.parametrize("damaged", ["{", "[]", "7", '{"origin":7}'])
def test_a_damaged_text_has_no_origin(damaged: str) -> None:
    assert origin_of(damaged) is None


def test_a_task_can_be_told_from_other_origins() -> None:
    assert is_of_task(of_task("send"))
    assert not is_of_task("POST /task send")
    assert not is_of_task(None)
