"""Callers in words; the index shows them, see its tests."""

from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.api.request import RequestState
from flask_forge_jobs.auth.permissions import HOST, LOCAL, Permission, Principal
from flask_forge_jobs.dashboard.callers import caller_of


def state(principal: Principal | None, **way: Any) -> RequestState:
    return RequestState(lambda: None, "request-1", principal=principal, **way)


@pytest.mark.parametrize(
    ("principal", "name", "role"),
    [
        (Principal.with_role("user:dana", "operator"), "dana", "operator"),
        (LOCAL, "this machine", "admin"),
        (HOST, "application login", "admin"),
        (Principal("eve", frozenset({Permission.READ})), "eve", ""),
    ],
)
def test_a_caller_has_a_name_and_a_role(
    principal: Principal, name: str, role: str
) -> None:
    caller = caller_of(state(principal))

    assert caller is not None
    assert (caller.name, caller.role, caller.queues) == (name, role, None)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_an_admin_may_see_the_audit_trail(role: str) -> None:
    caller = caller_of(state(Principal.with_role("ann", role)))

    assert caller is not None
    assert caller.may.startswith("See all but secrets and the audit trail")


def test_a_stranger_is_none() -> None:
    assert caller_of(state(None)) is None


def test_a_caller_reads_how_the_way_in_was() -> None:
    ann = Principal.with_role("ann", "viewer")

    ways = [
        caller_of(state(ann, has_token=has_token, has_session=has_session))
        for has_token, has_session in ((True, False), (False, True), (False, False))
    ]

    assert [way and way.how for way in ways] == [
        "This request carries a token.",
        "You have signed in with a token.",
        "The application's own login let you in.",
    ]


def test_a_limited_caller_reads_its_queues() -> None:
    def queues(*names: str) -> str | None:
        ann = Principal.with_role("ann", "viewer", queues=names)
        caller = caller_of(state(ann))
        assert caller is not None
        return caller.queues

    assert queues() == "none"
    assert queues("news", "mail") == "mail, news"
    many = [f"q{number:02}" for number in range(12)]
    assert queues(*many) == f"{', '.join(many[:10])} and 2 more"
