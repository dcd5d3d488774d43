"""The attention report, on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas.fields import Instant, V1Schema, WholeNumber
from flask_forge_jobs.api.schemas.sentences import SentenceSchema


class AttentionSchema(V1Schema):
    """Sentences, the worst first, and a summary with numbers that prove it."""

    at = Instant()
    summary = Nested(SentenceSchema)
    sentences = List(Nested(SentenceSchema))
    left_out = WholeNumber()
