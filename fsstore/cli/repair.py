"""`fsstore repair`: what mending a damaged file store would do and give up; with `--yes` it is done."""

from __future__ import annotations

from typing import Annotated

import typer

from fsstore.cli.opening import JsonOption, StoreArgument, file_store, is_file_store
from fsstore.cli.output import print_json, printable
from fsstore.engines.file.repair import Action, apply, plan


def repair(
    store: StoreArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this nothing is changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Mend a damaged store, as far as it can be: say how, and which commits of which streams are lost by it.

    Whatever still exists in the journal or in a stream's own file is kept. Damaged files are kept too, whole, in
    the store's directory `quarantine`. Nobody may have the store open. Exits with 1 when there is something to do
    and `--yes` was not given.
    """
    if not is_file_store(store):
        raise typer.BadParameter("only file stores can be repaired", param_hint="STORE")
    disk, path = file_store(store)
    actions = apply(disk, path) if yes else plan(disk, path)
    if as_json:
        steps = [{"path": one.path, "what": one.what, "lost": one.lost} for one in actions]
        print_json({"done": yes, "actions": steps})
    else:
        _print(actions, yes)
    if actions and not yes:
        raise typer.Exit(1)


def _print(actions: list[Action], done: bool) -> None:
    for action in actions:
        print(printable(str(action)))
    losses = sum(bool(action.lost) for action in actions)
    if not actions:
        print("nothing to repair")
    elif done:
        print(f"repaired; {losses} of {len(actions)} steps gave something up. The old files are in quarantine")
    else:
        print(f"nothing was changed; {losses} of {len(actions)} steps would give something up. Do it with --yes")
