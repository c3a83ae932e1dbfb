"""What NEventStore and JOliver EventStore, the C# libraries, stored as bytes: read, and written in their JSON."""

from __future__ import annotations

from fsstore.serialization.neventstore.forms import Form, Notation
from fsstore.serialization.neventstore.mongo import MongoValues
from fsstore.serialization.neventstore.payload_writer import PayloadWriter
from fsstore.serialization.neventstore.payloads import NEventStorePayloads
from fsstore.serialization.neventstore.serializer import NEventStoreJson

__all__ = ["Form", "MongoValues", "NEventStoreJson", "NEventStorePayloads", "Notation", "PayloadWriter"]
