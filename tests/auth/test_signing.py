"""The secrets: our own, else those of the application, read at each use."""

from __future__ import annotations

from flask import Flask

from flask_forge_jobs.auth.signing import Signer

OWN = "a secret of the tests, long enough"


def test_our_own_secrets_precede_those_of_the_application() -> None:
    app = Flask("host")
    own, theirs = Signer((OWN,)), Signer(())
    assert theirs.secrets(app) == []
    assert theirs.serializer(app, "use") is None

    app.config["SECRET_KEY"] = b"bytes"
    app.config["SECRET_KEY_FALLBACKS"] = ["older"]

    assert theirs.secrets(app) == [b"bytes", b"older"]
    assert own.secrets(app) == [OWN.encode()]
