"""Names of secrets, and what it costs to look for them."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable

import pytest

from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS, Masking
from flask_forge_jobs.model.secret_keys import SecretKeys

SIZE = 8192
CRAFTED = (
    "pass-", "password ", "password=", "passwordpassword:", "tokentoken:", "tokenA",
    "pwd=", "pwd=x ", "token: ", "key='x' ", '"key": "x", ', "[[", '{"a":', "a=", "ab=",
    "=", "é=", ")=", "]=", "s", "ssssssss:", "aA", "a.b.c=", "a,b=", "(=)", "(=)token",
    "Key (token)=(x) ", "'password', ", "('password', 'x') ", ">", "<password>",
    "<password>x</password>", "--a ", "--password x ", "input_value=",
    "password\n input_value=x", "://a:", "//a:b@", "//", "eyJ", "eyJaaaaaaaa.", "sk-",
    "-----BEGIN ", "password=[", "password=(", "password={'", "password='",
    'password="\\', r"token=\'", "token=((((()))))", "Cookie: a=b; ",
    "Authorization: a b, c=", "password=a,", "password=a;b c ", "passw ", "password '",
    "Failing row contains (", "[parameters: (", "' ", '\\"=', "-",
)  # fmt: skip


def benign() -> str:
    chance, words = random.Random(3), ("connection", "refused", "row", "line", "order")
    parts = [f"{chance.choice(words)} {chance.randrange(1000)}" for _ in range(2000)]
    return f"ValueError: {' '.join(parts)}"[:SIZE]


def cpu_s(call: Callable[[], object]) -> float:
    """Return the least CPU time of some calls, which other work disturbs least."""
    taken = []
    for _ in range(7):
        begun = time.thread_time()
        call()
        taken.append(time.thread_time() - begun)
    return min(taken)


@pytest.fixture(scope="module")
def yardstick_s() -> float:
    """How long this machine visits letters in Python: 0.3 ms, when this was written."""
    text = benign() * 3
    return cpu_s(lambda: [ord(letter) for letter in text])


def test_eight_kibibytes_without_secrets_cost_little(yardstick_s: float) -> None:
    text, masking = benign(), Masking()
    masking.text("")  # compiles

    assert cpu_s(lambda: masking.text(text)) < yardstick_s


@pytest.mark.parametrize("part", CRAFTED)
def test_no_crafted_text_costs_much_more(part: str, yardstick_s: float) -> None:
    masking = Masking()
    short, long = ((part * (size // len(part) + 1))[:size] for size in (SIZE, 4 * SIZE))
    masking.text(short)  # compiles

    short_s = cpu_s(lambda: masking.text(short))
    long_s = cpu_s(lambda: masking.text(long))

    # Usually at most 3.6; beside other tests each may be off by a third.
    assert short_s < 6 * yardstick_s
    assert long_s < 7 * max(short_s, yardstick_s)


@pytest.mark.parametrize(
    ("key", "is_hidden", "is_hidden_text"),
    [
        ("key", False, True),
        ("KEY", False, True),
        ("private", False, True),
        ("card", False, True),
        ("primary_key", False, False),
        ("keys", False, False),
        ("card_id", False, False),
        ("oauth", True, True),
        ("creds", True, True),
        ("bearer", True, True),
        ("\uff50\uff41\uff53\uff53word", True, True),  # full-width letters
        ("p\u0301assword", True, True),
        ("pass\u200bword", True, True),
    ],
)
def test_some_keys_hide_texts_only(
    key: str, is_hidden: bool, is_hidden_text: bool
) -> None:
    keys = SecretKeys(DEFAULT_REDACT_KEYS)

    assert keys.hides(key) == is_hidden
    assert any(keys.hidden(key)) == is_hidden_text


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("tokenHash=", True),
        ("tokenizer=", False),
        ("TOKENIZER=", False),
        ("userPwd=", True),
        ("api key:", True),
        ("apikey:", True),
        ("card[number]=", True),
        ("compass=", False),
        ("by pass=", True),
    ],
)
def test_keys_are_found_before_a_separator(text: str, is_found: bool) -> None:
    keys = SecretKeys(DEFAULT_REDACT_KEYS)

    assert bool(keys.before_value.search(text[::-1])) == is_found


def test_no_pattern_finds_nothing() -> None:
    keys = SecretKeys(())

    assert not keys.hides("password")
    assert not keys.before_value.search("password="[::-1])


def test_long_keys_are_not_remembered() -> None:
    """A client could fill the memory with them, a mebibyte each."""
    keys = SecretKeys(["token"])
    long = "x" * 1_000_000
    tracemalloc.start()
    try:
        for number in range(20):
            assert not keys.hides(f"{number}{long}")
            assert keys.hides(f"{number}_token_{long[:500]}")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 1_000_000
