"""Stored dedupe keys; what the database makes of them is tested on both backends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.model.dedupe_keys import MARK, end_of_key, shown_key, stored_key

KEYS = st.text(st.sampled_from(["a", "b", "~", MARK, "\x02"]), min_size=1, max_size=4)
QUEUES = st.none() | st.text(st.sampled_from(["a", "b"]), min_size=1, max_size=2)


@given(KEYS, QUEUES, KEYS, QUEUES)
def test_no_two_keys_are_stored_alike(
    key: str, queue: str | None, other: str, other_queue: str | None
) -> None:
    is_same = (key, queue) == (other, other_queue)

    assert (stored_key(key, queue) == stored_key(other, other_queue)) is is_same


@given(KEYS, QUEUES)
def test_a_stored_key_is_shown_as_it_was_given_and_found(
    key: str, queue: str | None
) -> None:
    stored = stored_key(key, queue)

    assert shown_key(stored) == key
    assert key <= stored < end_of_key(key)


@pytest.mark.parametrize("stored", [None, "plain"])
def test_what_has_no_mark_is_shown_as_it_is(stored: str | None) -> None:
    assert shown_key(stored) == stored
