from __future__ import annotations

import pytest
from flask import Flask

from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.state import current, state_of


def make_app(name: str, forge: ForgeJobs | None = None) -> Flask:
    app = Flask(name)
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    app.config["FORGE_JOBS_LEASE_S"] = 33
    if forge is not None:
        forge.init_app(app)
    return app


def test_current_is_the_state_of_the_current_application() -> None:
    forge = ForgeJobs()
    one, two = make_app("one", forge), make_app("two", forge)

    with one.app_context():
        assert current() is state_of(one)
        with two.app_context():
            assert current() is state_of(two)


def test_applications_share_tasks_and_nothing_else() -> None:
    forge = ForgeJobs()
    one, two = state_of(make_app("one", forge)), state_of(make_app("two", forge))

    assert one.registry is two.registry is forge.registry
    assert one.storage is not two.storage


def test_no_application_context_is_explained() -> None:
    with pytest.raises(RuntimeError, match="needs an application context"):
        current()


def test_an_application_without_forge_jobs_is_explained() -> None:
    app = make_app("bare")

    with app.app_context(), pytest.raises(RuntimeError, match=r"forge\.init_app"):
        current()


def test_runtime_gets_the_settings_of_its_application() -> None:
    state = state_of(make_app("one", ForgeJobs()))

    runtime = state.runtime(threads=3)

    assert runtime.plan.storage is state.storage
    assert runtime.plan.registry is state.registry
    assert runtime.plan.scope == state.task_scope
    assert (runtime.plan.worker.threads, runtime.plan.worker.lease_s) == (3, 33)
