"""The pytest plugin: ``pytest_plugins = "flask_forge_jobs.testing.plugin"``.

It is no entry point, as pytest would compile all modules of a package that registers a
plugin in its own way, in the runs of every project of an environment.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_forge_jobs.testing.kit import JobsKit

_MARKER = (
    "forge_jobs(mode): run jobs 'inline', after requests ('drain') or not ('queued')"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def forge_jobs(request: pytest.FixtureRequest) -> Iterator[JobsKit]:
    """The jobs of the application that the fixture ``app`` returns.

    Jobs wait until the test calls ``forge_jobs.drain()``. To run them at once, mark the
    test ``@pytest.mark.forge_jobs("inline")``; after each request, ``("drain")``.
    """
    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        if error.argname != "app":
            raise
        pytest.fail(
            "the fixture forge_jobs needs a fixture named app that returns the Flask "
            "application",
            pytrace=False,
        )
    marker = request.node.get_closest_marker("forge_jobs")
    kit = JobsKit(app, *marker.args, **marker.kwargs) if marker else JobsKit(app)
    with kit:
        yield kit
