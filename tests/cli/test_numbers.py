from __future__ import annotations

import pytest
from click.testing import CliRunner

from flask_forge_jobs.cli.group import forge_jobs_group


@pytest.mark.parametrize(
    "words",
    [
        "worker --grace nan",
        "loadgen --rate nan",
        "limits set mail --capacity 1 --refill nan",
        "limits set mail --capacity 1 --refill inf",
    ],
)
def test_what_is_no_number_is_refused_with_the_option(words: str) -> None:
    result = CliRunner().invoke(forge_jobs_group, words.split())

    *_, option, text = words.split()
    assert result.exit_code == 2
    assert result.stderr.endswith(f"'{option}': {text} is not a number.\n")
