"""Reports: a task that runs on a schedule."""

from __future__ import annotations

from flask import Blueprint
from sqlalchemy import select

from .extensions import db, forge
from .models import Order, Report

reports = Blueprint("reports", __name__, url_prefix="/reports")


@reports.get("/")
def index() -> list[dict[str, int]]:
    """Show the days that are closed."""
    return [
        {
            "report": report.id,
            "orders": len(report.orders),
            "cents": sum(order.cents for order in report.orders),
        }
        for report in db.session.scalars(select(Report).order_by(Report.id))
    ]


@forge.cron("0 3 * * *", timezone="Europe/Madrid", dedupe=True)
@forge.task
def close_day() -> None:
    """Put every paid order that is in no report yet into a new one."""
    is_new = (Order.state == "paid") & Order.report_id.is_(None)
    paid = db.session.scalars(select(Order).where(is_new)).all()
    db.session.add(Report(orders=list(paid)))
    db.session.commit()
