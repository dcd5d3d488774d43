"""What else masking does is tested through the redactor that answers go through."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS, REDACTED, Masking

WORDS = [name for name in DEFAULT_REDACT_KEYS if not name.startswith("=")]


@pytest.mark.parametrize("name", WORDS)
def test_every_default_name_is_found_in_keys_and_in_prose(name: str) -> None:
    masking = Masking()

    assert masking.hides(name.upper())
    assert masking.hides(f"my_{name}s")
    assert masking.text(f"{name}=hunter2") == f"{name}={REDACTED}"
    assert masking.text(f"my_{name}s: hunter2") == f"my_{name}s: {REDACTED}"


@pytest.mark.parametrize(
    "text",
    ["", "mail", "send_welcome", "a.b-c", "password", "1_000", "x--password", "é.ü",
     "ghp_" + "a" * 36, "a-sk-" + "b" * 24, "fj_a_" + "b" * 43],
)  # fmt: skip
def test_a_name_is_masked_as_any_text(text: str) -> None:
    masking = Masking()
    slowly = masking._replaced(text, masking._values(text))

    assert masking.text(text) == masking._by_form(slowly)


def test_short_names_hit_whole_words_only() -> None:
    masking = Masking(["pin", "order"])

    assert [masking.hides(key) for key in ("pin", "user_pins", "shipping")] == [
        True, True, False,
    ]  # fmt: skip
    assert [masking.hides(key) for key in ("preorder", "reorders", "orderly")] == [
        True, True, False,
    ]  # fmt: skip
    assert masking.text("pin=1 shipping=2") == f"pin={REDACTED} shipping=2"


def test_json_in_prose_is_left_alone_where_nothing_is_hidden() -> None:
    text = 'sent {"a":[1, 2],  "b":{}} and [["x"]]'

    assert Masking().text(text) == text


@pytest.mark.parametrize("most", range(12))
def test_the_beginning_of_a_value_shows_no_secret(most: int) -> None:
    masking = Masking()
    value = {
        "headers": [{"value": "hunter2", "name": "password"}, ["token", "hunter2"]],
        "password": "hunter2",
        "rows": list(range(9)),
    }

    shown = masking.masked_beginning(value, masking.datum, most)

    assert "hunter2" not in str(shown)
    assert str(shown).count(",") <= most


def test_a_short_value_is_its_own_beginning() -> None:
    masking = Masking()
    value = {"a": [1, {"token": "x", "b": None}], "c": "d"}

    shown = masking.masked_beginning(value, masking.datum, 100)

    assert shown == masking.masked(value, masking.datum)
