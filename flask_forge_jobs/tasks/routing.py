"""Routers choose the queue of a job that names none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from flask_forge_jobs.model.bounds import DEFAULT_QUEUE

QUEUES_VARIABLE = "FORGE_QUEUES"


class Router(Protocol):
    """Chooses the queue of a kind; any function of a kind will do."""

    def __call__(self, kind: str, /) -> str:
        """Return the queue's name."""


class DefaultRouter:
    """Sends everything to the queue ``default``."""

    def __call__(self, kind: str) -> str:
        """Return ``default``."""
        del kind
        return DEFAULT_QUEUE


class KindPrefixRouter:
    """Chooses the queue by the first word of a kind, such as ``gh`` for ``gh_sync``.

    Args:
        queues: First word to queue; ``gh`` and ``slack`` by default.
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
    """Return the queues that ``FORGE_QUEUES`` lists, separated by commas.

    Args:
        environ: The environment; that of the process by default.
    """
    names = (
        (os.environ if environ is None else environ).get(QUEUES_VARIABLE, "").split(",")
    )
    return [name.strip() for name in names if name.strip()]
