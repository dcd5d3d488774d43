from __future__ import annotations

from flask_forge_jobs.api.schemas.attention import AttentionSchema
from flask_forge_jobs.handlers.attention.report import report
from flask_forge_jobs.model.attention import Facts
from tests.support.facts import AT


def test_a_report_on_the_wire() -> None:
    document = AttentionSchema().dump(report(Facts(AT)))

    assert list(document) == ["at", "summary", "sentences", "left_out"]
    assert document["at"] == "2026-09-16T12:00:00Z"
    assert document["summary"]["action"] is None
