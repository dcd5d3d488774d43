"""Sentences for operators on the wire."""

from __future__ import annotations

from datetime import datetime

from marshmallow.fields import Nested

from flask_forge_jobs.api.schemas.fields import AnyJson, Text, V1Schema
from flask_forge_jobs.model.instants import format_instant


class Evidence(AnyJson):
    """Any JSON value whose instants are written as everywhere; keys are sorted."""

    def write(self, value: object) -> object:
        """Return the value with sorted keys and with text for instants."""
        return super().write(_with_texts(value))


class ActionSchema(V1Schema):
    """The request that helps; its path is below the mount point of the API."""

    method = Text()
    path = Text()
    body = AnyJson(allow_none=True)
    label = Text()


class SentenceSchema(V1Schema):
    """A sentence with its evidence and the action that helps, if any."""

    code = Text()
    text = Text()
    evidence = Evidence()
    action = Nested(ActionSchema, allow_none=True)


def _with_texts(value: object) -> object:
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, dict):
        return {key: _with_texts(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(each) for each in value]
    return value
