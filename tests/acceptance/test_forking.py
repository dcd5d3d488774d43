"""What the producer that forks says of its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.forking import ForkingProducer

NOBODY_URL = "postgresql://127.0.0.1:1/nobody"


def test_the_error_of_a_producer_that_fails_is_told(tmp_path: Path) -> None:
    producer = ForkingProducer(NOBODY_URL, tmp_path, forks=1, duration_s=0.0, seed=1)
    try:
        with pytest.raises(ChildProcessError, match="cannot reach PostgreSQL"):
            producer.finish(60.0)
    finally:
        producer.stop()
