"""Lines that are nearly commits: read one by one, and imported from a file that may be zipped."""

from __future__ import annotations

import gzip
import io
import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from fsstore.engines.memory import MemoryEngine
from fsstore.errors import EventStoreError, SerializationError
from fsstore.importing import ImportConflictError, import_commits
from fsstore.interchange import InterchangeError, bounded_lines, read_line, read_lines, unzipped, write_line
from fsstore.model import CommitAttempt, EventMessage
from fsstore.serialization import MsgpackSerializer
from fsstore.serialization.unregistered import AnyTypes, stored_object
from fuzz import changes

VALUES: list[Any] = [
    {"a": [1, 2.5, None, True, "ä\u2028"], "$bytes": 1},
    {"$bytes": "own"},
    {1: "one", (1, 2): b"x"},
    (date(2024, 2, 29), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(2024, 5, 1, tzinfo=UTC)),
    [UUID(int=7), Decimal("1.50"), Decimal("NaN"), 2**64, -(2**200), float("nan"), float("-inf"), b"\0\xff"],
    stored_object("OrderPlaced", {"total": stored_object("Money", {"amount": 1})}),
]
_COMMITS = [
    CommitAttempt("a", number, UUID(int=number), number, datetime(2024, 5, number, tzinfo=UTC), {"h": value},
                  (EventMessage(value, {"e": value}),))
    for number, value in enumerate(VALUES, 1)
]  # fmt: skip
_LINES = [write_line(commit) for commit in _COMMITS]
_PARTS: list[Any] = [
    None, True, -1, 0, 2**63, 2**64, 1e308, "", "a" * 1001, "\ud800", [], {}, [[]], "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+12:00", {"$int": "9" * 5000}, {"$int": "-0x" + "f" * 999}, {"$map": [[[], 1]]},
    {"$map": [[{"$float": "nan"}, 1], [{"$float": "nan"}, 1]]}, {"$decimal": "1E+999999999999999999"},
    {"$decimal": "sNaN"}, {"$map": [[{"$decimal": "sNaN"}, 1]]}, {"$object": ["x", {}]}, {"$datetime": "24:00"},
    {"$date": "0000-00-00"}, {"$uuid": "{}"}, {"$bytes": "é"}, {"$tuple": {"$tuple": []}}, {"$": 1}, {"$$$": 1},
]  # fmt: skip


def interchange(chance: random.Random) -> str:
    """One file of a few lines, some of them changed."""
    lines = [_changed(line, chance) if chance.random() < 0.3 else line.encode() for line in _LINES]
    data = b"\n".join(lines)
    for line in lines:
        _read(line)
    zipped = chance.random() < 0.2
    if zipped:
        data = changes.changed(gzip.compress(data, 1), chance)
    engine = MemoryEngine(MsgpackSerializer(AnyTypes()))
    engine.initialize()
    try:
        file = unzipped(io.BytesIO(data), "a.gz" if zipped else "a")
        for _ in import_commits(engine, read_lines(bounded_lines(file, 1 << 20)), batch_commits=chance.randint(1, 6)):
            pass
    except InterchangeError as error:
        if error.line_number is None:
            raise
        return "a line that is no commit, its number named"
    except ImportConflictError:
        return "a commit that contradicts another, its line named"
    return "imported"


def _changed(line: str, chance: random.Random) -> bytes:
    match chance.randrange(3):
        case 0:
            return changes.changed(line.encode(), chance).replace(b"\n", b" ")
        case 1:
            nested = chance.choice(('{"a":', "[", '{"$tuple":[', '{"$map":[[1,')) * chance.choice((30, 400, 3000))
            return line.replace('"body":', f'"body":{nested}', 1).encode()
    tree = json.loads(line)
    _replace(tree, chance)
    return json.dumps(tree).encode()


def _replace(tree: Any, chance: random.Random) -> None:
    """Put something else somewhere into the tree."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = tree[key]
        if not isinstance(inner, dict | list) or chance.random() < 0.4:
            tree[key] = chance.choice(_PARTS)
            return
        tree = inner


def _read(line: bytes) -> None:
    """A line that is read is written again, and read as the same."""
    try:
        attempt = read_line(line.decode("utf-8", "surrogateescape"))
    except InterchangeError:
        return
    try:
        text = write_line(attempt)
    except SerializationError:
        return
    try:
        assert write_line(read_line(text)) == text, text
    except EventStoreError as error:
        raise AssertionError(f"{error}: {text}") from error
