"""The accepting side; what is refused is tested key by key in ``test_settings``."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from flask_forge_jobs.config import checks
from flask_forge_jobs.config.checks import near_match


@pytest.mark.parametrize("value", [1, 3])
def test_integer_accepts_its_bounds(value: int) -> None:
    check, words = checks.integer(1, 3)

    assert check(value) == value
    assert words == "whole number, 1 to 3"


@pytest.mark.parametrize("value", [0, 4, True, 1.0, "1", None, math.nan])
def test_integer_refuses_everything_else(value: object) -> None:
    check, _ = checks.integer(1, 3)

    with pytest.raises(checks.RefusedError):
        check(value)


def test_seconds_returns_a_float_for_a_whole_number() -> None:
    check, _ = checks.seconds(0, 10)

    assert isinstance(check(10), float)
    assert check(0.5) == 0.5


@pytest.mark.parametrize("value", [-0.1, 10.1, math.nan, math.inf, False, "1", None])
def test_seconds_refuses_everything_else(value: object) -> None:
    check, _ = checks.seconds(0, 10)

    with pytest.raises(checks.RefusedError):
        check(value)


def test_file_or_none_returns_a_path() -> None:
    check, _ = checks.FILE_OR_NONE

    assert check("a/b.toml") == Path("a/b.toml")
    assert check(Path("c")) == Path("c")
    assert check(None) is None


@pytest.mark.parametrize(
    ("value", "kept"),
    [("/forge-jobs", "/forge-jobs"), ("/a/b", "/a/b"), ("", ""), ("/", "")],
)
def test_url_prefix_accepts_segments(value: str, kept: str) -> None:
    check, _ = checks.URL_PREFIX

    assert check(value) == kept


@pytest.mark.parametrize(
    "value",
    ["a", "/a/", "//", "/a//b", "/<x>", "/a?b", "/a#b", "/a b", "/%41", "/ü", 1],
)
def test_url_prefix_refuses_what_would_change_a_route(value: object) -> None:
    check, _ = checks.URL_PREFIX

    with pytest.raises(checks.RefusedError):
        check(value)


def test_near_match_names_the_closest() -> None:
    assert near_match("passwort", ["password", "path"]) == "; did you mean 'password'"


def test_near_match_is_silent_when_nothing_is_close() -> None:
    assert near_match("xyz", ["password", "path"]) == ""


@pytest.mark.parametrize(
    "address",
    [None, "/", "/static/logo.svg", "ops/", "?a=b", "https://wiki.example.org/x:y"],
)
def test_links_lead_to_the_web_or_this_host(address: str | None) -> None:
    assert checks.LINK_OR_NONE.read(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "", "javascript:alert(1)", "JAVASCRIPT:x", "data:text/html,x", "//evil.test",
        "java\tscript:x", " /x", "https://", "ftp://x", "\\evil.test", 1,
    ],
)  # fmt: skip
def test_links_lead_nowhere_else(address: object) -> None:
    with pytest.raises(checks.RefusedError):
        checks.LINK_OR_NONE.read(address)
    with pytest.raises(checks.RefusedError):
        checks.LINKS.read({"Runbook": address})
