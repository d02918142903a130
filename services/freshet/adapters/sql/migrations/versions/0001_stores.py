"""Products, encodings, reviews, profiles, behaviour and the offsets they reflect."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "product_numbers",
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("number", BIG, nullable=False, unique=True),
        comment="1, 2, 3 … in the order in which products were first heard of; never reused",
    )
    op.create_table(
        "products",
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("number", BIG, nullable=False, unique=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("price", sa.Double),
        sa.Column("available", sa.Boolean, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("image_content", sa.LargeBinary),
        sa.Column("review_stars", sa.Text, nullable=False),
        sa.Column("review_text_count", sa.Integer, nullable=False),
        sa.Column("review_text_vector_sum", sa.LargeBinary),
        sa.Column("source_topic", sa.Text),
        sa.Column("source_partition", sa.Integer),
        sa.Column("source_offset", BIG),
        sa.Column("event_time_us", BIG, nullable=False),
    )
    op.create_table(
        "encodings",
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("model_version", sa.Text, primary_key=True),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("part_sizes", sa.Text, nullable=False),
        sa.Column("parts", sa.LargeBinary, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "reviews",
        sa.Column("review_id", sa.Text, primary_key=True),
        sa.Column("product_id", sa.Text, nullable=False, index=True),
        sa.Column("rating", sa.Double),
        sa.Column("text_vector", sa.LargeBinary),
        sa.Column("event_time_us", BIG, nullable=False),
        sa.Column("event_offset", BIG, nullable=False),
    )
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("event_time_us", BIG, nullable=False),
    )
    behaviour = op.create_table(
        "behaviour",
        sa.Column("number", BIG, primary_key=True, autoincrement=False),
        sa.Column("trend", sa.Double, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_behaviour_trend", "behaviour", [behaviour.c.trend.desc()])
    op.create_table(
        "applied_offsets",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("next_offset", BIG, nullable=False),
        sa.Column("event_time_us", BIG, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "applied_offsets", "behaviour", "profiles", "reviews", "encodings", "products", "product_numbers",
    ):  # fmt: skip
        op.drop_table(table)
