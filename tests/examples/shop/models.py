"""What the shop stores."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .extensions import Model


class Report(Model):
    """The orders of a day, closed by a task that runs every night."""

    __tablename__ = "report"

    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list[Order]] = relationship()


class Order(Model):
    """An order: placed, then paid or refused."""

    __tablename__ = "order"

    id: Mapped[int] = mapped_column(primary_key=True)
    card: Mapped[str]
    cents: Mapped[int]
    state: Mapped[str] = mapped_column(default="placed")
    report_id: Mapped[int | None] = mapped_column(ForeignKey(Report.id))
