from __future__ import annotations

import pytest

from flask_forge_jobs.model.error_signatures import MAX_SIGNATURE_LENGTH, signature
from tests.support.costs import no_hang


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp timeout after 10s", "smtp timeout after <n>s"),
        ("user_17 and user_18", "user_<n> and user_<n>"),
        ("job 01K5A4D3E4F5G6H7J8K9M0N1P2 failed", "job <id> failed"),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "id <id>"),
        ("at 0x7f3a2b1c", "at <id>"),
        ("commit 9fceb02d0ae598e95dc9", "commit <id>"),
        ("effaced facade", "effaced facade"),
        ("two\n  lines\tand  blanks ", "two lines and blanks"),
        ("", ""),
    ],
)
def test_numbers_and_ids_make_no_difference(text: str, expected: str) -> None:
    assert signature(text) == expected


def test_a_signature_is_short() -> None:
    assert len(signature("x " * 1000)) == MAX_SIGNATURE_LENGTH


@pytest.mark.parametrize("text", ["a", "0", "0-", "f0"])
def test_hostile_text_costs_little(text: str) -> None:
    """Minutes if each start were followed to the end."""
    with no_hang():
        assert len(signature(text * 100_000)) <= MAX_SIGNATURE_LENGTH
