"""A form token belongs to one browser, one caller, one use and one secret."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_forge_jobs.auth.form_tokens import FormTokens, new_nonce
from flask_forge_jobs.auth.signing import Signer

OLD = "the older secret of the tests, long enough"
NEW = "the newer secret of the tests, long enough"


@pytest.mark.parametrize("secrets", [(), (NEW,)])
def test_it_is_good_for_what_it_was_made_for_only(secrets: tuple[str, ...]) -> None:
    app = Flask("host")
    tokens = FormTokens(Signer(secrets))
    nonce = new_nonce()
    token = tokens.token(app, "ann", nonce)

    assert tokens.matches(app, "ann", nonce, token)
    assert tokens.token(app, "ann", nonce) == token
    assert not tokens.matches(app, "bob", nonce, token)
    assert not tokens.matches(app, "ann", new_nonce(), token)
    assert not tokens.matches(app, "ann", nonce, token, "note")
    assert not tokens.matches(app, "ann", None, token)
    for other in ("", token[:-1], token + "0", token.upper(), "\xe4", "\ud800"):
        assert not tokens.matches(app, "ann", nonce, other)


def test_an_older_secret_still_counts_and_a_forgotten_one_does_not() -> None:
    app = Flask("host")
    nonce = new_nonce()
    before = FormTokens(Signer((OLD,))).token(app, "ann", nonce)
    plain = FormTokens(Signer(())).token(app, "ann", nonce)

    assert FormTokens(Signer((NEW, OLD))).matches(app, "ann", nonce, before)
    assert not FormTokens(Signer((NEW,))).matches(app, "ann", nonce, before)
    assert not FormTokens(Signer((NEW,))).matches(app, "ann", nonce, plain)
