"""Send forms as a browser does: with the cookie and the token of a page."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.forms import BACK_FIELD, TOKEN_FIELD
from flask_forge_jobs.auth.form_tokens import NONCE_COOKIE, FormTokens, new_nonce
from flask_forge_jobs.auth.signing import Signer
from tests.api.mounting import LINK_SECRETS, PREFIX
from tests.dashboard.sites import PERSON

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
TOKENS = FormTokens(Signer(LINK_SECRETS))
BACK = "queues?sort=name"


def token_of_browser(client: FlaskClient) -> dict[str, str]:
    """Return the hidden field of a form that sets a cookie of this browser."""
    nonce = new_nonce()
    client.set_cookie(NONCE_COOKIE, nonce)
    return {TOKEN_FIELD: TOKENS.token(client.application, "", nonce)}


class Sender:
    """A browser with a page open; ``caller`` is the id of its user."""

    def __init__(self, client: FlaskClient, caller: str = "ci") -> None:
        self.client = client
        self.nonce = new_nonce()
        client.set_cookie(NONCE_COOKIE, self.nonce)
        # Programs prove with it that they are none.
        client.environ_base.pop("HTTP_X_FORGE_JOBS", None)
        self.token = TOKENS.token(client.application, caller, self.nonce)

    def send(
        self,
        path: str,
        fields: object = (),
        *,
        headers: dict[str, str] | None = None,
        **hidden: str | None,
    ) -> TestResponse:
        """Send a form to ``do/<path>``; ``hidden`` changes its hidden fields."""
        own = {TOKEN_FIELD: self.token, BACK_FIELD: BACK, **hidden}
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)  # type: ignore[call-overload]
        pairs += [(name, text) for name, text in own.items() if text is not None]
        data: dict[str, list[Any]] = {}
        for name, text in pairs:
            data.setdefault(name, []).append(text)
        return self.client.post(
            f"{PREFIX}/do/{path}",
            data=data,
            headers={**PERSON, **SAME_SITE, **(headers or {})},
            content_type="application/x-www-form-urlencoded",
        )


def where(answer: TestResponse) -> str:
    """Return the path that a redirect leads to, as a browser resolves it."""
    assert answer.status_code == 303, answer.text
    return urljoin(answer.request.path, answer.headers["Location"])


def values(page: str) -> dict[str, str]:
    """Return the values of the fields in the main part of a page."""
    main = page.partition("<main")[2]
    return dict(re.findall(r'<input[^>]*? name="([^"]+)" value="([^"]*)"', main))
