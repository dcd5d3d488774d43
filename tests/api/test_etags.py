from __future__ import annotations

from flask_forge_jobs.api.etags import settings_etag
from flask_forge_jobs.model.queues import QueueSettings


def test_the_tag_belongs_to_one_queue_and_its_settings() -> None:
    tag = settings_etag(QueueSettings("a"))

    assert tag == settings_etag(QueueSettings("a", throttle_attempts=3))
    assert tag != settings_etag(QueueSettings("b"))
    assert tag != settings_etag(QueueSettings("a", max_workers=3))
