"""Reviews keep their words, their sentiment and the model that judged them; a product keeps what its reviews come to.

Reviews stored before hold no words: they keep their stars, and their words count again once the log is replayed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("products", sa.Column("review_weights", sa.Text))
    op.add_column("products", sa.Column("review_model_version", sa.Text))
    op.add_column("reviews", sa.Column("text", sa.Text))
    op.add_column("reviews", sa.Column("sentiment", sa.Integer))
    op.add_column("reviews", sa.Column("model_version", sa.Text))
    op.create_index("ix_reviews_product_time", "reviews", ["product_id", "event_time_us", "review_id"])
    op.drop_index("ix_reviews_product_id", "reviews")


def downgrade() -> None:
    op.create_index("ix_reviews_product_id", "reviews", ["product_id"])
    op.drop_index("ix_reviews_product_time", "reviews")
    for column in ("model_version", "sentiment", "text"):
        op.drop_column("reviews", column)
    for column in ("review_model_version", "review_weights"):
        op.drop_column("products", column)
