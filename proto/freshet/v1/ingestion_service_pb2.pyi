from freshet.v1 import interaction_pb2 as _interaction_pb2
from freshet.v1 import product_pb2 as _product_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishProductsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_product_pb2.ProductEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_product_pb2.ProductEvent, _Mapping]]] = ...) -> None: ...

class PublishReviewsRequest(_message.Message):
    __slots__ = ("reviews",)
    REVIEWS_FIELD_NUMBER: _ClassVar[int]
    reviews: _containers.RepeatedCompositeFieldContainer[_product_pb2.Review]
    def __init__(self, reviews: _Optional[_Iterable[_Union[_product_pb2.Review, _Mapping]]] = ...) -> None: ...

class PublishInteractionsRequest(_message.Message):
    __slots__ = ("interactions",)
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[_interaction_pb2.Interaction]
    def __init__(self, interactions: _Optional[_Iterable[_Union[_interaction_pb2.Interaction, _Mapping]]] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ("consistency_token", "published_count", "event_ids")
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    consistency_token: str
    published_count: int
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, consistency_token: _Optional[str] = ..., published_count: _Optional[int] = ..., event_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PublishStreamRequest(_message.Message):
    __slots__ = ("product", "review", "interaction")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    REVIEW_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    product: _product_pb2.ProductEvent
    review: _product_pb2.Review
    interaction: _interaction_pb2.Interaction
    def __init__(self, product: _Optional[_Union[_product_pb2.ProductEvent, _Mapping]] = ..., review: _Optional[_Union[_product_pb2.Review, _Mapping]] = ..., interaction: _Optional[_Union[_interaction_pb2.Interaction, _Mapping]] = ...) -> None: ...

class PublishStreamResponse(_message.Message):
    __slots__ = ("consistency_token", "published_count", "rejected_count", "rejections")
    class Rejection(_message.Message):
        __slots__ = ("index", "field", "description")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        FIELD_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
        index: int
        field: str
        description: str
        def __init__(self, index: _Optional[int] = ..., field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    consistency_token: str
    published_count: int
    rejected_count: int
    rejections: _containers.RepeatedCompositeFieldContainer[PublishStreamResponse.Rejection]
    def __init__(self, consistency_token: _Optional[str] = ..., published_count: _Optional[int] = ..., rejected_count: _Optional[int] = ..., rejections: _Optional[_Iterable[_Union[PublishStreamResponse.Rejection, _Mapping]]] = ...) -> None: ...
