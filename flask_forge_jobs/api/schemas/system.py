"""Storage facts and readiness on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas.fields import (
    Flag,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)


class StorageInfoSchema(WireSchema):
    """The backend and its facts, pairs of strings in order."""

    backend = Text()
    # marshmallow reserves the name "fields".
    pairs = List(List(Text()), attribute="fields", data_key="fields")


class ReadinessCheckSchema(V1Schema):
    """The result of one check."""

    name = Text()
    ok = Flag()
    detail = Text(allow_none=True)


class ServiceTickSchema(V1Schema):
    """The time since the last tick of a worker service."""

    name = Text()
    age_seconds = WholeNumber(attribute="whole_age_s")
    late = Flag(attribute="is_late")


class ReadinessSchema(V1Schema):
    """Whether the service is ready."""

    status = Text()
    checks = List(Nested(ReadinessCheckSchema))
    services = List(Nested(ServiceTickSchema))
