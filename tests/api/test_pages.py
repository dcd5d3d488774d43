from __future__ import annotations

from flask import Request
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.api.pages import next_link


def test_the_next_page_has_everything_but_the_cursor_in_common() -> None:
    builder = EnvironBuilder(
        path="/forge jobs/v1/jobs",
        base_url="http://host/app",
        query_string="kind=a%26b&kind=c&cursor=old&q=%C3%BC",
    )

    link = next_link(Request(builder.get_environ()), "new-1")

    assert link == (
        "</app/forge%20jobs/v1/jobs?kind=a%26b&kind=c&q=%C3%BC&cursor=new-1>; "
        'rel="next"'
    )
