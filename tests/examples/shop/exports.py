"""Exports: a long task whose user watches a progress bar."""

from __future__ import annotations

import csv
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    redirect,
    render_template,
    send_from_directory,
    url_for,
)
from sqlalchemy import select
from werkzeug.wrappers import Response as Redirect

from flask_forge_jobs import TaskContext

from .extensions import db, forge
from .models import Order

ROW_S = 0.05  # stands for work that takes a while

exports = Blueprint("exports", __name__, url_prefix="/exports")


@exports.post("/")
def start() -> Redirect:
    """Start an export and show how far it is."""
    job = export.enqueue()
    return redirect(url_for("exports.show", job_id=job.id))


@exports.get("/<job_id>")
def show(job_id: str) -> str:
    """Show a progress bar, which asks a signed link."""
    job = forge.job(job_id)
    if not job.exists:
        abort(404)
    return render_template(
        "exports/show.html", job_id=job_id, status_url=job.status_url()
    )


@exports.post("/<job_id>/cancel")
def cancel(job_id: str) -> tuple[str, int]:
    """Stop an export, wherever it runs."""
    forge.cancel(job_id)
    return "", 204


@exports.get("/<job_id>/orders.csv")
def download(job_id: str) -> Response:
    """Return the file of an export that is done."""
    return send_from_directory(current_app.instance_path, f"{job_id}.csv")


@forge.task(queue="exports")
def export(context: TaskContext) -> dict[str, int]:
    """Write all orders to a file; ends early when it is cancelled."""
    found = db.session.scalars(select(Order).order_by(Order.id)).all()
    file = Path(current_app.instance_path, f"{context.job_id}.csv")
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["order", "cents", "state"])
        for done, order in enumerate(found, start=1):
            rows.writerow([order.id, order.cents, order.state])
            context.progress(done, len(found), f"order {order.id}")
            context.sleep(ROW_S)
    return {"orders": len(found)}
