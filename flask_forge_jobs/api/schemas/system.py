"""The storage's own facts on the wire."""

from __future__ import annotations

from marshmallow.fields import List

from flask_forge_jobs.api.schemas.fields import Text, WireSchema


class StorageInfo(WireSchema):
    """The backend and its facts, pairs of strings in order."""

    backend = Text()
    # marshmallow keeps the name "fields" for itself.
    pairs = List(List(Text()), attribute="fields", data_key="fields")
