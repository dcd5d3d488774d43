"""Fuzzes every operation of the OpenAPI document with schemathesis, all checks on.

Run it with ``python -m tests.acceptance.fuzz --backend both --examples 500``. Each
backend gets a real gunicorn over the contract's data set, and is fuzzed without a
credential, with a viewer's and with an operator's token; examples, coverage, fuzzing
and stateful phases. The exit status is 1 when a check failed. A run is repeated with
the seed that it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.application import MANY_CLIENTS_VARIABLE
from tests.acceptance.driving import add_backend, chosen_backends
from tests.acceptance.serving import serving
from tests.conformance.seeding import seed
from tests.support.client import HOST, PREFIX, Request, send
from tests.support.commands import ROOT
from tests.support.databases import fresh_url
from tests.support.sql import Sql

# Who asks: nobody, or a token of a role.
CALLERS = ("nobody", "viewer", "operator")
PHASES = ("examples", "coverage", "fuzzing", "stateful")
EXAMPLES = 50
_COUNT = re.compile(r"(?P<count>[0-9]+) generated")


@dataclass(frozen=True, slots=True)
class Target:
    """A real server over one backend."""

    backend: str
    port: int
    tokens: dict[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one run of schemathesis ended."""

    name: str
    passed: bool
    cases: int
    seconds: float
    report: str


@contextmanager
def serving_target(backend: str, database_url: str, folder: Path) -> Iterator[Target]:
    """Serve the contract's data set under gunicorn; tokens are needed."""
    settings = DatabaseSettings.from_url(database_url)
    with closing(open_storage(settings)) as storage:
        storage.open()
        seed(storage, Sql(settings))
    made = {role: new_token(role) for role in (*CALLERS[1:], "admin")}
    entries = [
        {"id": role, "sha256": digest, "role": role}
        for role, (_token, digest) in made.items()
    ]
    with serving(
        database_url,
        folder,
        "--workers=2",
        "--worker-class=gthread",
        "--threads=4",
        # Its own limit would answer long queries before the API sees them.
        "--limit-request-line=0",
        FLASK_FORGE_JOBS_TOKENS=json.dumps(entries),
        FLASK_FORGE_JOBS_ENABLE_DEMO="true",
        **{MANY_CLIENTS_VARIABLE: "1"},
    ) as server:
        tokens = {role: token for role, (token, _digest) in made.items()}
        yield Target(backend, server.port(), tokens, folder)


def fuzz(
    target: Target,
    caller: str,
    *,
    examples: int,
    seed_number: int,
    phases: Sequence[str] = PHASES,
) -> Verdict:
    """Run schemathesis once; no operation and no check is excluded.

    Args:
        target: The server.
        caller: Who asks; one of :data:`CALLERS`.
        examples: Most generated requests per operation and phase.
        seed_number: Where the randomness starts.
        phases: What is tried; all of them by default.
    """
    description = target.folder / "openapi.json"
    description.write_bytes(_description(target))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run", str(description), f"--url=http://{HOST}:{target.port}{PREFIX}",
        "--checks=all", f"--phases={','.join(phases)}", "--mode=all",
        f"--max-examples={examples}", f"--seed={seed_number}", "--no-color",
        "--continue-on-failure", "--generation-database=none",
    ]  # fmt: skip
    if caller in target.tokens:
        command.append(f"--header=Authorization: Bearer {target.tokens[caller]}")
    environ = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.acceptance.fuzz_hooks",
        "PYTHONPATH": str(ROOT),
    }
    started_at = time.monotonic()
    finished = subprocess.run(
        command,
        cwd=target.folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    report = finished.stdout + finished.stderr
    count = _COUNT.search(report)
    return Verdict(
        name=f"{target.backend}, {caller}",
        passed=finished.returncode == 0,
        cases=int(count["count"]) if count else 0,
        seconds=time.monotonic() - started_at,
        report=report,
    )


def _description(target: Target) -> bytes:
    bearer = {"Authorization": f"Bearer {target.tokens['viewer']}"}
    answer = send(target.port, Request("GET", "/v1/openapi.json", headers=bearer))
    assert answer.status == 200, answer
    return answer.body


def _fresh_run(backend: str, caller: str, examples: int, seed_number: int) -> Verdict:
    with (
        tempfile.TemporaryDirectory(prefix="forge-fuzz-") as folder,
        fresh_url(backend) as url,
        serving_target(backend, url, Path(folder)) as target,
    ):
        return fuzz(target, caller, examples=examples, seed_number=seed_number)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Fuzz and print a line for each run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--caller", choices=(*CALLERS, "all"), default="all")
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args(arguments)
    seed_number = options.seed or random.SystemRandom().randrange(2**31)
    _say(f"seed {seed_number}, {options.examples} examples")
    callers = CALLERS if options.caller == "all" else (options.caller,)
    status = 0
    for backend in chosen_backends(options.backend):
        for caller in callers:
            verdict = _fresh_run(backend, caller, options.examples, seed_number)
            word = "passed" if verdict.passed else "FAILED"
            _say(
                f"{verdict.name}: {word}, {verdict.cases} requests in "
                f"{verdict.seconds:.0f} s"
            )
            if not verdict.passed:
                status = 1
                _say(verdict.report)
    return status


if __name__ == "__main__":
    sys.exit(main())
