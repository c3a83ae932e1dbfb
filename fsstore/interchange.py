"""Commits as text: one JSON object a line, to carry a history between stores, tools and languages.

docs/interchange.md has the fields of a line, and the forms of values that JSON has not: objects with one key that
starts with `$`. Every form is written and read here. This module knows no engine and no store.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

from fsstore.errors import EventStoreError, SerializationError
from fsstore.model import DEFAULT_BUCKET, Commit, CommitAttempt, EventMessage
from fsstore.serialization.payload import path_text
from fsstore.serialization.unregistered import StoredObject, stored_object

ValuePath = tuple[str | int, ...]

_MIN_PLAIN_INT, _MAX_PLAIN_INT = -(1 << 63), (1 << 64) - 1
# Twice the largest commit that a file store takes by default.
MAX_LINE_BYTES = 1 << 27
_MAX_DECIMAL_INT_BITS = 14_000  # Python refuses to write or read more than 4,300 decimal digits


class InterchangeError(EventStoreError):
    """A line is not a commit. `line_number` counts from 1; `None` when the line stood alone."""

    def __init__(self, reason: str, line_number: int | None = None) -> None:
        super().__init__(reason if line_number is None else f"line {line_number}: {reason}")
        self.reason = reason
        self.line_number = line_number


# ---- writing ----


def write_line(commit: Commit | CommitAttempt) -> str:
    """`commit` as one line of JSON, without the newline; a `Commit` with its `checkpoint_token`.

    Raises `SerializationError`, naming the path, for a value that is nested too deeply or has no form here, as objects
    of registered types, which `fsstore.dispatch.messages.CloudEvents` can write.
    """
    try:
        return _dumps(_line(commit))
    except RecursionError as error:
        raise SerializationError(f"commit {commit.commit_id} is nested too deeply for JSON") from error


def _line(commit: Commit | CommitAttempt) -> dict[str, Any]:
    line: dict[str, Any] = {
        "bucket_id": commit.bucket_id,
        "stream_id": commit.stream_id,
        "stream_revision": commit.stream_revision,
        "commit_id": str(commit.commit_id),
        "commit_sequence": commit.commit_sequence,
        "commit_stamp": _stamp_text(commit.commit_stamp),
        "headers": _mapping_out(commit.headers, ("headers",)),
        "events": [
            {
                "headers": _mapping_out(event.headers, ("events", position, "headers")),
                "body": _out(event.body, ("events", position, "body")),
            }
            for position, event in enumerate(commit.events)
        ],
    }
    if isinstance(commit, Commit):
        line["checkpoint_token"] = commit.checkpoint_token
    return line


def write_value(value: Any) -> str:
    """One value, such as an event's body, as JSON in the form that lines hold it."""
    try:
        return _dumps(_out(value, ()))
    except RecursionError as error:
        raise SerializationError("a value is nested too deeply for JSON") from error


def differing_fields(one: Commit | CommitAttempt, other: Commit | CommitAttempt) -> list[str]:
    """The fields in which two commits differ, `checkpoint_token` and the order of keys aside."""
    contents = [json.loads(write_line(commit)) for commit in (one, other)]
    texts = [{name: json.dumps(value, sort_keys=True) for name, value in content.items()} for content in contents]
    return [name for name in texts[0] if name != "checkpoint_token" and texts[0][name] != texts[1].get(name)]


