from __future__ import annotations

import pytest

from tests.cli.console import Console
from tests.support.jobs import enqueue


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "queues show mial",
            "'mial'; did you mean 'mail'; see flask forge-jobs queues",
        ),
        (
            "queues show far",
            "no queue is named 'far'; see flask forge-jobs queues list",
        ),
        ("cron show far", "no schedule is named 'far'; see flask forge-jobs cron list"),
        ("limits drain far", "'far'; see flask forge-jobs limits list"),
    ],
)
def test_an_unknown_name_comes_with_the_way_out(
    console: Console, words: str, advice: str
) -> None:
    enqueue(console.storage, queue_name="mail")

    assert advice in console.refusal(*words.split())


def test_an_unknown_id_stands_alone(console: Console) -> None:
    enqueue(console.storage)

    assert console.refusal("jobs", "show", "x") == "Error: no job has the id 'x'\n"
