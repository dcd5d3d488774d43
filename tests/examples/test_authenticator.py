"""The authenticator that the page on deployment shows."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.commands import ROOT

STAFF = SimpleNamespace(name="ann", is_staff=True, is_superuser=False)
SUPERUSER = SimpleNamespace(name="ada", is_staff=True, is_superuser=True)
CUSTOMER = SimpleNamespace(name="eve", is_staff=False, is_superuser=False)


def _authenticate(user: object) -> Any:
    """Run the page's own code for somebody who is signed in, or for nobody."""
    page = (ROOT / "docs/howto/deploy.rst").read_text("utf-8")
    _, _, after = page.partition("   from flask_forge_jobs import Principal\n")
    code, _, _ = after.partition("   app.config")
    names: dict[str, Any] = {"session_user": lambda _: user}
    exec("from flask_forge_jobs import Principal\n" + textwrap.dedent(code), names)
    return names["authenticate"](None)


@pytest.mark.parametrize("user", [None, CUSTOMER])
def test_sec_nobody_is_a_viewer_by_being_signed_in(user: object) -> None:
    assert _authenticate(user) is None


def test_staff_may_look_and_a_superuser_may_do_everything() -> None:
    staff, superuser = _authenticate(STAFF), _authenticate(SUPERUSER)

    assert {str(each) for each in staff.permissions} == {"read", "metrics.read"}
    assert {str(each) for each in superuser.permissions} >= {"admin", "jobs.delete"}
