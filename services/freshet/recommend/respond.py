"""From a ranking to the contract's answer: facts, contributions, reasons. May import the contract, `mirror`, `rank`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from freshet.codec.events import timestamp
from freshet.domain.interactions import Kind
from freshet.domain.progress import Progress
from freshet.domain.scoring import part_names
from freshet.domain.searching import PARTS
from freshet.recommend.candidates import SOURCES
from freshet.recommend.mirror import Mirror
from freshet.recommend.rank import Ranking
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import stream_pb2

_DID = {
    Kind.VIEW: "you viewed",
    Kind.CLICK: "you looked at",
    Kind.ADD_TO_CART: "you put into your basket",
    Kind.PURCHASE: "you bought",
    Kind.RATING: "you rated",
    Kind.LIKE: "you liked",
}
_LIKE = {
    "text": "Described like",
    "image": "Looks like",
    "price": "Priced like",
    "reviews": "Reviewed like",
    "joint": "Much like",
    "terms": "Described like",
    "behaviour": "Chosen by others who chose",
}
_FITS = {
    "text": "Fits what the words mean.",
    "caption": "Its picture fits the words.",
    "image": "Looks like the picture.",
    "trending": "Popular right now.",
}
_SOURCES_OF_MASK = [[source for i, source in enumerate(SOURCES) if mask >> i & 1] for mask in range(1 << len(SOURCES))]


@dataclass(frozen=True, slots=True)
class Truth:
    """What an answer is true of; becomes the contract's Freshness."""

    interactions: Mapping[tuple[str, int], Progress] = field(default_factory=dict)
    profile_event_time_us: int = 0
    at_least_reached: bool = True
    waited_seconds: float = 0.0
    degraded: tuple[str, ...] = ()


def freshness(mirror: Mirror, truth: Truth, interactions_topic: str) -> pb.Freshness:
    """Places in Kafka that the answer reflects. Read the truth before the data it speaks of."""
    message = pb.Freshness(
        interactions=[
            stream_pb2.Position(topic=topic, partition=partition, offset=progress.next_offset)
            for (topic, partition), progress in truth.interactions.items()
            if topic == interactions_topic
        ],
        representations=[
            stream_pb2.Position(topic=mirror.topic, partition=partition, offset=offset)
            for partition, offset in mirror.positions.items()
        ],
        model_version=mirror.layout.model_version,
        at_least_reached=truth.at_least_reached,
        degraded=bool(truth.degraded),
        degraded_reasons=truth.degraded,
    )
    if truth.profile_event_time_us:
        message.profile_event_time.CopyFrom(timestamp(truth.profile_event_time_us))
    if mirror.event_time_us:
        message.catalogue_event_time.CopyFrom(timestamp(mirror.event_time_us))
    waited_us = round(truth.waited_seconds * 1e6)
    message.waited.CopyFrom(Duration(seconds=waited_us // 1_000_000, nanos=waited_us % 1_000_000 * 1_000))
    return message


def products(
    mirror: Mirror, ranking: Ranking, places: NDArray[np.intp], kinds: Mapping[int, int], basis: pb.Basis
) -> list[pb.RecommendedProduct]:
    """The products at these places. `kinds` gives, by row, what the shopper did with a product last."""
    names = part_names(mirror.layout)
    contributions = ranking.contributions(mirror, places).tolist()
    because = ranking.because(mirror, places)
    return [
        _product(mirror, ranking, place, sorted(zip(values, names, strict=True), reverse=True), row, kinds, basis)
        for place, values, row in zip(places.tolist(), contributions, because, strict=True)
    ]


def _product(
    mirror: Mirror,
    ranking: Ranking,
    place: int,
    parts: Sequence[tuple[float, str]],
    because: int,
    kinds: Mapping[int, int],
    basis: pb.Basis,
) -> pb.RecommendedProduct:
    shown = [(value, name) for value, name in parts if value != 0.0]
    message = _described(mirror, int(ranking.rows[place]), int(ranking.sources[place]), shown)
    if because >= 0:
        message.because_product_id = mirror.facts(because).product_id
    message.reason = _reason(mirror, shown, because, kinds, basis)
    return message


def found_products(
    mirror: Mirror,
    words: Mapping[str, int],
    rows: NDArray[np.intp],
    sources: NDArray[np.uint8],
    parts: NDArray[np.float64],
) -> list[pb.RecommendedProduct]:
    """A search's products: `words` are the query's, `parts` (products, parts) what adds up to each score."""
    messages = []
    for row, mask, values in zip(rows.tolist(), sources.tolist(), parts.tolist(), strict=True):
        shown = sorted(((value, name) for value, name in zip(values, PARTS, strict=True) if value != 0.0), reverse=True)
        message = _described(mirror, row, mask, shown)
        message.reason = _fits(mirror, words, row, shown)
        messages.append(message)
    return messages


def _fits(mirror: Mirror, words: Mapping[str, int], row: int, shown: Sequence[tuple[float, str]]) -> str:
    """One sentence that says why a product was found."""
    if not shown or shown[0][0] <= 0.0:
        return "Nothing fits better."
    if shown[0][1] != "terms":
        return _FITS[shown[0][1]]
    having = mirror.lexicon.having(words, row)
    return f"Has {', '.join(f'“{word}”' for word in having[:5])}." if having else "Has words like these."


def _described(mirror: Mirror, row: int, mask: int, shown: Sequence[tuple[float, str]]) -> pb.RecommendedProduct:
    """A product's facts and its score, the sum of what is `shown`, which is sorted."""
    facts = mirror.facts(row)
    score = 0.0
    for value, _ in shown:
        score += value
    return pb.RecommendedProduct(
        product_id=facts.product_id,
        score=score,
        contributions=[pb.Contribution(modality=name, value=value) for value, name in shown],
        title=facts.title,
        brand=facts.brand,
        categories=facts.categories,
        price=facts.price,
        currency=facts.currency,
        image_uri=facts.image_uri,
        sources=_SOURCES_OF_MASK[mask],
        review_count=facts.review_count,
        rating=facts.rating,
        review_sentiment=facts.review_sentiment,
    )


def _reason(
    mirror: Mirror, shown: Sequence[tuple[float, str]], because: int, kinds: Mapping[int, int], basis: pb.Basis
) -> str:
    if basis == pb.CATALOGUE:
        return "New in the catalogue."
    if basis == pb.TRENDING or not shown or because < 0 or shown[0][0] <= 0.0:
        return "Popular right now." if (shown and shown[0][1] == "trending") or basis == pb.TRENDING else "New for you."
    largest = shown[0][1]
    if largest == "trending":
        return "Popular right now."
    facts = mirror.facts(because)
    name = f"“{facts.title}”" if facts.title else facts.product_id
    did = _DID.get(Kind(kinds[because])) if because in kinds else None
    return f"{_LIKE[largest]} {name}, which {did}." if did else f"{_LIKE[largest]} {name}."
