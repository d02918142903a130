"""Behaviour is counted in lanes, one per profile worker, and added up by who reads it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.execute("CREATE TABLE behaviour_before AS SELECT number, trend, data FROM behaviour")
    op.drop_table("behaviour")
    behaviour = op.create_table(
        "behaviour",
        sa.Column("number", BIG, primary_key=True, autoincrement=False),
        sa.Column("lane", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("trend", sa.Double, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_behaviour_trend", "behaviour", [behaviour.c.trend.desc()])
    op.execute("INSERT INTO behaviour (number, lane, trend, data) SELECT number, 0, trend, data FROM behaviour_before")
    op.drop_table("behaviour_before")


def downgrade() -> None:
    """Keeps the counts of lane 0; those of other lanes cannot be added up here."""
    op.execute("CREATE TABLE behaviour_before AS SELECT number, trend, data FROM behaviour WHERE lane = 0")
    op.drop_table("behaviour")
    behaviour = op.create_table(
        "behaviour",
        sa.Column("number", BIG, primary_key=True, autoincrement=False),
        sa.Column("trend", sa.Double, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_behaviour_trend", "behaviour", [behaviour.c.trend.desc()])
    op.execute("INSERT INTO behaviour (number, trend, data) SELECT number, trend, data FROM behaviour_before")
    op.drop_table("behaviour_before")
