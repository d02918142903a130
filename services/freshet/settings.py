"""Every setting, with its default. Read from the environment (FRESHET_…) and a .env file; nothing else reads these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from freshet.domain.interactions import Kind


class Topics(BaseModel):
    """Names of the topics. `partitions` is used when Freshet creates them; products and reviews must have the same."""

    products: str = "freshet.products.v1"
    reviews: str = "freshet.reviews.v1"
    interactions: str = "freshet.interactions.v1"
    representations: str = "freshet.representations.v1"
    exposures: str = "freshet.exposures.v1"
    dead_letters: str = "freshet.dead-letters.v1"
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    replication: Annotated[int, Field(ge=1)] = 1

    def of_workers(self) -> dict[str, tuple[str, ...]]:
        """What each worker reads."""
        return {
            "catalog": (self.products, self.reviews),
            "index": (self.representations,),
            "profiles": (self.interactions,),
        }


class StreamSettings(BaseModel):
    """What a worker may hold (fetched and not yet applied: invariant 6), and how it waits."""

    batch_records: Annotated[int, Field(ge=1)] = 4_000
    fetched_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    record_bytes: Annotated[int, Field(ge=1)] = 8 * 2**20
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 15.0


class ImageSettings(BaseModel):
    """Limits on a product's picture."""

    content_bytes: int = 5 * 2**20
    fetch_seconds: float = 5.0
    redirects: int = 3
    allow_private_networks: bool = False
    file_roots: tuple[Path, ...] = ()
    """Folders that file: addresses may name. Empty: file: addresses are refused."""


class ProfileSettings(BaseModel):
    """How interactions become a profile."""

    weights: dict[str, float] = Field(
        default={
            "VIEW": 1.0,
            "CLICK": 1.0,
            "ADD_TO_CART": 2.5,
            "PURCHASE": 4.0,
            "RATING": 0.0,  # times (stars - 3): see freshet.domain.profiles
            "LIKE": 3.0,
            "DISLIKE": -3.0,
            "HIDE": -4.0,
        }
    )
    rating_weight_per_star: float = 1.5
    half_life_days: float = 14.0
    recent_products: Annotated[int, Field(ge=8, le=1024)] = 64
    covisit_window_products: Annotated[int, Field(ge=1)] = 20
    covisit_neighbours: Annotated[int, Field(ge=8)] = 64
    covisit_half_life_days: float = 30.0
    trending_half_life_hours: float = 24.0
    cached_users: int = 50_000
    cached_products: int = 50_000

    def kind_weight(self, kind: Kind) -> float:
        return self.weights.get(kind.name, 0.0)


class RecommendSettings(BaseModel):
    """The recommend service. Ports of 0 mean: any free one."""

    host: str = "127.0.0.1"
    port: int = 7070
    workers: Annotated[int, Field(ge=1)] = 1
    retrieval: Literal["auto", "exact", "index"] = "auto"
    exact_scan_products: int = 10_000
    """`auto` scans the vectors in memory up to this many products and asks the index beyond."""
    interests: int = 6
    candidates_per_source: int = 200
    queries_kept: Annotated[int, Field(ge=1)] = 4_000
    """Encodings of searches' words and pictures that a process remembers: about 2.5 kB each."""
    model_seconds: float = 0.5
    """For searches that do not say how long the model may take."""
    deadline_seconds: float = 1.0
    """For calls that come without a deadline."""
    at_least_longest_seconds: float = 30.0


class IngestSettings(BaseModel):
    host: str = "127.0.0.1"
    port: int = 7071


class ConsoleSettings(BaseModel):
    """The web page. Beyond loopback nothing is shown without the token; whatever changes something always needs it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 7072
    token: str = ""
    """Empty: one is made, and printed with the address."""
    names: tuple[str, ...] = ()
    """Names by which browsers may call it, beside the address that it listens on: those of a proxy in front of it."""
    metrics: dict[Literal["catalog", "index", "profiles", "recommend"], str] = Field(default_factory=dict)
    """Where processes answer Prometheus, as HOST:PORT. A host with several addresses is as many processes. Empty: where
    the local stack has them."""


class Settings(BaseSettings):
    """All of it. `FRESHET_KAFKA_URL`, `FRESHET_RECOMMEND__PORT` and so on."""

    model_config = SettingsConfigDict(
        env_prefix="FRESHET_", env_nested_delimiter="__", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    kafka_url: str = "kafka://127.0.0.1:9092"
    database_url: str = "sqlite:///.freshet/data/freshet.db"
    index_url: str = "milvus://127.0.0.1:19530"
    encoder_url: str = "triton://127.0.0.1:8001"
    model_dir: Path = Path(".freshet/models/current")
    """The folder that `freshet train` wrote: model.json and triton/."""
    data_dir: Path = Path(".freshet")
    """The local stack's home."""
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_port: int = 0
    """Prometheus metrics; 0 switches them off."""
    metrics_host: str = "127.0.0.1"

    otlp_endpoint: str = ""
    """Where OpenTelemetry spans go, for example http://127.0.0.1:4317 (gRPC); empty switches tracing off."""
    trace_ratio: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    """The share of published events that are traced; those that come with a trace of their own follow that."""

    topics: Topics = Topics()
    stream: StreamSettings = StreamSettings()
    images: ImageSettings = ImageSettings()
    profiles: ProfileSettings = ProfileSettings()
    recommend: RecommendSettings = RecommendSettings()
    ingest: IngestSettings = IngestSettings()
    console: ConsoleSettings = ConsoleSettings()
