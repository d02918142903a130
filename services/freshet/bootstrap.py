"""The one place where settings become adapters. A URL's scheme picks the backend; nothing is connected here.

Imports the adapters inside the functions, so that a process loads only what it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from freshet.errors import ConfigurationError

if TYPE_CHECKING:
    from freshet.adapters.images import ImageLoader
    from freshet.adapters.kafka import Producer
    from freshet.adapters.triton import TritonEncoders
    from freshet.domain.representations import Layout
    from freshet.ports import CatalogStore, ProfileStore, ServingStore, VectorIndex
    from freshet.representation.manifest import Manifest
    from freshet.settings import Settings

_SQL = ("sqlite", "postgresql", "postgresql+psycopg")


def catalog_store(settings: Settings, model_version: str) -> CatalogStore:
    """The catalogue worker's state, with the encodings of one model version."""
    match _scheme(settings.database_url, "database_url", (*_SQL, "memory")):
        case "memory":
            from freshet.adapters import memory

            return memory.open_catalog_store(settings.database_url, model_version)
        case _:
            from freshet.adapters import sql

            return sql.open_catalog_store(settings.database_url, model_version)


def profile_store(settings: Settings) -> ProfileStore:
    """The profile worker's state; the index worker keeps its progress here too."""
    match _scheme(settings.database_url, "database_url", (*_SQL, "memory")):
        case "memory":
            from freshet.adapters import memory

            return memory.open_profile_store(settings.database_url)
        case _:
            from freshet.adapters import sql

            return sql.open_profile_store(settings.database_url)


def serving_store(settings: Settings) -> ServingStore:
    """What an answer reads."""
    match _scheme(settings.database_url, "database_url", (*_SQL, "memory")):
        case "memory":
            from freshet.adapters import memory

            return memory.open_serving_store(settings.database_url)
        case _:
            from freshet.adapters import sql

            return sql.open_serving_store(settings.database_url)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision. Does nothing for memory://."""
    if _scheme(settings.database_url, "database_url", (*_SQL, "memory")) != "memory":
        from freshet.adapters import sql

        sql.migrate(settings.database_url)


def vector_index(settings: Settings, layout: Layout) -> VectorIndex:
    """Nearest neighbours over one model version's vectors."""
    match _scheme(settings.index_url, "index_url", ("milvus", "milvus+tls", "memory")):
        case "memory":
            from freshet.adapters.memory_index import MemoryIndex

            return MemoryIndex(layout)
        case _:
            from freshet.adapters.milvus import MilvusIndex

            return MilvusIndex(settings.index_url, layout)


def model_manifest(settings: Settings) -> Manifest:
    """The model in `model_dir`. Raises ConfigurationError when there is none, ModelMismatch when it is not whole."""
    from freshet.representation import manifest

    return manifest.load(settings.model_dir)


def encoders(settings: Settings) -> TritonEncoders:
    """The model that Triton hosts, for products and for queries; its layout is that of the manifest in `model_dir`."""
    _scheme(settings.encoder_url, "encoder_url", ("triton",))
    from freshet.adapters.triton import TritonEncoders

    return TritonEncoders(settings.encoder_url, model_manifest(settings))


def image_loader(settings: Settings) -> ImageLoader:
    """Pictures by address, within the limits and behind the guard that the settings describe."""
    from freshet.adapters.images import ImageLoader

    return ImageLoader(settings.images)


def producer(settings: Settings, *, linger_ms: float = 0.0) -> Producer:
    """A Kafka producer. `linger_ms` trades latency for batch size; 0 suits services, 5 to 50 suits bulk loads."""
    from freshet.adapters.kafka import Producer

    return Producer(settings.kafka_url, linger_ms=linger_ms)


def _scheme(url: str, setting: str, known: tuple[str, ...]) -> str:
    scheme = urlsplit(url).scheme
    if scheme not in known:
        raise ConfigurationError(
            f"{setting} is {url!r}; it must begin with one of {', '.join(f'{name}://' for name in known)}"
        )
    return scheme
