"""`fsstore copy`: a whole store into another, of whatever engine, going on where an earlier copy stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from fsstore.cli.opening import JsonOption, KeyFileOption, key_file_option, reading, writing
from fsstore.cli.output import note, print_json, progress
from fsstore.cli.payloads import NamedKey
from fsstore.copying import Summary, copy_store
from fsstore.dispatch.following import head_token

TO_KEY_FILE = "--to-key-file"
ToKeyFileOption = Annotated[list[NamedKey] | None, key_file_option(TO_KEY_FILE, "A key to encrypt TO with")]


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Path or URL of the store to copy.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Path or URL of the copy; made when it is not there.")],
    keys: KeyFileOption = None,
    to_keys: ToKeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store FROM into TO: commits in their order, snapshots, dispatch marks.

    What is committed to FROM meanwhile is left out, with its snapshots. At the end both stores are read and compared,
    stream by stream. A copy that was stopped goes on when it is started again. Do not write to TO before it is done.
    --key-file gives the keys of FROM; the copy is not encrypted unless --to-key-file is given.
    """
    with reading(source, keys) as one, writing(target, to_keys, key_option=TO_KEY_FILE) as other:
        head, step, found = head_token(one), "", Summary()
        with progress("copying", 100) as advance:
            for now in copy_store(one, other, head, found):
                if now.step != step or now.done % 256 == 0:
                    step = now.step
                    advance(round(100 * now.done / max(head, 1)), f"{step} {now.done:,}")
    if as_json:
        print_json(
            {
                "commits": found.commits,
                "streams": len(found.streams),
                "snapshots": found.snapshots,
                "undispatched": found.undispatched,
                "digest": found.digest,
            }
        )
    else:
        note(f"{found.commits:,} commits in {len(found.streams):,} streams copied and compared; digest {found.digest}")
