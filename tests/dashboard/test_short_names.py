"""Shortened names: those of variables only, and one for each."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.short_names import shortened


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("const width=3;let height=width;", "const t=3;let h=t;"),
        ("let first,second=first;", "let s,t=s;"),
        ("const[left,right]=pair;", "const[t,i]=pair;"),
        ("each=>each+1;(one,...rest)=>f(one,...rest);", "e=>e+1;(a,...c)=>f(a,...c);"),
        # A variable that is used most has the shortest name.
        ("const one=1,two=one+one+one;", "const o=1,n=o+o+o;"),
        # Names that are used already stay apart.
        ("const total=a+b;", "const t=a+b;"),
    ],
)
def test_variables_get_short_names(script: str, expected: str) -> None:
    assert shortened(script) == expected


@pytest.mark.parametrize(
    "script",
    [
        "location=document.title;",
        "const name=1;e.name=name;",
        "const body=1;f({body,method});",
        "const to={left:1,width:2};left=>width=>left;".replace("to", "t"),
        "const{status}=answer;f(status);",
        "const of=1;",
        'f("const width=1",/width=>/.test(x));',
    ],
)
def test_other_names_stay(script: str) -> None:
    assert shortened(script) == script


def test_code_in_templates_is_code_and_its_texts_are_texts() -> None:
    script = 'const width=1;f(`width ${width} ${g("width")}`,"width");'

    assert shortened(script) == 'const t=1;f(`width ${t} ${g("width")}`,"width");'
