"""`fsstore import`: the commits of a file into a store, going on where an earlier import stopped."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from fsstore.cli.opening import JsonOption, KeyFileOption, StoreArgument, writing
from fsstore.cli.output import note, print_json, progress
from fsstore.cli.walk import last_commits
from fsstore.errors import EventStoreError
from fsstore.importing import ImportConflictError, import_commits
from fsstore.interchange import MAX_LINE_BYTES, InterchangeError, bounded_lines, read_lines, unzipped


def import_(
    store: StoreArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Lines to import; unzipped if named *.gz; - for standard input.")
    ],
    keys: KeyFileOption = None,
    max_line_bytes: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Longer lines, which take much memory, are refused.")
    ] = MAX_LINE_BYTES,
    as_json: JsonOption = False,
) -> None:
    """Store the commits of FILE, one JSON object a line.

    Commits that are there already are skipped, so that an import that was stopped can be started again. The
    first line that cannot be read, or contradicts the store, ends the import: everything before it is stored,
    nothing after it. With --key-file the commits are stored encrypted. An export may have lines that are longer than
    --max-line-bytes, as JSON takes up to six times as many bytes as what it holds.
    """
    stored = skipped = 0
    name = "standard input" if file == "-" else file
    with _opened(file) as raw, writing(store, keys) as engine:
        # Refuses the wrong key, or none, before it makes a store that no one key reads.
        last_commits(engine, 1)
        # How far a pipe has come nobody can say.
        size = Path(file).stat().st_size if file != "-" and raw.seekable() else None
        lines = bounded_lines(unzipped(raw, file), max_line_bytes)
        with progress("importing", size) as advance:
            try:
                for batch in import_commits(engine, read_lines(lines)):
                    stored += len(batch.stored)
                    skipped += batch.skipped
                    advance(raw.tell() if size is not None else 0, f"{stored:,} commits")
            except (ImportConflictError, InterchangeError) as error:
                before = f"{stored:,} stored and {skipped:,} skipped before it, nothing after it"
                raise EventStoreError(f"{name}, {error} ({before})") from error
    if as_json:
        print_json({"stored": stored, "skipped": skipped})
    else:
        note(f"{stored:,} commits stored, {skipped:,} were there already")


def _opened(file: str) -> BinaryIO | nullcontext[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb")
