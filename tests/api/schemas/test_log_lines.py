from __future__ import annotations

from flask_forge_jobs.api.schemas.log_lines import LogLinesSchema
from flask_forge_jobs.handlers.log_lines import LogLines
from flask_forge_jobs.model.run_logs import StoredLine


def test_a_page_of_lines_on_the_wire() -> None:
    line = StoredLine(2, 1, 7, 1_500_000, "INFO", "shop", "sent")

    assert LogLinesSchema().dump(LogLines([line], "2-7", True, True)) == {
        "lines": [
            {
                "at": "1970-01-01T00:00:01.500Z",
                "level": "INFO",
                "message": "sent",
                "logger": "shop",
                "run": 2,
                "attempt": 1,
                "line": 7,
            }
        ],
        "next": "2-7",
        "is_complete": True,
    }
