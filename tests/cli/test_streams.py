from __future__ import annotations

import io

import pytest

from flask_forge_jobs.cli.streams import is_terminal
from flask_forge_jobs.cli.tables import Column, print_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_closed_stream_is_no_terminal() -> None:
    assert is_terminal(Terminal())
    assert not is_terminal(io.StringIO())
    assert not is_terminal(None)


def test_a_table_for_a_closed_output_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", None)

    print_table([Column("NAME", "name")], [{"name": "mail"}])
