from __future__ import annotations

from flask_forge_jobs.config.checks import near_match


def test_near_match_names_the_closest() -> None:
    assert near_match("passwort", ["password", "path"]) == "; did you mean 'password'"


def test_near_match_is_silent_when_nothing_is_close() -> None:
    assert near_match("xyz", ["password", "path"]) == ""
