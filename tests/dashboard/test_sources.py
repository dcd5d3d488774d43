"""Joined files: without comments and spare spaces, and with the same meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.dashboard.sources import joined, squeezed


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("// a comment\n  const a = b;", "const a=b;\n"),
        ("if (a && b) { c(); } else { d(); }", "if(a&&b){c();}else{d();}\n"),
        ('say("a = b; // c", `x = ${y}`);', 'say("a = b; // c",`x = ${y}`);\n'),
        ("a.split(/ = (?<=[.:] )/s);", "a.split(/ = (?<=[.:] )/s);\n"),
        ("x = a / b / c;", "x=a/b/c;\n"),
        ("x = a + +b - -c;", "x=a + +b - -c;\n"),
        ("x = a++ + b;", "x=a++ +b;\n"),
        ("return !a;", "return!a;\n"),
    ],
)
def test_a_script_keeps_its_meaning(text: str, left: str) -> None:
    assert squeezed(text, ".js") == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/* a\n b */\na { b: c; }\n", "a{b:c}\n"),
        ("a :hover, b > i { width: calc(1px + 2px); }",
         "a :hover,b>i{width:calc(1px + 2px)}\n"),
        ('a::after { content: " ; "; }', 'a::after{content:" ; "}\n'),
        ("@media (width: 1px) { a { b: c; } }", "@media (width:1px){a{b:c}}\n"),
    ],
)  # fmt: skip
def test_a_style_sheet_keeps_its_meaning(text: str, left: str) -> None:
    assert squeezed(text, ".css") == left


def test_files_stand_in_their_order(tmp_path: Path) -> None:
    for name in ("b", "a", "core", "start"):
        (tmp_path / f"{name}.js").write_text(f"{name}();\n")
    (tmp_path / "notes.txt").write_text("no script")

    text = joined(tmp_path, ".js", ("core",), ("start",))

    assert text == "core();a();b();start();"


def test_rules_stand_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a {\n  b: c;\n}\nd,\ne { f: g; }\n")

    assert joined(tmp_path, ".css", (), ()) == "a{b:c}d,e{f:g}"
