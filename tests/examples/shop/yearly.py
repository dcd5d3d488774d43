"""Yearly reports: 50 jobs that are one thing to the user who waits for it."""

from __future__ import annotations

import csv
from pathlib import Path

from flask import Blueprint, Response, abort, current_app, send_from_directory
from sqlalchemy import select

from flask_forge_jobs import BatchNotFoundError, EndedBatch

from .extensions import db, forge
from .models import Order

PARTS = 50

yearly = Blueprint("yearly", __name__, url_prefix="/yearly")


class WrongAmountError(Exception):
    """An order has an amount that an accountant has to correct first."""


@yearly.post("/")
def start() -> tuple[dict[str, object], int]:
    """Start a report: its parts are stored together, or none is."""
    with forge.batch("yearly report", on_success=write_report) as batch:
        parts = batch.add_many(add_up.job(part) for part in range(PARTS))
    return {"report": batch.id, "parts": [part.id for part in parts]}, 202


@yearly.get("/<batch_id>")
def show(batch_id: str) -> dict[str, object]:
    """Show how far a report is, and which parts are dead."""
    batch = forge.batch_of(batch_id)
    try:
        counts = batch.counts
    except BatchNotFoundError:
        abort(404)
    return {
        "state": batch.state,
        "percent": 100 * counts.done // counts.total,
        "dead": [part.id for part in batch.jobs(status="dead")],
    }


@yearly.post("/<batch_id>/retry")
def retry(batch_id: str) -> dict[str, int]:
    """Run the dead parts again; the report is written once none is dead."""
    return {"parts": forge.batch_of(batch_id).retry()}


@yearly.get("/<batch_id>/parts.csv")
def download(batch_id: str) -> Response:
    """Return the file of a report that is done."""
    return send_from_directory(current_app.instance_path, f"{batch_id}.csv")


@forge.task(queue="reports", max_attempts=1)
def add_up(part: int) -> dict[str, int]:
    """Add up every fiftieth order."""
    chosen = select(Order).where(Order.id % PARTS == part, Order.state == "paid")
    orders = db.session.scalars(chosen).all()
    for order in orders:
        if order.cents <= 0:
            raise WrongAmountError(f"order {order.id} has {order.cents} cents")
    return {"part": part, "cents": sum(order.cents for order in orders)}


@forge.task(queue="reports")
def write_report(ended: EndedBatch) -> None:
    """Write the results of all parts into one file."""
    file = Path(current_app.instance_path, f"{ended['id']}.csv")
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["part", "cents"])
        for result in forge.batch_of(ended["id"]).results():
            rows.writerow([result["part"], result["cents"]])
