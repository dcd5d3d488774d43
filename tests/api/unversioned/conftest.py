"""Routes read and write through the handlers."""

from __future__ import annotations

from tests.support.backends import backend

__all__ = ["backend"]
