"""The short form: no answer is too old, whatever becomes of the servers."""

from __future__ import annotations

import pytest

from tests.acceptance.standby_reads import Plan, try_all


@pytest.mark.long
def test_no_answer_is_too_old_and_none_is_lost() -> None:
    text, holds = try_all(Plan(seconds=5, calls=20, jobs=200))

    assert holds, text
