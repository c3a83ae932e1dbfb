"""Payloads that C# wrote, straight from the files, against what was put in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import bson
import pytest

from fsstore.errors import SerializationError
from fsstore.model import EventMessage
from fsstore.serialization.neventstore import Form, MongoValues, NEventStorePayloads, Notation, forms
from fsstore.serialization.neventstore.bson_documents import codec_options
from tests.neventstore.samples import DATA, KEY, differences, expected

SQLITE = {
    "nes10-sqlite-microsoft-json": Form(Notation.NEWTONSOFT_JSON),
    "nes10-sqlite-system-deflated": Form(Notation.NEWTONSOFT_JSON, deflated=True),
    "nes10-sqlite-microsoft-deflated-encrypted": Form(Notation.NEWTONSOFT_JSON, deflated=True, encrypted=True),
    "nes10-sqlite-microsoft-msgpack": Form(Notation.MESSAGE_PACK),
    "nes10-sqlite-microsoft-bson": Form(Notation.BSON),
    "nes102-sqlite-microsoft-stj": Form(Notation.SYSTEM_JSON),
    "joliver32-sqlite-json": Form(Notation.NEWTONSOFT_JSON),
}


def rows(name: str, sql: str) -> list[Any]:
    with sqlite3.connect(f"file:{DATA / name}.db?immutable=1", uri=True) as connection:
        return connection.execute(sql).fetchall()


def compared(wanted: dict[str, Any], headers: dict[str, Any], events: tuple[EventMessage, ...]) -> Iterator[str]:
    yield from differences(wanted["headers"], headers, "headers")
    found = [{"headers": event.headers, "body": event.body} for event in events]
    yield from differences([dict(event) for event in wanted["events"]], found, "events")


@pytest.mark.parametrize("name", SQLITE)
def test_the_payloads_of_a_sql_store_hold_what_was_put_in(name: str) -> None:
    payloads = NEventStorePayloads(keys=[KEY] if "encrypted" in name else [])
    by_id = {commit["commit_id"]: commit for commit in expected(name).commits}
    stored = rows(name, "SELECT CommitId, Headers, Payload FROM Commits")
    assert len(stored) == len(by_id)
    for commit_id, headers, payload in stored:
        text = str(bson.binary.UUID(bytes_le=commit_id)) if isinstance(commit_id, bytes) else commit_id.lower()
        assert list(compared(by_id[text], *payloads.commit(headers, payload))) == []
        assert payloads.tree(headers)[0] == payloads.tree(payload)[0] == SQLITE[name]


@pytest.mark.parametrize("name", SQLITE)
def test_the_snapshots_of_a_sql_store_hold_what_was_put_in(name: str) -> None:
    payloads = NEventStorePayloads(keys=[KEY] if "encrypted" in name else [])
    wanted = [snapshot["payload"] for snapshot in expected(name).snapshots]
    found = [payloads.snapshot(payload) for (payload,) in rows(name, "SELECT Payload FROM Snapshots ORDER BY rowid")]
    assert list(differences(wanted, found)) == []


@pytest.mark.parametrize("name", ["nes12-mongodb-legacy-guids", "nes12-mongodb-standard-guids", "joliver32-mongodb"])
def test_mongo_documents_hold_what_was_put_in(name: str) -> None:
    values = MongoValues(NEventStorePayloads())
    commits = bson.decode_all((DATA / name / "Commits.bson").read_bytes(), codec_options())
    found = {str(values.uuid(commit["CommitId"])): commit for commit in commits}
    for wanted in expected(name).commits:
        commit = found[wanted["commit_id"]]
        assert list(compared(wanted, values.headers(commit["Headers"]), values.events(commit["Events"]))) == []
    snapshots = bson.decode_all((DATA / name / "Snapshots.bson").read_bytes(), codec_options())
    payloads = [values.snapshot(snapshot["Payload"]) for snapshot in snapshots]
    assert list(differences([snapshot["payload"] for snapshot in expected(name).snapshots], payloads)) == []


def test_binary_formatter_is_refused_in_words() -> None:
    for headers, payload in rows("joliver32-sqlite-binary", "SELECT Headers, Payload FROM Commits"):
        with pytest.raises(SerializationError, match="BinaryFormatter"):
            NEventStorePayloads().events(payload)
        with pytest.raises(SerializationError, match="BinaryFormatter"):
            NEventStorePayloads().headers(headers)


def test_an_encrypted_payload_asks_for_its_key() -> None:
    ((payload,), *_) = rows("nes10-sqlite-microsoft-deflated-encrypted", "SELECT Payload FROM Commits")
    with pytest.raises(SerializationError, match="looks encrypted: open the store with encrypt_with"):
        NEventStorePayloads().events(payload)
    with pytest.raises(SerializationError, match="another key"):
        NEventStorePayloads(keys=[bytes(16)]).events(payload)
    assert NEventStorePayloads(keys=[bytes(32), KEY]).events(payload)
    with pytest.raises(ValueError, match="16, 24 or 32 bytes"):
        NEventStorePayloads(keys=[b"secret"])


def test_whatever_is_wrong_inside_an_encrypted_payload_is_said_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forms, "MAX_BYTES", 1000)
    whole = forms.encrypted(b"[]", KEY)
    wrong = [
        whole[:15] + bytes([whole[15] ^ 64]) + whole[16:],  # the padding of its only block
        forms.encrypted(b"[1, 2", KEY),
        forms.encrypted(b"\xef\xbb\xbf[\xff", KEY),
        forms.encrypted(bytes([0, 1, 0, 0, 0, 255, 255, 255, 255]) + bytes(20), KEY),  # BinaryFormatter's
        forms.encrypted(forms.deflated(bytes(2000)), KEY),  # grows too large
        forms.encrypted(forms.deflated(b"nothing"), KEY),
        forms.encrypted(b"[]", bytes(32)),
    ]
    said = set()
    for data in wrong:
        with pytest.raises(SerializationError) as caught:
            NEventStorePayloads(keys=[KEY]).events(data)
        said.add(str(caught.value))
    assert len(said) == 1
    assert "another key" in said.pop()
