"""The lists of the overview are short, ordered, and say how much there is."""

from __future__ import annotations

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.overview.view import MAX_QUEUES
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import parsed
from tests.dashboard.sites import open_page


def test_of_many_queues_those_with_most_to_do_are_shown(storage: Storage) -> None:
    jobs = [NewJob("send", queue_name=f"queue-{number:02}") for number in range(20)]
    # At once: those whose jobs wait for longest come first.
    storage.jobs.enqueue_many([*jobs, jobs[-1]])
    client = client_of_principal(storage, Principal.with_role("root", "admin"))

    block = parsed(open_page(client, f"{PREFIX}/?only=queues").text).find("#queues")

    names = [row.find("th").text for row in block.find("tbody").all("tr")]
    assert len(names) == MAX_QUEUES
    assert names[0] == "queue-19"
    assert block.find("header").find("a").text == "All 20"
