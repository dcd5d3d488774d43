"""Tags of what a client has read, for changes that must not undo those of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from flask import request
from werkzeug.http import generate_etag

from flask_forge_jobs.api.response import encode
from flask_forge_jobs.handlers.jobs import payload_value
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.cron import Schedule
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.queues import QueueChanges, QueueSettings

T = TypeVar("T")
_CHOSEN = ("name", *QueueChanges.__annotations__)


def settings_etag(settings: QueueSettings) -> str:
    """Return the ``ETag`` of a queue's settings, without quotes."""
    chosen = encode([getattr(settings, name) for name in _CHOSEN])
    return generate_etag(chosen)


def schedule_etag(schedule: Schedule, redactor: Redactor) -> str:
    """Return the ``ETag`` of a schedule's definition, without quotes.

    Its payload enters masked: a tag of the secrets would let them be guessed. While it
    is off, each change has another tag, so that the undo of one does not undo a later
    one; while it is on, its time changes with each firing.
    """
    definition = schedule.definition
    payload = payload_value(definition.payload, redactor, None)
    off_since = None if definition.enabled else to_micros(schedule.updated_at)
    tagged = [{**asdict(definition), "payload": payload}, off_since]
    return generate_etag(encode(tagged))


def expected(etag_of: Callable[[T], str]) -> Callable[[T], bool] | None:
    """Return whether a value has the ``ETag`` of ``If-Match``; None without one."""
    if "If-Match" not in request.headers:
        return None
    if_match = request.if_match
    return lambda value: if_match.contains(etag_of(value))
