"""The sample that ships with the package: the file history of a public code repository, and where it led."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib.resources import files

from fsstore.demo.folding import File
from fsstore.interchange import read_lines
from fsstore.model import CommitAttempt

COMMITS, STREAMS = 7_075, 796


def history() -> Iterator[tuple[int, CommitAttempt]]:
    """The commits of the history, numbered from 1."""
    with (
        (files("fsstore.demo") / "data" / "repository-history.ndjson.gz").open("rb") as raw,
        gzip.GzipFile(fileobj=raw) as lines,
    ):
        yield from read_lines(lines)


def tree() -> dict[str, File]:
    """The files alive at its end: path to `(mode, blob)`."""
    text = (files("fsstore.demo") / "data" / "repository-tree.json").read_text("utf-8")
    return {path: (mode, blob) for path, (mode, blob) in json.loads(text).items()}
