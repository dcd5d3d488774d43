"""A shop as a process of its own, of this version or of a later one.

``SHOP_STEPS`` names schema steps beyond ours that it knows; without any it is old.
``flask --app tests.support.rolling_shop forge-jobs worker`` runs its worker. This
module is its web process, which prints the port that it listens on.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server

from flask_forge_jobs import ForgeJobs, ForgeJobsError, Principal
from tests.support.later_steps import become_later

STEPS_VARIABLE, FOLDER_VARIABLE = "SHOP_STEPS", "SHOP_FOLDER"
_LOOK_PERIOD_S = 0.01


def create_app() -> Flask:
    """Return the shop that the environment configures."""
    sorts = os.environ[STEPS_VARIABLE].split()
    become_later(*sorts)
    folder = Path(os.environ[FOLDER_VARIABLE])
    app = Flask("shop", instance_path=str(folder / "instance"))
    app.config.from_prefixed_env()
    app.config["FORGE_JOBS_AUTH"] = lambda _: Principal.with_role("ann", "admin")
    forge = ForgeJobs(app)

    def note(number: int) -> None:
        line = f"{sorts[-1] if sorts else 'old'} {number}\n"
        with (folder / "ledger").open("a", encoding="utf-8") as ledger:
            ledger.write(line)

    @forge.task
    def ship(number: int) -> None:
        note(number)

    @forge.task
    def pack(number: int) -> None:
        """Take until the test says so."""
        note(number)
        while not (folder / "packed").exists():
            time.sleep(_LOOK_PERIOD_S)

    @app.post("/<any(ship,pack):task>/<int:number>")
    def order(task: str, number: int) -> tuple[str, int]:
        try:
            return {"ship": ship, "pack": pack}[task].enqueue(number=number).id, 200
        except ForgeJobsError as error:
            return f"{type(error).__name__}: {error}", 500

    return app


if __name__ == "__main__":
    with make_server("127.0.0.1", 0, create_app(), threaded=True) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
