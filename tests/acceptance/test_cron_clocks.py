"""The short form of the check in ``cron_clocks``, and that it would notice."""

from __future__ import annotations

import pytest

from tests.acceptance.cron_clocks import chosen_zones, differences, distinct_jumps
from tests.support.backends import long
from tests.support.minute_walk import Spec
from tests.support.zone_walks import SPECS

WRONG = (
    Spec("30 2 * * *", lambda at: (at.hour, at.minute) == (2, 30), is_interval=True),
    Spec("0 * * * *", lambda at: at.minute == 0, is_interval=False),
)


@pytest.mark.parametrize("count", [8, long(30)])
def test_zones_fire_as_the_walk_says(count: int) -> None:
    jumps = distinct_jumps(chosen_zones(count), 2026, 2026)

    assert len(jumps) >= count
    assert list(differences(jumps, SPECS)) == []


@pytest.mark.parametrize("spec", WRONG)
def test_another_rule_at_a_jump_is_noticed(spec: Spec) -> None:
    jumps = distinct_jumps(["Europe/Berlin"], 2026, 2026)

    assert len(list(differences(jumps, [spec]))) >= 1


def test_zones_with_equal_rules_are_checked_once() -> None:
    both = distinct_jumps(["Europe/Berlin", "Europe/Paris"], 2026, 2027)

    assert set(both.values()) == {"Europe/Berlin"}
    assert len(both) == 4
