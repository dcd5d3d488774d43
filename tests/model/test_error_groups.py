from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorRange
from flask_forge_jobs.model.instants import DAY_US


@pytest.mark.parametrize("window", ErrorRange)
def test_the_buckets_of_a_range_make_it_up(window: ErrorRange) -> None:
    days = {"24h": 1, "7d": 7, "30d": 30}[window]

    assert window.buckets * window.width_us == days * DAY_US


def test_an_unknown_word_is_named() -> None:
    for choice, field in ((ErrorRange, "range"), (ErrorOrder, "sort")):
        with pytest.raises(InvalidInputError, match=field):
            choice.parse("1h", field)
