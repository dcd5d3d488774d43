from __future__ import annotations

import pytest

from flask_forge_jobs.model.sentences import count


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (12_000, "12,000 jobs")],
)
def test_a_count_has_its_noun(number: int, text: str) -> None:
    assert count(number, "job") == text


def test_a_count_takes_another_plural() -> None:
    assert count(2, "entry", "entries") == "2 entries"
