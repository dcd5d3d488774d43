from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.endings import Ending


def test_an_ending_is_read_by_its_word() -> None:
    assert Ending.parse("cancelled", "ending") is Ending.CANCELLED


def test_another_word_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInputError, match="'done' is not one of dead, cancelled"):
        Ending.parse("done", "ending")
