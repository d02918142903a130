import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Position(_message.Message):
    __slots__ = ("topic", "partition", "offset")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    offset: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class Representation(_message.Message):
    __slots__ = ("product_id", "product_number", "model_version", "vector", "present_segments", "title", "brand", "categories", "price", "currency", "available", "removed", "source", "event_time", "image_uri", "review_count", "rating", "words", "title_words", "review_sentiment")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    PRESENT_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    REVIEW_COUNT_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TITLE_WORDS_FIELD_NUMBER: _ClassVar[int]
    REVIEW_SENTIMENT_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    product_number: int
    model_version: str
    vector: bytes
    present_segments: int
    title: str
    brand: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    price: float
    currency: str
    available: bool
    removed: bool
    source: Position
    event_time: _timestamp_pb2.Timestamp
    image_uri: str
    review_count: int
    rating: float
    words: _containers.RepeatedScalarFieldContainer[int]
    title_words: int
    review_sentiment: float
    def __init__(self, product_id: _Optional[str] = ..., product_number: _Optional[int] = ..., model_version: _Optional[str] = ..., vector: _Optional[bytes] = ..., present_segments: _Optional[int] = ..., title: _Optional[str] = ..., brand: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., price: _Optional[float] = ..., currency: _Optional[str] = ..., available: _Optional[bool] = ..., removed: _Optional[bool] = ..., source: _Optional[_Union[Position, _Mapping]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., image_uri: _Optional[str] = ..., review_count: _Optional[int] = ..., rating: _Optional[float] = ..., words: _Optional[_Iterable[int]] = ..., title_words: _Optional[int] = ..., review_sentiment: _Optional[float] = ...) -> None: ...

class Exposure(_message.Message):
    __slots__ = ("attribution_token", "user_id", "session_id", "items", "model_version", "event_time", "degraded")
    class Item(_message.Message):
        __slots__ = ("product_id", "rank", "score", "propensity")
        PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
        RANK_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        PROPENSITY_FIELD_NUMBER: _ClassVar[int]
        product_id: str
        rank: int
        score: float
        propensity: float
        def __init__(self, product_id: _Optional[str] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., propensity: _Optional[float] = ...) -> None: ...
    ATTRIBUTION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    attribution_token: str
    user_id: str
    session_id: str
    items: _containers.RepeatedCompositeFieldContainer[Exposure.Item]
    model_version: str
    event_time: _timestamp_pb2.Timestamp
    degraded: bool
    def __init__(self, attribution_token: _Optional[str] = ..., user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Exposure.Item, _Mapping]]] = ..., model_version: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., degraded: _Optional[bool] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("reason", "detail", "source", "key", "value", "headers", "worker", "failed_at", "received_at")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[DeadLetter.Reason]
        UNREADABLE: _ClassVar[DeadLetter.Reason]
        INVALID: _ClassVar[DeadLetter.Reason]
        IMAGE: _ClassVar[DeadLetter.Reason]
        TOO_LARGE: _ClassVar[DeadLetter.Reason]
    REASON_UNSPECIFIED: DeadLetter.Reason
    UNREADABLE: DeadLetter.Reason
    INVALID: DeadLetter.Reason
    IMAGE: DeadLetter.Reason
    TOO_LARGE: DeadLetter.Reason
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    FAILED_AT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    reason: DeadLetter.Reason
    detail: str
    source: Position
    key: bytes
    value: bytes
    headers: _containers.ScalarMap[str, bytes]
    worker: str
    failed_at: _timestamp_pb2.Timestamp
    received_at: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[_Union[DeadLetter.Reason, str]] = ..., detail: _Optional[str] = ..., source: _Optional[_Union[Position, _Mapping]] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., headers: _Optional[_Mapping[str, bytes]] = ..., worker: _Optional[str] = ..., failed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ConsistencyToken(_message.Message):
    __slots__ = ("positions",)
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...
