from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.sentences import SentenceSchema
from flask_forge_jobs.model.sentences import Action, Sentence

NINE = datetime(2026, 9, 16, 9, 0, tzinfo=UTC)


def written(sentence: Sentence) -> str:
    return encode(dumper(SentenceSchema())(sentence)).decode()


def test_a_sentence_shows_its_evidence_and_its_action() -> None:
    sentence = Sentence(
        "queue_paused",
        "mail is paused.",
        {"queue": "mail", "at": NINE, "jobs": [{"id": "7", "at": NINE}], "by": None},
        Action("POST", "/v1/queues/actions", "Resume mail", {"action": "resume"}),
    )

    assert written(sentence) == (
        '{"code":"queue_paused","text":"mail is paused.",'
        '"evidence":{"at":"2026-09-16T09:00:00Z","by":null,'
        '"jobs":[{"at":"2026-09-16T09:00:00Z","id":"7"}],"queue":"mail"},'
        '"action":{"method":"POST","path":"/v1/queues/actions",'
        '"body":{"action":"resume"},"label":"Resume mail"}}'
    )


def test_a_sentence_may_have_neither() -> None:
    assert written(Sentence("empty", "mail is empty.")) == (
        '{"code":"empty","text":"mail is empty.","evidence":{},"action":null}'
    )
