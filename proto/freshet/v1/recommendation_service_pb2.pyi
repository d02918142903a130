import datetime

from freshet.v1 import product_pb2 as _product_pb2
from freshet.v1 import stream_pb2 as _stream_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Basis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BASIS_UNSPECIFIED: _ClassVar[Basis]
    PROFILE: _ClassVar[Basis]
    TRENDING: _ClassVar[Basis]
    CATALOGUE: _ClassVar[Basis]
    PRODUCT: _ClassVar[Basis]

class CandidateSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANDIDATE_SOURCE_UNSPECIFIED: _ClassVar[CandidateSource]
    INTEREST: _ClassVar[CandidateSource]
    SIMILAR: _ClassVar[CandidateSource]
    CO_VISIT: _ClassVar[CandidateSource]
    TRENDING_NOW: _ClassVar[CandidateSource]
    FRESH: _ClassVar[CandidateSource]
    NEAR_QUERY: _ClassVar[CandidateSource]
    WORDS: _ClassVar[CandidateSource]
BASIS_UNSPECIFIED: Basis
PROFILE: Basis
TRENDING: Basis
CATALOGUE: Basis
PRODUCT: Basis
CANDIDATE_SOURCE_UNSPECIFIED: CandidateSource
INTEREST: CandidateSource
SIMILAR: CandidateSource
CO_VISIT: CandidateSource
TRENDING_NOW: CandidateSource
FRESH: CandidateSource
NEAR_QUERY: CandidateSource
WORDS: CandidateSource

