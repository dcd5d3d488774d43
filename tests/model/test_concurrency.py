from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.concurrency import (
    MAX_NAME_LENGTH,
    ConcurrencyLimit,
    concurrency_wait_s,
)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ('{"account_id":7}', "send account_id=7"),
        ('{"account_id":"7"}', 'send account_id="7"'),
        ('{"account_id":{"b":1,"a":[]}}', 'send account_id={"b":1,"a":[]}'),
        ('{"other":1}', "send account_id=null"),
        ("[1]", "send account_id=null"),
    ],
)
def test_each_value_of_the_key_has_permits_of_its_own(payload: str, name: str) -> None:
    assert ConcurrencyLimit(2, "account_id").key_of("send", payload) == name


def test_without_a_key_all_jobs_of_a_kind_share_the_permits() -> None:
    assert ConcurrencyLimit(2).key_of("send", "not even read") == "send"


def test_a_default_is_a_value_like_any_other() -> None:
    plan = ConcurrencyLimit(2, "account_id", default="7")

    assert plan.key_of("send", "{}") == plan.key_of("send", '{"account_id":7}')


def test_long_values_differ_in_a_short_name() -> None:
    plan = ConcurrencyLimit(1, "text")
    names = {
        plan.key_of("send", f'{{"text":"{"x" * 5000}{end}"}}')
        for end in ("a", "b", "a")
    }

    assert len(names) == 2
    assert {len(name) for name in names} == {MAX_NAME_LENGTH}


def test_a_damaged_payload_is_an_error() -> None:
    with pytest.raises(InvalidInputError):
        ConcurrencyLimit(1, "text").key_of("send", "{")


@pytest.mark.parametrize("most", [0, 1025, True, 1.5, "2", None])
def test_a_number_outside_its_bounds_is_refused(most: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ConcurrencyLimit(most).check()

    assert caught.value.field == "max_concurrent"


def test_the_wait_doubles_up_to_a_minute() -> None:
    waits = [concurrency_wait_s(attempts) for attempts in (0, 1, 2, 7, 8, 1000)]

    assert waits == [0.25, 0.5, 1.0, 32.0, 60.0, 60.0]
