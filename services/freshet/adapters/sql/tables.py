"""The tables, as SQLAlchemy metadata: what revisions in migrations/ must add up to. Imports SQLAlchemy only.

Text columns beside a blob are for a person who looks; nothing reads them back.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Big = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite's INTEGER has 64 bits, and only a column of that very name is its row's own key."""

PRODUCT_NUMBERS = Table(
    "product_numbers",
    METADATA,
    Column("product_id", Text, primary_key=True),
    Column("number", Big, nullable=False, unique=True),
    comment="1, 2, 3 … in the order in which products were first heard of; never reused",
)

PRODUCTS = Table(
    "products",
    METADATA,
    Column("product_id", Text, primary_key=True),
    Column("number", Big, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("price", Double),
    Column("available", Boolean, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("document", Text, nullable=False),  # JSON of the ProductState, without the picture's bytes
    Column("image_content", LargeBinary),
    Column("review_stars", Text, nullable=False),  # JSON, [ones, twos, …, fives]
    Column("review_text_count", Integer, nullable=False),
    Column("review_text_vector_sum", LargeBinary),  # float32, little-endian, weighed: subtracting must undo adding
    Column("source_topic", Text),
    Column("source_partition", Integer),
    Column("source_offset", Big),
    Column("event_time_us", Big, nullable=False),
    Column("review_weights", Text),  # JSON of freshet.domain.reviews.Weighed without its vector
    Column("review_model_version", Text),
)

ENCODINGS = Table(
    "encodings",
    METADATA,
    Column("product_id", Text, primary_key=True),
    Column("model_version", Text, primary_key=True),
    Column("inputs", Text, nullable=False),  # JSON, modality → digest in hex
    Column("part_sizes", Text, nullable=False),  # JSON, modality → dimensions, in the order of `parts`
    Column("parts", LargeBinary, nullable=False),  # float16, little-endian, one after the other
    Column("vector", LargeBinary, nullable=False),  # float16, little-endian
)

REVIEWS = Table(
    "reviews",
    METADATA,
    Column("review_id", Text, primary_key=True),
    Column("product_id", Text, nullable=False),
    Column("rating", Double),
    Column("text_vector", LargeBinary),  # float32, little-endian
    Column("event_time_us", Big, nullable=False),
    Column("event_offset", Big, nullable=False),
    Column("text", Text),
    Column("sentiment", Integer),  # thousandths
    Column("model_version", Text),
)
Index("ix_reviews_product_time", REVIEWS.c.product_id, REVIEWS.c.event_time_us, REVIEWS.c.review_id)

PROFILES = Table(
    "profiles",
    METADATA,
    Column("user_id", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("event_time_us", Big, nullable=False),
)

BEHAVIOUR = Table(
    "behaviour",
    METADATA,
    Column("number", Big, primary_key=True, autoincrement=False),
    Column("lane", Integer, primary_key=True, autoincrement=False),  # whose count: readers add the lanes up
    Column("trend", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
Index("ix_behaviour_trend", BEHAVIOUR.c.trend.desc())

APPLIED_OFFSETS = Table(
    "applied_offsets",
    METADATA,
    Column("worker", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", Big, nullable=False),
    Column("event_time_us", Big, nullable=False),
)

PUBLISHED_OFFSETS = Table(
    "published_offsets",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", Big, nullable=False),
    Column("ends", Text, nullable=False),
)
