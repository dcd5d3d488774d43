"""Faults of a deployment, as ``flask forge-jobs doctor`` names them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: a stable code, the fact, and the remedy as a command or a step."""

    code: str
    text: str
    remedy: str
