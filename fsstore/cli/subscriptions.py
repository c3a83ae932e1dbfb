"""`fsstore subscriptions`: what is remembered under which name, and changing it."""

from __future__ import annotations

from typing import Annotated

import typer

from fsstore.cli.opening import JsonOption, StoreArgument, reading, writing
from fsstore.cli.output import print_json, printable
from fsstore.dispatch import Subscriptions


def subscriptions(
    store: StoreArgument,
    reset: Annotated[str | None, typer.Option(metavar="NAME", help="Deliver again what comes after --to.")] = None,
    to: Annotated[int, typer.Option(metavar="TOKEN", min=0, help="With --reset: the checkpoint token.")] = 0,
    delete: Annotated[str | None, typer.Option(metavar="NAME", help="Forget this subscription.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List subscriptions with the checkpoint up to which each has acknowledged; or reset or delete one."""
    if reset is not None and delete is not None:
        raise typer.BadParameter("reset or delete, not both", param_hint="--reset")
    if reset is None and delete is None:
        _list(store, as_json)
        return
    with writing(store, create=False, opaque=True) as engine:
        known = Subscriptions(engine)
        try:
            if reset is not None:
                known.reset(reset, to)
            elif delete is not None:
                known.delete(delete)
        except ValueError as error:
            hint = "--reset" if reset is not None else "--delete"
            raise typer.BadParameter(str(error), param_hint=hint) from error


def _list(store: str, as_json: bool) -> None:
    with reading(store) as engine:
        states = Subscriptions(engine).all()
    for state in states:
        if as_json:
            damaged = sorted(state.damaged)
            print_json(
                {"name": state.name, "position": state.position, "partitions": state.partitions, "damaged": damaged}
            )
        else:
            partitions = f"  in {state.partitions} partitions" if state.partitions > 1 else ""
            trouble = "  damaged, cannot be read before --reset or --delete" if state.damaged else ""
            print(f"{state.position:>12,}  {printable(state.name)}{partitions}{trouble}")
