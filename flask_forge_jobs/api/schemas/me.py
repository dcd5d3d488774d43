"""The caller on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas.fields import Flag, Text, V1Schema


class AllowedRouteSchema(V1Schema):
    """A route that changes something, as in the OpenAPI document."""

    method = Text()
    path = Text()


class CallerSchema(V1Schema):
    """The caller and its rights."""

    name = Text()
    roles = List(Text())
    permissions = List(Text())
    queues = List(Text(), allow_none=True)
    read_only = Flag()
    may_change = List(Nested(AllowedRouteSchema))
    version = Text()
