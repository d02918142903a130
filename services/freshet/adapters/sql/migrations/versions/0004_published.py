"""How far the catalogue worker has published, and up to where the representations topic must be read to have it all.

What was applied before counts as published and read.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "published_offsets",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("next_offset", BIG, nullable=False),
        sa.Column("ends", sa.Text, nullable=False),
    )
    op.execute(
        "INSERT INTO published_offsets (topic, partition, next_offset, ends)"
        " SELECT topic, partition, next_offset, '{}' FROM applied_offsets WHERE worker = 'catalog'"
    )


def downgrade() -> None:
    op.drop_table("published_offsets")
