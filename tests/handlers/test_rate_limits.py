from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError, RateLimitNotFoundError
from flask_forge_jobs.handlers import rate_limits
from flask_forge_jobs.storage.base import Storage


@pytest.mark.parametrize("scope", ["none", "", "a\x00b", "\ud800"])
def test_no_verb_knows_an_impossible_scope(storage: Storage, scope: str) -> None:
    for verb in (rate_limits.get, rate_limits.drain, rate_limits.delete):
        with pytest.raises(RateLimitNotFoundError):
            verb(storage, scope)


def test_put_names_the_field_at_fault(storage: Storage) -> None:
    with pytest.raises(InvalidInputError) as caught:
        rate_limits.put(storage, "a,b", capacity=1, refill_per_sec=1.0)

    assert caught.value.field == "scope"


def test_what_is_put_is_listed_drained_and_removed(storage: Storage) -> None:
    rate_limits.put(storage, "api", capacity=5, refill_per_sec=0.001)

    assert [each.tokens for each in storage.rate_limits.all()] == [5.0]
    assert rate_limits.drain(storage, "api").tokens == 0.0
    assert rate_limits.get(storage, "api").tokens < 1
    rate_limits.delete(storage, "api")
    assert storage.rate_limits.all() == []
