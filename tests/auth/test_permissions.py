from __future__ import annotations

from itertools import pairwise

import pytest

from flask_forge_jobs.auth.permissions import HOST, LOCAL, ROLES, Permission, Principal
from flask_forge_jobs.errors import InvalidInputError


def test_each_role_allows_what_the_one_before_it_allows() -> None:
    ladder = [ROLES[name] for name in ("metrics", "viewer", "operator", "admin")]

    assert all(lower < higher for lower, higher in pairwise(ladder))


def test_a_viewer_changes_nothing_and_an_operator_does_not_administer() -> None:
    assert ROLES["viewer"] == {Permission.READ, Permission.METRICS_READ}
    administered = {Permission.ADMIN, Permission.PAYLOAD_REVEAL}
    assert ROLES["operator"] == set(Permission) - administered


def test_an_admin_may_do_everything() -> None:
    assert ROLES["admin"] == set(Permission)


def test_with_role_gives_the_permissions_of_the_role() -> None:
    principal = Principal.with_role("ada", "operator", queues=["mail", "mail"])

    assert principal == Principal("ada", ROLES["operator"], frozenset({"mail"}))
    assert principal.may(Permission.JOBS_RETRY)
    assert not principal.may(Permission.ADMIN)


def test_with_role_is_not_limited_by_default() -> None:
    assert Principal.with_role("ada", "viewer").queues is None


def test_an_empty_set_of_queues_stays_one() -> None:
    assert Principal.with_role("ada", "viewer", queues=()).queues == frozenset()


@pytest.mark.parametrize(
    ("queues", "error"),
    [
        ("mail", TypeError),
        ({""}, InvalidInputError),
        ({"mail", " "}, InvalidInputError),
    ],
)
def test_queues_that_would_let_more_through_are_refused(
    queues: frozenset[str], error: type[Exception]
) -> None:
    """A text has its parts in it, and "" stands for the figures of all queues."""
    with pytest.raises(error):
        Principal("ada", ROLES["viewer"], queues)
    with pytest.raises(error):
        Principal.with_role("ada", "viewer", queues=queues)


def test_unknown_role_is_refused() -> None:
    with pytest.raises(KeyError):
        Principal.with_role("ada", "root")


@pytest.mark.parametrize("principal", [LOCAL, HOST])
def test_built_in_principals_may_do_everything(principal: Principal) -> None:
    assert principal.permissions == set(Permission)
    assert principal.queues is None
