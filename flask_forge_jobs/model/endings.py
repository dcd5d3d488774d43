"""Ending: whether a job that is not done was given up or cancelled."""

from __future__ import annotations

from flask_forge_jobs.model.bounds import Choice


class Ending(Choice):
    """How a job ends without being done; both have the status ``dead``."""

    DEAD = "dead"
    CANCELLED = "cancelled"
