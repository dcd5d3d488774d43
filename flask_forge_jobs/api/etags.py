"""Tags of what a client has read, for changes that must not undo those of others."""

from __future__ import annotations

from dataclasses import asdict

from werkzeug.http import generate_etag

from flask_forge_jobs.api.response import encode
from flask_forge_jobs.handlers.jobs import payload_value
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.queues import QueueChanges, QueueSettings

_CHOSEN = ("name", *QueueChanges.__annotations__)


def settings_etag(settings: QueueSettings) -> str:
    """Return the ``ETag`` of a queue's settings, without quotes."""
    chosen = encode([getattr(settings, name) for name in _CHOSEN])
    return generate_etag(chosen)


def schedule_etag(definition: ScheduleDefinition, redactor: Redactor) -> str:
    """Return the ``ETag`` of a schedule's definition, without quotes.

    Its payload enters masked: a tag of the secrets would let them be guessed.
    """
    payload = payload_value(definition.payload, redactor, None)
    return generate_etag(encode([{**asdict(definition), "payload": payload}]))
