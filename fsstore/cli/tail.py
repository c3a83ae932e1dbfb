"""`fsstore tail`: the last commits of a store, and those to come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Annotated

import typer

from fsstore.cli.opening import BucketOption, JsonOption, KeyFileOption, StoreArgument, checked_name, reading
from fsstore.cli.output import print_commit
from fsstore.cli.walk import last_commits
from fsstore.dispatch.following import head_token
from fsstore.model import Commit


def tail(
    store: StoreArgument,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for new commits and print them.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many commits to begin with.")] = 10,
    after: Annotated[
        int | None, typer.Option(metavar="TOKEN", min=0, help="Begin after this checkpoint token instead.")
    ] = None,
    bucket: BucketOption = None,
    poll_seconds: Annotated[float, typer.Option(min=0.01, help="With -f: how often to look.")] = 0.2,
    keys: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last commits in checkpoint order; with --json as interchange lines. Ctrl-C ends -f."""
    bucket = checked_name(bucket, "bucket")
    with reading(store, keys) as engine:
        if after is None:
            last = last_commits(engine, lines, bucket)
            _print(last, as_json)
            seen = last[-1].checkpoint_token if last else head_token(engine)
        else:
            seen = after
        while follow or after is not None:
            seen = _print(engine.get_from_checkpoint(seen, bucket_id=bucket), as_json) or seen
            if not follow:
                return
            time.sleep(poll_seconds)


def _print(commits: Iterable[Commit], as_json: bool) -> int:
    """Prints them, and gives the token of the last, or 0 when there was none."""
    token = 0
    for commit in commits:
        print_commit(commit, as_json=as_json)
        token = commit.checkpoint_token
    sys.stdout.flush()
    return token