class Filter(_message.Message):
    __slots__ = ("categories", "brands", "min_price", "max_price", "include_seen", "excluded_product_ids")
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    BRANDS_FIELD_NUMBER: _ClassVar[int]
    MIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    categories: _containers.RepeatedScalarFieldContainer[str]
    brands: _containers.RepeatedScalarFieldContainer[str]
    min_price: float
    max_price: float
    include_seen: bool
    excluded_product_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, categories: _Optional[_Iterable[str]] = ..., brands: _Optional[_Iterable[str]] = ..., min_price: _Optional[float] = ..., max_price: _Optional[float] = ..., include_seen: _Optional[bool] = ..., excluded_product_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ModalityWeights(_message.Message):
    __slots__ = ("text", "image", "price", "reviews", "joint", "behaviour", "trending")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    REVIEWS_FIELD_NUMBER: _ClassVar[int]
    JOINT_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    TRENDING_FIELD_NUMBER: _ClassVar[int]
    text: float
    image: float
    price: float
    reviews: float
    joint: float
    behaviour: float
    trending: float
    def __init__(self, text: _Optional[float] = ..., image: _Optional[float] = ..., price: _Optional[float] = ..., reviews: _Optional[float] = ..., joint: _Optional[float] = ..., behaviour: _Optional[float] = ..., trending: _Optional[float] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token", "filter", "weights", "at_least", "at_least_wait", "session_id", "diversity", "dry_run")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_WAIT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    filter: Filter
    weights: ModalityWeights
    at_least: _containers.RepeatedScalarFieldContainer[str]
    at_least_wait: _duration_pb2.Duration
    session_id: str
    diversity: float
    dry_run: bool
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., weights: _Optional[_Union[ModalityWeights, _Mapping]] = ..., at_least: _Optional[_Iterable[str]] = ..., at_least_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_id: _Optional[str] = ..., diversity: _Optional[float] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("products", "next_page_token", "attribution_token", "freshness", "basis")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[RecommendedProduct]
    next_page_token: str
    attribution_token: str
    freshness: Freshness
    basis: Basis
    def __init__(self, products: _Optional[_Iterable[_Union[RecommendedProduct, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., attribution_token: _Optional[str] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., basis: _Optional[_Union[Basis, str]] = ...) -> None: ...

class RecommendedProduct(_message.Message):
    __slots__ = ("product_id", "score", "contributions", "because_product_id", "reason", "title", "brand", "categories", "price", "currency", "image_uri", "sources", "review_count", "rating", "review_sentiment")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    REVIEW_COUNT_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    REVIEW_SENTIMENT_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    score: float
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    because_product_id: str
    reason: str
    title: str
    brand: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    price: float
    currency: str
    image_uri: str
    sources: _containers.RepeatedScalarFieldContainer[CandidateSource]
    review_count: int
    rating: float
    review_sentiment: float
    def __init__(self, product_id: _Optional[str] = ..., score: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., because_product_id: _Optional[str] = ..., reason: _Optional[str] = ..., title: _Optional[str] = ..., brand: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., price: _Optional[float] = ..., currency: _Optional[str] = ..., image_uri: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[CandidateSource, str]]] = ..., review_count: _Optional[int] = ..., rating: _Optional[float] = ..., review_sentiment: _Optional[float] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("modality", "value")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    modality: str
    value: float
    def __init__(self, modality: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class Freshness(_message.Message):
    __slots__ = ("interactions", "profile_event_time", "representations", "catalogue_event_time", "model_version", "at_least_reached", "waited", "degraded", "degraded_reasons")
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    PROFILE_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    REPRESENTATIONS_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_REACHED_FIELD_NUMBER: _ClassVar[int]
    WAITED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASONS_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[_stream_pb2.Position]
    profile_event_time: _timestamp_pb2.Timestamp
    representations: _containers.RepeatedCompositeFieldContainer[_stream_pb2.Position]
    catalogue_event_time: _timestamp_pb2.Timestamp
    model_version: str
    at_least_reached: bool
    waited: _duration_pb2.Duration
    degraded: bool
    degraded_reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, interactions: _Optional[_Iterable[_Union[_stream_pb2.Position, _Mapping]]] = ..., profile_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., representations: _Optional[_Iterable[_Union[_stream_pb2.Position, _Mapping]]] = ..., catalogue_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_version: _Optional[str] = ..., at_least_reached: _Optional[bool] = ..., waited: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., degraded: _Optional[bool] = ..., degraded_reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class ListSimilarProductsRequest(_message.Message):
    __slots__ = ("product_id", "page_size", "filter", "weights", "at_least", "at_least_wait")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_WAIT_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    page_size: int
    filter: Filter
    weights: ModalityWeights
    at_least: _containers.RepeatedScalarFieldContainer[str]
    at_least_wait: _duration_pb2.Duration
    def __init__(self, product_id: _Optional[str] = ..., page_size: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., weights: _Optional[_Union[ModalityWeights, _Mapping]] = ..., at_least: _Optional[_Iterable[str]] = ..., at_least_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListSimilarProductsResponse(_message.Message):
    __slots__ = ("products", "freshness")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[RecommendedProduct]
    freshness: Freshness
    def __init__(self, products: _Optional[_Iterable[_Union[RecommendedProduct, _Mapping]]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class SearchWeights(_message.Message):
    __slots__ = ("terms", "text", "caption", "image", "trending")
    TERMS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TRENDING_FIELD_NUMBER: _ClassVar[int]
    terms: float
    text: float
    caption: float
    image: float
    trending: float
    def __init__(self, terms: _Optional[float] = ..., text: _Optional[float] = ..., caption: _Optional[float] = ..., image: _Optional[float] = ..., trending: _Optional[float] = ...) -> None: ...

class SearchProductsRequest(_message.Message):
    __slots__ = ("text", "image", "filter", "weights", "page_size", "page_token", "at_least", "at_least_wait", "model_wait")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_WAIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_WAIT_FIELD_NUMBER: _ClassVar[int]
    text: str
    image: _product_pb2.Image
    filter: Filter
    weights: SearchWeights
    page_size: int
    page_token: str
    at_least: _containers.RepeatedScalarFieldContainer[str]
    at_least_wait: _duration_pb2.Duration
    model_wait: _duration_pb2.Duration
    def __init__(self, text: _Optional[str] = ..., image: _Optional[_Union[_product_pb2.Image, _Mapping]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., weights: _Optional[_Union[SearchWeights, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., at_least: _Optional[_Iterable[str]] = ..., at_least_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., model_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SearchProductsResponse(_message.Message):
    __slots__ = ("products", "next_page_token", "freshness", "indexed")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    INDEXED_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[RecommendedProduct]
    next_page_token: str
    freshness: Freshness
    indexed: _containers.RepeatedCompositeFieldContainer[_stream_pb2.Position]
    def __init__(self, products: _Optional[_Iterable[_Union[RecommendedProduct, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., indexed: _Optional[_Iterable[_Union[_stream_pb2.Position, _Mapping]]] = ...) -> None: ...
