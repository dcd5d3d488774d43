from __future__ import annotations

import re

import pytest

from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.storage.catalogue import load_statements
from flask_forge_jobs.storage.jobs.conditions import Conditions


def test_every_parameter_of_the_fragment_is_given() -> None:
    # These have the fragment's parameters, and the end of the key's range or of time.
    statements = load_statements("postgres")
    asked = {
        name
        for statement in ("count_key", "count_waiting")
        for name in re.findall(r"%\((\w+)\)s", statements[statement].sql)
    }

    assert set(Conditions(JobFilter()).parameters()) == asked
    assert set(Conditions(JobFilter()).of_combinations()) == asked


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("50% Off", r"%50\% off%"),
        ("a_b", r"%a\_b%"),
        ("c:\\x", r"%c:\\x%"),
        ("É", "%É%"),
    ],
)
def test_a_search_is_literal_and_folds_the_case_of_ascii(
    text: str, pattern: str
) -> None:
    parameters = Conditions(JobFilter(error_search=text)).parameters()

    assert parameters["error_pattern"] == pattern


def test_the_pattern_for_payloads_leaves_open_what_is_escaped() -> None:
    """Both cases of a letter are; the expression tells them from others."""
    parameters = Conditions(JobFilter(payload_search="É")).parameters()

    assert parameters["payload_pattern"] == r"%\\u____%"


@pytest.mark.parametrize(
    ("wanted", "statuses"),
    [
        (JobFilter(), set(JobStatus)),
        (JobFilter(statuses=[JobStatus.DONE]), {"done"}),
        (JobFilter(scheduled=True), {"pending"}),
        (JobFilter(scheduled=True, statuses=[JobStatus.DEAD]), {"pending", "dead"}),
        (JobFilter(slot_id="p"), {"in_progress"}),
        (JobFilter(slot_id="p", statuses=[JobStatus.DONE]), set()),
    ],
)
def test_conditions_know_which_states_can_match(
    wanted: JobFilter, statuses: set[str]
) -> None:
    assert Conditions(wanted).statuses == statuses


@pytest.mark.parametrize(
    ("wanted", "is_plain", "is_scheduled_only"),
    [
        (JobFilter(queues=["a"], statuses=[JobStatus.DONE]), True, False),
        (JobFilter(scheduled=True, kinds=["a"]), False, True),
        (JobFilter(scheduled=True, statuses=[JobStatus.DONE]), False, False),
        (JobFilter(scheduled=True, min_attempts=1), False, False),
        (JobFilter(payload_search="xx"), False, False),
        (JobFilter(dedupe_key="xx"), False, False),
    ],
)
def test_conditions_tell_what_the_counts_know(
    wanted: JobFilter, is_plain: bool, is_scheduled_only: bool
) -> None:
    conditions = Conditions(wanted)

    assert conditions.is_plain is is_plain
    assert conditions.scheduled_only is is_scheduled_only
