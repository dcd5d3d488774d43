from __future__ import annotations

import getpass
import os

import pytest

from flask_forge_jobs.cli.actor import actor


def test_the_user_has_a_name_or_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    named = actor()

    def fail() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", fail)

    assert named == "command:ada"
    assert actor() == f"command:{os.getuid()}"
