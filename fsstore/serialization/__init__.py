"""Values to bytes and back: the stored form of bodies, headers and snapshots, and what may wrap it."""

from fsstore.serialization.compression import CompressedSerializer
from fsstore.serialization.encryption import EncryptedSerializer, Keys
from fsstore.serialization.msgpack_serializer import MsgpackSerializer
from fsstore.serialization.payload import Serializer, decode_payload, encode_payload
from fsstore.serialization.types import TypeName, TypeRegistry, event_type

__all__ = [
    "CompressedSerializer",
    "EncryptedSerializer",
    "Keys",
    "MsgpackSerializer",
    "Serializer",
    "TypeName",
    "TypeRegistry",
    "decode_payload",
    "encode_payload",
    "event_type",
]
