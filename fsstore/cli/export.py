"""`fsstore export`: the commits of a store as lines of JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO
from uuid import uuid4

import typer

from fsstore.cli.opening import BucketOption, KeyFileOption, StoreArgument, checked_name, reading
from fsstore.cli.output import note, progress
from fsstore.dispatch.following import head_token
from fsstore.engine import PersistenceEngine
from fsstore.interchange import write_line, zipped


def export(
    store: StoreArgument,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to write; zipped if named *.gz; - for standard output.")
    ] = "-",
    bucket: BucketOption = None,
    after: Annotated[int, typer.Option(metavar="TOKEN", min=0, help="Only commits after this checkpoint token.")] = 0,
    keys: KeyFileOption = None,
) -> None:
    """Write the store's commits, one JSON object a line, in checkpoint order.

    FILE appears under its name when it is complete. Commits that are stored meanwhile are left to the next
    export.
    """
    bucket = checked_name(bucket, "bucket")
    with reading(store, keys) as engine:
        if file == "-":
            _write(engine, sys.stdout.buffer, after, bucket)
            sys.stdout.buffer.flush()
            return
        with _complete(Path(file)) as raw:
            lines = zipped(raw, file)
            try:
                count = _write(engine, lines, after, bucket)
            finally:
                if lines is not raw:
                    lines.close()
    note(f"{count:,} commits written to {file}")


def _write(engine: PersistenceEngine, out: BinaryIO | object, after: int, bucket: str | None) -> int:
    write = out.write  # type: ignore[union-attr]
    head = head_token(engine)
    count = 0
    with progress("exporting", max(0, head - after)) as advance:
        for count, commit in enumerate(engine.get_from_checkpoint(after, head, bucket_id=bucket), 1):
            write(write_line(commit).encode() + b"\n")
            if count % 512 == 0:
                advance(commit.checkpoint_token - after, f"{count:,} commits")
    return count


@contextmanager
def _complete(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` once it is written whole; a device or pipe is written as it is.

    A link stays one, and the file behind it is the new one: /dev/stdout may be a link to a file.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve() if path.is_symlink() else path
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
