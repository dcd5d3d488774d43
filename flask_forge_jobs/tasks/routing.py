"""Which queue a job goes to when nobody says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from flask_forge_jobs.model.queues import DEFAULT_QUEUE

QUEUES_VARIABLE = "FORGE_QUEUES"


class Router(Protocol):
    """Chooses the queue of a kind."""

    def __call__(self, kind: str, /) -> str:
        """Return the queue's name."""


class DefaultRouter:
    """Sends everything to the queue ``default``."""

    def __call__(self, kind: str) -> str:
        """Return ``default``."""
        del kind
        return DEFAULT_QUEUE


class KindPrefixRouter:
    """Sends a kind to the queue named like its first word.

    Args:
        queues: First word to queue; ``gh_sync`` goes to ``gh`` with the default.
    """

    def __init__(self, queues: Mapping[str, str] | None = None) -> None:
        self._queues = (
            {"gh": "gh", "slack": "slack"} if queues is None else dict(queues)
        )

    def __call__(self, kind: str) -> str:
        """Return the queue of the kind's first word, else ``default``."""
        prefix, separator, _ = kind.partition("_")
        return self._queues.get(prefix, DEFAULT_QUEUE) if separator else DEFAULT_QUEUE


def queues_from_env(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the queues named in ``FORGE_QUEUES``, trimmed and without blanks.

    Args:
        environ: Where to look; the process's environment by default.
    """
    names = (
        (os.environ if environ is None else environ).get(QUEUES_VARIABLE, "").split(",")
    )
    return [name.strip() for name in names if name.strip()]
