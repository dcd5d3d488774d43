"""What a filter finds and an action changes, on both backends."""

from __future__ import annotations

from tests.conftest import backend

__all__ = ["backend"]
