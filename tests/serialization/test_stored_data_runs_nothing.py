"""What is stored runs no code, and no module is imported because stored data names it."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fsstore.errors import SerializationError
from fsstore.interchange import read_line
from fsstore.serialization import MsgpackSerializer
from fsstore.serialization.msgpack_serializer import REGISTERED
from fsstore.serialization.neventstore import MongoValues, NEventStorePayloads
from fsstore.serialization.unregistered import AnyTypes, StoredObject

NAMES = [
    "planted",
    "planted.Bomb",
    "planted:Bomb",
    "planted.Bomb, planted",
    "os.system",
    "builtins.eval",
    "System.Diagnostics.Process, System",
]


@pytest.fixture(autouse=True)
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module within reach, and the file that it makes when it is imported. It must not be."""
    ran = tmp_path / "ran"
    (tmp_path / "planted.py").write_text(f"open({str(ran)!r}, 'w').close()\n\n\nclass Bomb: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield ran
    assert "planted" not in sys.modules
    assert not ran.exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("msgspec", [True, False])
def test_a_stored_object_is_named_and_not_made(name: str, msgspec: bool) -> None:
    stored = bytes(msgpack.packb(msgpack.ExtType(REGISTERED, msgpack.packb(name) + msgpack.packb({"args": ["true"]}))))
    with pytest.raises(SerializationError, match="is not registered"):
        MsgpackSerializer(msgspec=msgspec).loads(stored)
    found = MsgpackSerializer(AnyTypes(), msgspec=msgspec).loads(stored)
    assert isinstance(found, StoredObject)
    assert (found.stored_name, found.members) == (name, {"args": ["true"]})


@pytest.mark.parametrize("name", NAMES)
def test_a_type_that_c_sharp_names_stays_a_name(name: str) -> None:
    stored = json.dumps([{"Headers": {}, "Body": {"$type": name, "Args": 1}}]).encode()
    assert [event.body for event in NEventStorePayloads().events(stored)] == [{"$type": name, "Args": 1}]


@pytest.mark.parametrize("name", NAMES)
def test_a_document_of_mongodb_keeps_the_name_of_its_class(name: str) -> None:
    pytest.importorskip("bson", reason="pip install 'fsstore[mongodb]'")
    stored = [{"StreamRevision": 1, "Payload": {"Headers": {}, "Body": {"_t": name, "Args": 1}}}]
    assert [event.body for event in MongoValues(NEventStorePayloads()).events(stored)] == [{"_t": name, "Args": 1}]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_to_import_names_and_makes_nothing(name: str) -> None:
    line = {
        "stream_id": "s",
        "stream_revision": 1,
        "commit_id": "6f9619ff-8b86-4011-b42d-00cf4fc964ff",
        "commit_sequence": 1,
        "commit_stamp": "2026-01-02T03:04:05Z",
        "events": [{"body": {"$object": [name, {"args": ["true"]}]}}],
    }
    (event,) = read_line(json.dumps(line)).events
    assert isinstance(event.body, StoredObject)
    assert event.body.stored_name == name


class Bomb:
    """What a pickle of it does when it is read."""

    def __reduce__(self) -> Any:
        return __import__, ("planted",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_no_value(protocol: int) -> None:
    stored = pickle.dumps(Bomb(), protocol)
    for read in (MsgpackSerializer().loads, NEventStorePayloads().events, NEventStorePayloads().snapshot):
        with pytest.raises(SerializationError):
            read(stored)
