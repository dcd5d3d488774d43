from __future__ import annotations

import pytest

from flask_forge_jobs.cli.facts import print_facts, text_of
from tests.cli.console import Console


def test_a_line_a_fact_and_none_for_what_is_missing(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {
        "max_workers": 1200,
        "paused": False,
        "by": "ada\x07",
        "reason": None,
        "slots": [],
        "at": "2001-01-31T12:00:00.5Z",
    }

    with console.app.app_context():
        print_facts("queue mail", facts)

    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "queue mail"
    assert lines[:3] == [
        "  max workers: 1,200",
        "  paused:      no",
        "  by:          ada\\x07",
    ]
    assert lines[3].startswith("  at:          2001-01-31 12:00:00Z, ")
    assert lines[3].endswith(" ago")


def test_json_stands_on_one_line() -> None:
    assert text_of({"a": ["ü", 1.5]}) == '{"a": ["ü", 1.5]}'
