"""The forms of a page: where they go, their hidden fields, and who may send them."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.form_tokens import NONCE_COOKIE
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.forms.inputs import Forms
from flask_forge_jobs.model.sentences import Action
from tests.api.faulty import faulty_storage
from tests.api.mounting import LINK_SECRETS

UNASKED = faulty_storage(AssertionError("the storage was asked"))
NONCE = "n" * 22


def _api(**options: object) -> Api:
    chosen = BlueprintOptions(link_secrets=LINK_SECRETS, **options)  # type: ignore[arg-type]
    return Api(UNASKED, chosen, all_routes(enable_demo=False))


def _forms(
    role: str = "operator", queues: list[str] | None = None, **options: object
) -> Forms:
    """Return the forms of the current request."""
    state: RequestState = present_state()
    state.principal = Principal.with_role("ann", role, queues=queues)
    return Forms(_api(**options), state, "../", "jobs?status=dead&q=%22")


@pytest.fixture(autouse=True)
def request_of_a_page() -> object:
    with Flask("host").test_request_context(
        "/", headers={"Cookie": f"{NONCE_COOKIE}={NONCE}"}
    ):
        yield


def test_a_form_goes_to_the_route_of_its_endpoint() -> None:
    forms = _forms()

    retry = forms.to("v1_job_retry", {"job_id": "01J"})
    queue = forms.to("v1_delete_queue", {"name": "a/b ä", "force": 1, "none": None})

    assert retry.action == "../do/post/v1/jobs/01J/retry"
    assert queue.action == "../do/delete/v1/queues/a%2Fb%20%C3%A4?force=1"
    assert retry.hidden == (
        f'<input type="hidden" name="_token" value="{forms.token()}">'
        '<input type="hidden" name="_back" value="jobs?status=dead&amp;q=%22">'
    )
    assert queue.hidden is retry.hidden  # a list has many forms
    with pytest.raises(KeyError):
        forms.to("v1_none", {})
    with pytest.raises(KeyError):
        forms.to("v1_job_retry", {})


def test_the_action_of_a_sentence_is_a_form_with_its_body() -> None:
    forms = _forms()
    body = {"action": "resume", "queues": ['<"&>']}

    resume = forms.of(Action("POST", "/v1/queues/actions", "Resume", body))
    more = forms.of(
        Action("PATCH", "/v1/queues/a%20b", "Add slots", {"max_workers": 2})
    )
    run = forms.of(Action("POST", "/v1/cron/nightly/trigger", "Run now"))

    assert resume is not None
    assert more is not None
    assert run is not None
    assert resume.action == "../do/post/v1/queues/actions"
    assert more.action == "../do/patch/v1/queues/a%20b"
    assert run.action == "../do/post/v1/cron/nightly/trigger"
    assert "&lt;\\&#34;&amp;&gt;" in resume.hidden
    assert "_body" not in run.hidden
    assert forms.of(Action("GET", "/v1/workers", "Show workers")) is None
    with pytest.raises(LookupError, match="POST /v1/none is no change"):
        forms.of(Action("POST", "/v1/none", "Do"))


@pytest.mark.parametrize(
    ("role", "queues", "options", "allowed"),
    [
        ("operator", None, {}, [True, True, True, True]),
        ("viewer", None, {}, [False, False, False, False]),
        ("admin", None, {"read_only": True}, [False, False, False, False]),
        ("operator", ["mail"], {}, [True, False, True, False]),
    ],
)
def test_no_form_is_offered_to_a_caller_who_may_not_send_it(
    role: str, queues: list[str] | None, options: dict[str, object], allowed: list[bool]
) -> None:
    forms = _forms(role, queues, **options)
    pause = {"action": "pause"}

    offered = [
        forms.to("v1_change_queue", {"name": "mail"}),
        forms.to("v1_change_queue", {"name": "other"}),
        forms.of(Action("POST", "/v1/queues/actions", "Pause", pause)),
        forms.to("v1_cron_trigger", {"name": "nightly"}),
    ]

    assert [form is not None and form.allowed for form in offered] == allowed


def test_a_stranger_is_offered_nothing() -> None:
    forms = Forms(_api(), present_state(), "./", "")

    assert not forms.to("v1_job_retry", {"job_id": "01J"}).allowed


def test_a_browser_without_a_nonce_gets_one_for_all_forms_of_the_page() -> None:
    app = Flask("host")
    tokens: list[str] = []

    @app.get("/")
    def show() -> str:
        for _ in range(2):
            forms = _forms()
            tokens.extend([forms.token(), forms.token()])
        return ""

    client = app.test_client()
    first = client.get("/")
    second = client.get("/")
    over_https = app.test_client().get("/", base_url="https://localhost")

    assert len(set(tokens[:8])) == 1
    assert len(first.headers.getlist("Set-Cookie")) == 1
    cookie = first.headers["Set-Cookie"]
    assert cookie.startswith(f"{NONCE_COOKIE}=")
    for part in ("HttpOnly", "Path=/", "SameSite=Lax"):
        assert part in cookie
    assert "Secure" not in cookie
    assert "Set-Cookie" not in second.headers
    assert "Secure" in over_https.headers["Set-Cookie"]
