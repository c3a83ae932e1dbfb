"""The values check themselves when they are made, and never change afterwards."""

from __future__ import annotations

import copy
import dataclasses
import uuid
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from types import MappingProxyType
from typing import Any

import pytest

from fsstore import Commit, CommitAttempt, EventMessage, Snapshot, StreamHead

GOOD: dict[str, Any] = {
    "stream_id": "stream",
    "stream_revision": 1,
    "commit_id": uuid.UUID(int=1),
    "commit_sequence": 1,
    "commit_stamp": datetime(2024, 1, 1, tzinfo=UTC),
    "headers": {},
    "events": [EventMessage("body")],
    "bucket_id": "bucket",
}


@pytest.mark.parametrize("kind", [CommitAttempt, Commit])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream_id", ""),
        ("stream_id", "x" * 1001),
        ("stream_id", "\ud800"),
        ("bucket_id", ""),
        ("bucket_id", "x" * 1001),
        ("commit_id", uuid.UUID(int=0)),
        ("commit_sequence", 0),
        ("commit_sequence", -1),
        ("commit_sequence", 2),
        ("stream_revision", 0),
        ("stream_revision", -1),
        ("commit_stamp", datetime(2024, 1, 1)),
        ("events", []),
        ("events", None),
    ],
)
def test_what_cannot_be_stored_is_a_value_error(kind: type, field: str, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        kind(**{**GOOD, field: value})


@pytest.mark.parametrize("kind", [CommitAttempt, Commit])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream_id", None),
        ("stream_id", 7),
        ("stream_id", b"bytes"),
        ("bucket_id", None),
        ("commit_id", "not a UUID"),
        ("commit_sequence", "1"),
        ("commit_sequence", True),
        ("stream_revision", 1.0),
        ("commit_stamp", "2024-01-01"),
        ("headers", [("key", "value")]),
        ("events", ["bare body"]),
    ],
)
def test_what_is_of_the_wrong_type_is_a_type_error(kind: type, field: str, value: Any) -> None:
    with pytest.raises(TypeError):
        kind(**{**GOOD, field: value})


def test_an_event_without_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="body"):
        EventMessage(None)


@pytest.mark.parametrize("body", [0, "", False, [], {}])
def test_a_body_that_is_merely_empty_is_a_body(body: Any) -> None:
    assert EventMessage(body).body == body


def test_ids_may_be_uuids_and_are_their_text() -> None:
    name = uuid.uuid4()
    attempt = CommitAttempt(**{**GOOD, "stream_id": name, "bucket_id": name})
    assert (attempt.stream_id, attempt.bucket_id) == (str(name), str(name))


def test_an_id_is_the_characters_of_a_text_whatever_its_class() -> None:
    class Kind(str, Enum):  # noqa: UP042
        ORDER = "order"

    class Odd(str):
        def __str__(self) -> str:
            return ""

        def __len__(self) -> int:
            return 1

    attempt = CommitAttempt(**{**GOOD, "stream_id": Kind.ORDER, "bucket_id": Odd("odd")})
    assert (attempt.stream_id, attempt.bucket_id) == ("order", "odd")
    assert {type(attempt.stream_id), type(attempt.bucket_id)} == {str}
    with pytest.raises(ValueError, match="1001 characters"):
        CommitAttempt(**{**GOOD, "stream_id": Odd("x" * 1001)})


def test_ids_of_a_thousand_characters_and_any_unicode_are_fine() -> None:
    for name in ("x" * 1000, "😀" * 1000, "a/../b\0c", " ", "CON"):
        assert CommitAttempt(**{**GOOD, "stream_id": name}).stream_id == name


def test_stamps_become_utc() -> None:
    local = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    attempt = CommitAttempt(**{**GOOD, "commit_stamp": local})
    assert attempt.commit_stamp == local
    assert attempt.commit_stamp.tzinfo is UTC


def test_values_are_immutable_and_slotted() -> None:
    attempt = CommitAttempt(**GOOD)
    for value in (
        attempt,
        Commit.of(attempt, 3),
        EventMessage("body"),
        Snapshot("stream", 1, "state"),
        StreamHead("bucket", "stream", 1, 0),
    ):
        field = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, "other")
        assert not hasattr(value, "__dict__")


def test_values_that_are_equal_have_the_same_hash() -> None:
    attempt = CommitAttempt(**{**GOOD, "headers": {"a": []}, "events": [EventMessage({}, {"b": {}})]})
    for value in (
        attempt,
        Commit.of(attempt, 3),
        EventMessage("body", {"b": {}}),
        Snapshot("stream", 1, {"state": []}),
        StreamHead("bucket", "stream", 1, 0),
    ):
        assert {value} == {copy.deepcopy(value)}


def test_headers_may_be_any_mapping() -> None:
    headers = MappingProxyType({"a": 1})
    for value in (CommitAttempt(**{**GOOD, "headers": headers}), EventMessage("body", headers)):
        assert type(value.headers) is dict
        assert value.headers == {"a": 1}
    for wrong in (["a"], "a", 1):
        with pytest.raises(TypeError, match="must be a mapping"):
            EventMessage("body", wrong)  # type: ignore[arg-type]


def test_changing_what_was_given_does_not_change_the_value() -> None:
    headers, events = {"key": 1}, [EventMessage("body")]
    attempt = CommitAttempt(**{**GOOD, "headers": headers, "events": events})
    headers["key"] = 2
    events.append(EventMessage("another"))
    assert attempt.headers == {"key": 1}
    assert len(attempt.events) == 1


def test_a_commit_is_its_attempt_with_a_token() -> None:
    attempt = CommitAttempt(**GOOD)
    commit = Commit.of(attempt, 7)
    assert commit == Commit(**GOOD, checkpoint_token=7)
    for field in dataclasses.fields(attempt):
        assert getattr(commit, field.name) == getattr(attempt, field.name)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("", 1, "s"), ValueError), (("stream", 0, "s"), ValueError), (("stream", "1", "s"), TypeError)],
)
def test_a_snapshot_checks_itself(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        Snapshot(*arguments)
