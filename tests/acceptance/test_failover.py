"""One short trial of the driver in ``failover``."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.acceptance.failover import Trial, routed_to_a_standby


@pytest.mark.long
def test_a_standby_for_a_moment_loses_nothing_and_ends_nobody(tmp_path: Path) -> None:
    line, holds = Trial(routed_to_a_standby, down_s=2.0, lease_s=20.0).run(
        tmp_path, secrets.randbelow(1_000_000)
    )

    assert holds, line
