"""Tags of what a client has read, for changes that must not undo those of others."""

from __future__ import annotations

from werkzeug.http import generate_etag

from flask_forge_jobs.api.response import encode
from flask_forge_jobs.model.queues import QueueChanges, QueueSettings

_CHOSEN = ("name", *QueueChanges.__annotations__)


def settings_etag(settings: QueueSettings) -> str:
    """Return the ``ETag`` of a queue's settings, without quotes."""
    chosen = encode([getattr(settings, name) for name in _CHOSEN])
    return generate_etag(chosen)
