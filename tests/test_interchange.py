"""Lines of JSON carry every value there and back, and doubtful lines are refused with their number."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsstore.errors import SerializationError
from fsstore.interchange import (
    InterchangeError,
    bounded_lines,
    differing_fields,
    read_line,
    read_lines,
    unzipped,
    write_line,
    write_value,
    zipped,
)
from fsstore.model import Commit, CommitAttempt, EventMessage
from fsstore.serialization import MsgpackSerializer, TypeRegistry
from fsstore.serialization.unregistered import AnyTypes, stored_object
from fsstore.testing import strategies
from fsstore.testing.attempts import first_attempt, next_attempt

HISTORY = Path(__file__).parents[1] / "fsstore/demo/data/repository-history.ndjson.gz"


def there_and_back(body: Any) -> Any:
    return read_line(write_line(first_attempt("s", events=[EventMessage(body)]))).events[0].body


def line_with(**changes: Any) -> str:
    """A good line with some fields changed, or left out where the change is `...`."""
    line = json.loads(write_line(first_attempt("orders-1"))) | changes
    return json.dumps({name: value for name, value in line.items() if value is not ...})


@given(strategies.first_attempts())
def test_every_attempt_comes_back_equal_and_of_the_same_types(attempt: CommitAttempt) -> None:
    line = write_line(attempt)
    again = read_line(line)
    for name in CommitAttempt.__slots__:
        assert strategies.same(getattr(again, name), getattr(attempt, name)), name
    assert line.splitlines() == [line]
    assert write_line(again) == line
    assert differing_fields(attempt, again) == []


DOLLARS = st.sampled_from(["$", "$$", "$bytes", "$$bytes", "$$$int", "$map", "$type", "plain"])


@given(
    st.recursive(
        st.integers() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(DOLLARS, inner, max_size=3),
    )
)
def test_keys_that_look_like_ours_come_back_as_they_were(body: Any) -> None:
    assert strategies.same(there_and_back(body), body)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"hi", '{"$bytes":"aGk="}'),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), '{"$datetime":"2024-05-01T12:00:00+00:00"}'),
        (date(2024, 5, 1), '{"$date":"2024-05-01"}'),
        (UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (Decimal("1.50"), '{"$decimal":"1.50"}'),
        (2**64 - 1, "18446744073709551615"),
        (2**64, '{"$int":"18446744073709551616"}'),
        (-(2**63) - 1, '{"$int":"-9223372036854775809"}'),
        (float("-inf"), '{"$float":"-inf"}'),
        ({1: "one"}, '{"$map":[[1,"one"]]}'),
        ((1, [2]), '{"$tuple":[1,[2]]}'),
        (stored_object("Placed", {"total": Decimal(1)}), '{"$object":["Placed",{"total":{"$decimal":"1"}}]}'),
        ({"$bytes": 1}, '{"$$bytes":1}'),
        ({"$type": "x", "a": 1}, '{"$type":"x","a":1}'),
        ("\u2028", '"\\u2028"'),
        ("é", '"é"'),
        ("\ud83d", '"\\ud83d"'),
        ({"\udc00": "\udfffé"}, '{"\\udc00":"\\udfffé"}'),
    ],
)
def test_the_documented_forms(value: Any, text: str) -> None:
    assert write_value(value) == text
    assert strategies.same(there_and_back(value), value)


def test_not_a_number_comes_back() -> None:
    assert str(there_and_back([float("nan")])[0]) == "nan"
    assert str(there_and_back([Decimal("sNaN123")])[0]) == "sNaN123"


def test_an_integer_too_long_for_decimal_digits_comes_back() -> None:
    assert there_and_back(-(7**9000)) == -(7**9000)


def test_a_value_without_a_form_is_refused_by_its_path() -> None:
    with pytest.raises(SerializationError, match=r"events\[0\]\.body\.items\[1\]") as caught:
        write_line(first_attempt("s", events=[EventMessage({"items": [1, object()]})]))
    assert caught.value.path == ("events", 0, "body", "items", 1)


def test_an_object_of_a_type_unknown_here_goes_from_store_to_line_to_store_unchanged() -> None:
    @dataclass
    class Placed:
        total: Decimal
        lines: list[object]

    known = MsgpackSerializer(TypeRegistry((Placed, "orders.Placed")))
    any_types = MsgpackSerializer(AnyTypes())
    stored = known.dumps([Placed(Decimal("1.50"), [Placed(Decimal(0), [])])])
    carried = there_and_back(any_types.loads(stored))
    assert any_types.dumps(carried) == stored


def test_a_commit_is_written_with_its_token_and_read_without() -> None:
    attempt = first_attempt("s")
    line = write_line(Commit.of(attempt, 17))
    assert json.loads(line)["checkpoint_token"] == 17
    assert read_line(line) == attempt


def test_bucket_and_headers_may_be_left_out() -> None:
    attempt = read_line(line_with(bucket_id=..., headers=..., events=[{"body": 1}]))
    assert (attempt.bucket_id, attempt.headers, attempt.events) == ("default", {}, (EventMessage(1),))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON.* at character 2"),
        ("[]", "one JSON object"),
        ('{"$int": "1"}', "one JSON object"),
        (line_with(extra=1), "no field 'extra'"),
        (line_with(stream_id=...), "stream_id is missing"),
        (line_with(events=...), "events is missing"),
        (line_with(stream_id=7), "stream_id must be text, not 7"),
        (line_with(stream_id=""), "stream_id must not be empty"),
        (line_with(stream_revision="1"), "stream_revision must be a whole number"),
        (line_with(stream_revision=1.0), "stream_revision must be a whole number"),
        (line_with(commit_sequence=True), "commit_sequence must be a whole number"),
        (line_with(commit_sequence=2), "1 <= commit_sequence <= stream_revision"),
        (line_with(commit_id="17"), "commit_id is not a UUID"),
        (line_with(commit_id={"$uuid": str(UUID(int=1))}), "commit_id must be text"),
        (line_with(commit_stamp="yesterday"), "commit_stamp is not an ISO 8601 time"),
        (line_with(commit_stamp="2024-05-01T12:00:00"), "no time zone"),
        (line_with(headers=[]), "headers must be an object"),
        (line_with(events=[]), "at least one event"),
        (line_with(events={}), "events must be an array"),
        (line_with(events=[{"headers": {}}]), r"events\[0\] must be an object with a body"),
        (line_with(events=[{"body": 1}, {"body": 1, "tail": 2}]), r"events\[1\] must be"),
        (line_with(events=[{"body": 1, "headers": 2}]), r"events\[0\]\.headers must be"),
        (line_with(events=[{"body": None}]), "body must not be None"),
        (line_with(events=[{"body": float("nan")}]), r"NaN is not JSON"),
        (line_with(events=[{"body": {"$bytes": "?"}}]), "base64"),
        (line_with(events=[{"body": {"$bytes": 1}}]), r"\$bytes must hold text"),
        (line_with(events=[{"body": {"$colour": 1}}]), r"\$colour is no form"),
        (line_with(events=[{"body": {"$int": "1_0"}}]), r"\$int is not a whole number"),
        (line_with(events=[{"body": {"$float": "1.5"}}]), r"\$float must hold nan"),
        (line_with(events=[{"body": {"$decimal": "1,5"}}]), "ConversionSyntax"),
        (line_with(events=[{"body": {"$map": [[1, 2], [1, 3]]}}]), r"\$map holds a key twice"),
        (line_with(events=[{"body": {"$map": [[[], 2]]}}]), "unhashable"),
        (line_with(events=[{"body": {"$tuple": 1}}]), r"\$tuple must hold an array"),
        (line_with(events=[{"body": {"$object": ["a"]}}]), r"\$object must hold an array of a name"),
        (line_with().replace('"headers": {', '"headers": {"a": 1, "a": 2, ', 1), "key 'a' is there twice"),
        (line_with(events=[{"body": "x"}]).replace('"x"', "1e999"), "too large for a float"),
        (line_with(events=[{"body": "x"}]).replace('"x"', "[" * 100_000), "nested too deeply|not JSON"),
    ],
)
def test_a_doubtful_line_is_refused_with_its_number(line: str, reason: str) -> None:
    good = write_line(first_attempt("s"))
    reading = read_lines([good.encode() + b"\n", b"\n", line.encode()])
    assert next(reading)[0] == 1
    with pytest.raises(InterchangeError, match=reason) as caught:
        next(reading)
    assert caught.value.line_number == 3
    assert str(caught.value).startswith("line 3: ")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InterchangeError, match="line 1: this is not UTF-8"):
        next(read_lines([b"\xff\xfe\n"]))


def test_a_zipped_file_that_was_cut_is_refused_where_it_ends() -> None:
    whole = gzip.compress((write_line(first_attempt("s")) + "\n").encode() * 2)
    with pytest.raises(InterchangeError, match="cannot be read on from here"):
        list(read_lines(unzipped(io.BytesIO(whole[:-12]), "cut.gz")))


def test_text_under_a_zipped_name_is_refused() -> None:
    with pytest.raises(InterchangeError, match=r"line 1: .*cannot be read on from here: Not a gzipped file"):
        list(read_lines(unzipped(io.BytesIO(b"{}"), "text.gz")))


@pytest.mark.parametrize(("name", "unpack"), [("a.ndjson", bytes), ("a.ndjson.gz", gzip.decompress)])
def test_files_are_zipped_by_their_names(name: str, unpack: Callable[[bytes], bytes]) -> None:
    file = io.BytesIO()
    writing = zipped(file, name)
    writing.write(b"text\n")
    if writing is not file:
        writing.close()
    assert unpack(file.getvalue()) == b"text\n"
    file.seek(0)
    assert unzipped(file, name).read() == b"text\n"


def test_the_sample_history_is_written_as_it_was_read() -> None:
    with gzip.open(HISTORY) as file:
        original = file.read()
    written = [write_line(attempt) for _, attempt in read_lines(io.BytesIO(original))]
    assert len(written) == 7_075
    assert "\n".join(written).encode() + b"\n" == original


def test_differing_fields_names_what_differs() -> None:
    one = first_attempt("s", headers={"a": 1, "b": 2})
    assert differing_fields(one, Commit.of(one, 9)) == []
    assert differing_fields(one, next_attempt(one, commit_id=one.commit_id, headers={"b": 2, "a": 1})) == [
        "stream_revision",
        "commit_sequence",
        "commit_stamp",
        "events",
    ]
    assert differing_fields(
        first_attempt("s", events=[EventMessage(1)], commit_id=UUID(int=1)),
        first_attempt("s", events=[EventMessage(1.0)], commit_id=UUID(int=1)),
    ) == ["events"]


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    endless = gzip.compress(b"[" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(InterchangeError, match=r"line 1: the line has more than 1000000 bytes"):
        list(read_lines(bounded_lines(unzipped(io.BytesIO(endless), "a.gz"), 1_000_000)))
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_what_is_nested_too_deeply_to_be_written_is_said() -> None:
    value: list[Any] = []
    for _ in range(5_000):
        value = [value]
    attempt = first_attempt("a", events=[EventMessage(value)])
    for write in (lambda: write_line(attempt), lambda: write_value(value)):
        with pytest.raises(SerializationError, match="nested too deeply"):
            write()