def _dumps(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half of a surrogate pair, which a text of C# may hold, has no form in UTF-8; the escape is that of JSON.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    # Legal in JSON, but line ends to some readers of lines.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def _stamp_text(stamp: datetime) -> str:
    return stamp.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _out(value: Any, path: ValuePath) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is dict:
        return _mapping_out(value, path)
    if kind is list:
        return [_out(item, (*path, position)) for position, item in enumerate(value)]
    if kind is int:
        return value if _MIN_PLAIN_INT <= value <= _MAX_PLAIN_INT else {"$int": _int_text(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is tuple:
        return {"$tuple": _out(list(value), path)}
    if isinstance(value, StoredObject):
        return {"$object": [value.stored_name, _mapping_out(value.members, path)]}
    write = _WRITERS.get(kind)
    if write is None:
        raise SerializationError(f"{path_text(path)}: a {kind.__qualname__} has no form in the interchange", path)
    return write(value)


def _mapping_out(mapping: dict[Any, Any], path: ValuePath) -> dict[str, Any]:
    if not all(type(key) is str for key in mapping):
        return {"$map": [[_out(key, path), _out(item, (*path, str(key)))] for key, item in mapping.items()]}
    out = {key: _out(item, (*path, key)) for key, item in mapping.items()}
    if len(out) == 1:
        (key,) = out
        if key.startswith("$"):
            return {"$" + key: out[key]}
    return out


def _int_text(value: int) -> str:
    return str(value) if value.bit_length() <= _MAX_DECIMAL_INT_BITS else hex(value)


_WRITERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode("ascii")},
    datetime: lambda value: {"$datetime": value.isoformat()},
    date: lambda value: {"$date": value.isoformat()},
    UUID: lambda value: {"$uuid": str(value)},
    Decimal: lambda value: {"$decimal": str(value)},
}


# ---- reading ----


def read_line(line: str) -> CommitAttempt:
    """The commit that `line` holds. Anything doubtful is an `InterchangeError`: an unknown or a repeated field, a
    field of the wrong type, a number that is none, an unknown `$` form, ids and revisions that no store takes."""
    try:
        return _attempt(json.loads(line, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_float))
    except json.JSONDecodeError as error:
        raise InterchangeError(f"this is not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise InterchangeError("this is nested too deeply") from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise InterchangeError(str(error)) from error


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, CommitAttempt]]:
    """Each commit with the number of its line, counted from 1. Empty lines are passed over.

    Raises `InterchangeError` with the line number at the first line that cannot be read.
    """
    number = 0
    rest = iter(lines)
    while True:
        number += 1
        try:
            raw = next(rest, None)
        except (OSError, EOFError, zlib.error) as error:
            raise InterchangeError(f"the file cannot be read on from here: {error}", number) from error
        if raw is None:
            return
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InterchangeError(f"this is not UTF-8: {error}", number) from error
        if not text.strip():
            continue
        try:
            yield number, read_line(text)
        except InterchangeError as error:
            raise InterchangeError(error.reason, number) from error


_FIELDS: dict[str, tuple[type, str]] = {
    "bucket_id": (str, "text"),
    "stream_id": (str, "text"),
    "stream_revision": (int, "a whole number"),
    "commit_id": (str, "text"),
    "commit_sequence": (int, "a whole number"),
    "commit_stamp": (str, "text"),
    "headers": (dict, "an object"),
    "events": (list, "an array"),
    "checkpoint_token": (int, "a whole number"),
}
_REQUIRED = _FIELDS.keys() - {"bucket_id", "headers", "checkpoint_token"}


def _attempt(line: Any) -> CommitAttempt:
    if type(line) is not dict:
        raise ValueError("a line must be one JSON object")
    for name, value in line.items():
        if name not in _FIELDS:
            raise ValueError(f"a commit has no field {name!r}")
        kind, words = _FIELDS[name]
        if type(value) is not kind:
            raise ValueError(f"{name} must be {words}, not {value!r:.80}")
    if missing := [name for name in _FIELDS if name in _REQUIRED and name not in line]:
        raise ValueError(f"the field {missing[0]} is missing")
    return CommitAttempt(
        stream_id=line["stream_id"],
        stream_revision=line["stream_revision"],
        commit_id=_uuid(line["commit_id"], "commit_id"),
        commit_sequence=line["commit_sequence"],
        commit_stamp=_datetime(line["commit_stamp"], "commit_stamp"),
        headers=line.get("headers", {}),
        events=tuple(_event(event, position) for position, event in enumerate(line["events"])),
        bucket_id=line.get("bucket_id", DEFAULT_BUCKET),
    )


