from __future__ import annotations

from itertools import pairwise

from flask_forge_jobs.auth.permissions import ROLES, Permission


def test_each_role_allows_what_the_one_before_it_allows() -> None:
    ladder = [ROLES[name] for name in ("metrics", "viewer", "operator", "admin")]

    assert all(lower < higher for lower, higher in pairwise(ladder))


def test_a_viewer_changes_nothing_and_an_operator_does_not_administer() -> None:
    assert ROLES["viewer"] == {Permission.READ, Permission.METRICS_READ}
    assert Permission.ADMIN not in ROLES["operator"]
    assert Permission.PAYLOAD_REVEAL not in ROLES["operator"]


def test_an_admin_may_do_everything() -> None:
    assert ROLES["admin"] == set(Permission)
