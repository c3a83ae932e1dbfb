"""`fsstore ls`: the streams of a store."""

from __future__ import annotations

from fsstore.cli.opening import BucketOption, JsonOption, KeyFileOption, StoreArgument, checked_name, reading
from fsstore.cli.output import print_json, printable
from fsstore.cli.walk import StreamTotals, totals


def ls(
    store: StoreArgument, bucket: BucketOption = None, keys: KeyFileOption = None, as_json: JsonOption = False
) -> None:
    """List the streams, with the revision and the time of the last commit of each."""
    bucket = checked_name(bucket, "bucket")
    with reading(store, keys) as engine:
        streams = totals(engine.get_from_checkpoint(bucket_id=bucket))
    rows = [streams[name] for name in sorted(streams)]
    if as_json:
        for row in rows:
            print_json(
                {
                    "bucket_id": row.bucket_id,
                    "stream_id": row.stream_id,
                    "stream_revision": row.stream_revision,
                    "commits": row.commits,
                    "checkpoint_token": row.checkpoint_token,
                    "commit_stamp": _stamp(row),
                }
            )
        return
    width = max((len(printable(row.bucket_id)) for row in rows), default=0)
    width = max(width, len("BUCKET"))
    print(f"{'REVISION':>8}  {'COMMITS':>8}  {'LAST COMMIT':<20}  {'BUCKET':<{width}}  STREAM")
    for row in rows:
        names = f"{printable(row.bucket_id):<{width}}  {printable(row.stream_id)}"
        print(f"{row.stream_revision:>8}  {row.commits:>8}  {_stamp(row)[:19] + 'Z':<20}  {names}")


def _stamp(row: StreamTotals) -> str:
    assert row.commit_stamp is not None, "totals come from at least one commit"
    return row.commit_stamp.isoformat().replace("+00:00", "Z")