def _event(event: Any, position: int) -> EventMessage:
    if type(event) is not dict or "body" not in event or not event.keys() <= {"headers", "body"}:
        raise ValueError(f"events[{position}] must be an object with a body and headers, and nothing else")
    headers = event.get("headers", {})
    if type(headers) is not dict:
        raise ValueError(f"events[{position}].headers must be an object, not {headers!r:.80}")
    return EventMessage(event["body"], headers)


def _object(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) == 1:
        key, value = pairs[0]
        if key.startswith("$$"):
            return {key[1:]: value}
        if key.startswith("$"):
            read = _READERS.get(key)
            if read is None:
                raise ValueError(f"{key} is no form of a value; an object of one key {key} is written with ${key}")
            return read(value, key)
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return out


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise ValueError(f"{what} must hold text, not {value!r:.80}")
    return value


def _uuid(value: Any, what: str) -> UUID:
    text = _text(value, what)
    try:
        return UUID(text)
    except ValueError as error:
        raise ValueError(f"{what} is not a UUID: {text!r:.80}") from error


def _datetime(value: Any, what: str) -> datetime:
    """An ISO 8601 time; digits finer than a microsecond are cut, as no store here keeps them."""
    text = _text(value, what)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{what} is not an ISO 8601 time: {text!r:.80}") from error


def _special_float(value: Any, what: str) -> float:
    if value not in ("nan", "inf", "-inf"):
        raise ValueError(f"{what} must hold nan, inf or -inf, not {value!r:.80}")
    return float(value)


def _int(value: Any, what: str) -> int:
    text = _text(value, what)
    if not re.fullmatch("-?([0-9]+|0x[0-9a-f]+)", text):
        raise ValueError(f"{what} is not a whole number: {text!r:.80}")
    return int(text, 16 if "x" in text else 10)


def _map(value: Any, what: str) -> dict[Any, Any]:
    if type(value) is not list or not all(type(pair) is list and len(pair) == 2 for pair in value):
        raise ValueError(f"{what} must hold an array of pairs, not {value!r:.80}")
    out = dict(value)
    if len(out) < len(value):
        raise ValueError(f"{what} holds a key twice")
    return out


def _tuple(value: Any, what: str) -> tuple[Any, ...]:
    if type(value) is not list:
        raise ValueError(f"{what} must hold an array, not {value!r:.80}")
    return tuple(value)


def _stored_object(value: Any, what: str) -> StoredObject:
    match value:
        case [str(name), dict(members)]:
            return stored_object(name, members)
    raise ValueError(f"{what} must hold an array of a name and an object, not {value!r:.80}")


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "$bytes": lambda value, what: base64.b64decode(_text(value, what), validate=True),
    "$datetime": _datetime,
    "$date": lambda value, what: date.fromisoformat(_text(value, what)),
    "$uuid": _uuid,
    "$decimal": lambda value, what: Decimal(_text(value, what)),
    "$int": _int,
    "$float": _special_float,
    "$map": _map,
    "$tuple": _tuple,
    "$object": _stored_object,
}


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON; it is written as an object with the key $float")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text:.80} is too large for a float")
    return value


# ---- files ----


def unzipped(file: BinaryIO, name: str) -> BinaryIO | gzip.GzipFile:
    """The lines in `file`, which was opened under `name`: unzipped when the name ends with `.gz`."""
    return gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file


def bounded_lines(file: BinaryIO | gzip.GzipFile, most_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """The lines of a file that nobody vouches for; `InterchangeError` at the first that is longer."""
    number = 0
    while line := file.readline(most_bytes + 1):
        number += 1
        if len(line) > most_bytes:
            raise InterchangeError(
                f"the line has more than {most_bytes} bytes; import --max-line-bytes takes longer ones", number
            )
        yield line


def zipped(file: BinaryIO, name: str) -> BinaryIO | gzip.GzipFile:
    """Where to write lines so that they arrive in `file`: zipped when `name` ends with `.gz`. Close it first."""
    return gzip.GzipFile("", "wb", 6, file) if name.endswith(".gz") else file
