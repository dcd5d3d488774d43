from __future__ import annotations

import click
import pytest

from flask_forge_jobs.cli.tables import (
    STYLES,
    Column,
    Row,
    print_table,
    span,
    table_lines,
)

COLUMNS = (
    Column("ID", "id"),
    Column("KIND", "kind", is_elastic=True),
    Column("COUNT", "count", is_number=True),
    Column("ERROR", "error", is_elastic=True),
)
ROW = {"id": "J" * 26, "kind": "k" * 30, "count": 12345, "error": "e" * 60}


def lines(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, *rows: Row
) -> list[str]:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    return list(table_lines(COLUMNS, rows))


def test_numbers_stand_right_and_nothing_is_cut_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head, line, short = lines(monkeypatch, None, ROW, {**ROW, "count": 1})

    assert head.split() == ["ID", "KIND", "COUNT", "ERROR"]
    assert line == f"{'J' * 26}  {'k' * 30}  12,345  {'e' * 60}"
    assert short[60:66] == "     1"


@pytest.mark.parametrize(
    ("columns", "width"),
    [("20", 80), ("80", 80), ("90", 90), ("100", 100), ("300", 100)],
)
def test_a_table_fits_its_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    head, line = lines(monkeypatch, columns, ROW)

    assert len(line) == width
    assert line.startswith("J" * 26)
    assert "12,345" in line
    # The widest columns are cut alike.
    kind, error = line.split()[1], line.split()[3]
    assert abs(len(kind) - len(error)) <= 1 or kind == "k" * 30
    assert line.endswith("…")
    assert len(head) <= width


def test_a_table_of_rigid_columns_stays_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rigid = (Column("A", "id"), Column("B", "error"))

    _, line = table_lines(rigid, [ROW])

    assert len(line) == 26 + 2 + 60


def test_wide_characters_take_two_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, ascii_ = (
        {**ROW, "kind": kind, "error": "x"} for kind in ("日本語", "abcdef")
    )

    _, first, second = lines(monkeypatch, None, wide, ascii_)

    assert len(second) - len(first) == 3


def test_foreign_text_is_escaped_and_values_have_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = {"id": "\x1b[31mJ", "kind": True, "count": None, "error": ""}

    _, line = lines(monkeypatch, None, hostile)

    assert line.split() == ["\\x1b[31mJ", "yes", "-", "-"]


def test_states_are_coloured_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (Column("STATUS", "status"),)

    (_, line) = table_lines(columns, [{"status": "dead"}])
    print_table(columns, [{"status": "dead"}])

    assert line == click.style("dead", fg="bright_red")
    assert capsys.readouterr().out == "STATUS\ndead\n"


# Bright red of terminals, which all draw on black and on white.
BRIGHT_REDS = {
    "xterm": 0xFF0000, "Linux console": 0xFF5555, "macOS": 0xE50000,
    "GNOME": 0xF66151, "Visual Studio Code": 0xF14C4C, "Windows Terminal": 0xE74856,
}  # fmt: skip


@pytest.mark.parametrize("terminal", BRIGHT_REDS)
def test_styles_are_readable_on_black_and_on_white(terminal: str) -> None:
    """Bold has the colour of the text, so it always is."""
    assert {style.get("fg", "text") for style in STYLES.values()} == {
        "bright_red", "text"
    }  # fmt: skip
    assert not any("bg" in style for style in STYLES.values())

    light = luminance(BRIGHT_REDS[terminal])

    assert (light + 0.05) / 0.05 >= 3
    assert 1.05 / (light + 0.05) >= 3


def luminance(rgb: int) -> float:
    """Return the relative luminance of a colour, by WCAG 2."""
    parts = [(rgb >> shift & 0xFF) / 255 for shift in (16, 8, 0)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return sum(
        w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


def test_a_span_in_words() -> None:
    assert span("ms")({"ms": 1500}) == "1.5s"
    assert span("ms")({"ms": 0.01}) == "<0.1ms"
    assert span("ms")({"ms": None}) == "-"
