"""`fsstore parked`: commits that a dispatcher could not take, and what is to become of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fsstore.cli.opening import JsonOption, KeyFileOption, StoreArgument, reading, writing
from fsstore.cli.output import print_json, printable
from fsstore.cli.payloads import NamedKey
from fsstore.dispatch import Parking


def parked(
    store: StoreArgument,
    send_again: Annotated[
        list[int] | None,
        typer.Option(metavar="TOKEN", help="Have whoever delivers try this commit once more; may be repeated."),
    ] = None,
    drop: Annotated[
        list[int] | None, typer.Option(metavar="TOKEN", help="Take this one out unsent; may be repeated.")
    ] = None,
    keys: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List parked commits with the reason; or send them again, or drop them. A dropped commit stays in its stream."""
    if not send_again and not drop:
        _list(store, keys, as_json)
        return
    with writing(store, keys, create=False) as engine:
        parking = Parking(engine)
        try:
            for token in send_again or ():
                parking.send_again(token)
            for token in drop or ():
                parking.drop(token)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="TOKEN") from error


def _list(store: str, keys: list[NamedKey] | None, as_json: bool) -> None:
    with reading(store, keys) as engine:
        commits = Parking(engine).commits()
    for commit in commits:
        if as_json:
            print_json(asdict(commit))
        else:
            print(
                f"{commit.checkpoint_token}  {printable(commit.bucket_id)}  {printable(commit.stream_id)}  "
                f"commit {commit.commit_sequence}  {commit.commit_id}\n"
                f"      parked {commit.parked_at} after {commit.attempts} attempts: {printable(commit.reason)}"
            )
