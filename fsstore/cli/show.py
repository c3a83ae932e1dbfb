"""`fsstore show`: the commits of one stream."""

from __future__ import annotations

from typing import Annotated

import typer

from fsstore.cli.opening import JsonOption, KeyFileOption, StoreArgument, checked_name, reading
from fsstore.cli.output import print_commit
from fsstore.engines import without_password
from fsstore.errors import StreamNotFoundError
from fsstore.model import DEFAULT_BUCKET


def show(
    store: StoreArgument,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="Id of the stream.")],
    bucket: Annotated[
        str, typer.Option("--bucket", "-b", metavar="BUCKET", help="The stream's bucket.")
    ] = DEFAULT_BUCKET,
    first: Annotated[int, typer.Option("--from", metavar="REVISION", min=0, help="First revision.")] = 0,
    last: Annotated[int | None, typer.Option("--to", metavar="REVISION", min=0, help="Last revision.")] = None,
    keys: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the commits of STREAM, events with their revisions; with --json as interchange lines."""
    bucket_id, stream_id = checked_name(bucket, "bucket"), checked_name(stream, "stream")
    assert bucket_id is not None
    assert stream_id is not None
    found = False
    with reading(store, keys) as engine:
        for commit in engine.get_from(bucket_id, stream_id, first, last):
            print_commit(commit, as_json=as_json)
            found = True
    if not found:
        raise StreamNotFoundError(
            f"stream {stream_id!r} of bucket {bucket_id!r} has no commits"
            + (f" from revision {first} to {'its end' if last is None else last}" if first or last is not None else "")
            + f"; fsstore ls {without_password(store)} lists the streams"
        )
