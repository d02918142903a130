import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Interaction(_message.Message):
    __slots__ = ("event_id", "user_id", "product_id", "kind", "value", "session_id", "attribution_token", "event_time")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Interaction.Kind]
        VIEW: _ClassVar[Interaction.Kind]
        CLICK: _ClassVar[Interaction.Kind]
        ADD_TO_CART: _ClassVar[Interaction.Kind]
        PURCHASE: _ClassVar[Interaction.Kind]
        RATING: _ClassVar[Interaction.Kind]
        LIKE: _ClassVar[Interaction.Kind]
        DISLIKE: _ClassVar[Interaction.Kind]
        HIDE: _ClassVar[Interaction.Kind]
    KIND_UNSPECIFIED: Interaction.Kind
    VIEW: Interaction.Kind
    CLICK: Interaction.Kind
    ADD_TO_CART: Interaction.Kind
    PURCHASE: Interaction.Kind
    RATING: Interaction.Kind
    LIKE: Interaction.Kind
    DISLIKE: Interaction.Kind
    HIDE: Interaction.Kind
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    product_id: str
    kind: Interaction.Kind
    value: float
    session_id: str
    attribution_token: str
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., product_id: _Optional[str] = ..., kind: _Optional[_Union[Interaction.Kind, str]] = ..., value: _Optional[float] = ..., session_id: _Optional[str] = ..., attribution_token: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
