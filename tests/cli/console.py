"""An application, its storage, and its commands in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import Result
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage

_, _DIGEST = new_token("ada")
# Settings of an application that one can deploy.
SOUND = {
    "SECRET_KEY": "k" * 32,
    "FORGE_JOBS_TOKENS": [{"id": "ada", "sha256": _DIGEST, "role": "viewer"}],
}


class Console:
    """Runs the commands of one application.

    A ``url`` of None means the application's own SQLite file.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.app = Flask("shop", instance_path=str(folder))
        self.app.config.update(settings or {})
        if url is not None:
            self.app.config["FORGE_JOBS_DATABASE_URL"] = url
        self.forge = ForgeJobs(self.app)

    @property
    def storage(self) -> Storage:
        """The application's storage."""
        return state_of(self.app).storage

    def run(self, *words: str, answer: str | None = None, **env: str) -> Result:
        """Run a command as in a pipe; ``answer`` is typed when it asks."""
        return self.app.test_cli_runner().invoke(
            args=["forge-jobs", *words], input=answer, env={"COLUMNS": None, **env}
        )

    def text(self, *words: str, **env: str) -> str:
        """Return the output of a command that succeeds."""
        result = self.run(*words, **env)
        assert result.exit_code == 0, result.output
        return result.stdout

    def documents(self, *words: str) -> list[Any]:
        """Return the JSON lines of a command that succeeds."""
        return [json.loads(line) for line in self.text(*words, "--json").splitlines()]

    def refusal(self, *words: str, answer: str | None = None) -> str:
        """Return the message of a command that fails."""
        result = self.run(*words, answer=answer)
        assert result.exit_code != 0, result.output
        return result.stderr

    def entries(self) -> list[AuditRecord]:
        """Return the audit trail, the newest first."""
        return [entry.record for entry in self.storage.audit.page(AuditFilter(), 99)]
