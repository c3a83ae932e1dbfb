"""The verbs together, and what an error becomes: one clear line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

import fsstore
from fsstore.cli import copy, demo, export, import_, ls, parked, repair, show, stat, subscriptions, tail, verify
from fsstore.errors import EventStoreError

app = typer.Typer(
    name="fsstore",
    help="Look into event stores, and carry commits in and out of them. STORE is a path or a URL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("import")(import_.import_)
app.command("copy")(copy.copy)
app.command("export")(export.export)
app.command("ls")(ls.ls)
app.command("show")(show.show)
app.command("tail")(tail.tail)
app.command("stat")(stat.stat)
app.command("subscriptions")(subscriptions.subscriptions)
app.command("parked")(parked.parked)
app.command("verify")(verify.verify)
app.command("repair")(repair.repair)


def _version(asked: bool) -> None:
    if asked:
        print(f"fsstore {fsstore.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _open_what_is_closed() -> None:
    """A standard stream that the process was started without keeps its number from the files of a store. Reading or
    writing it is an error; what would be said of errors is lost."""
    for name, mode, flags in (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def run() -> int:
    """The command line of this process; gives the exit code."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = _carried_out()
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would try again at its end, and say so in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or (1 if isinstance(error, BrokenPipeError) else _say(f"standard output: {error.strerror}"))
    return code


def _carried_out() -> int:
    try:
        app()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except (EventStoreError, ImportError) as error:
        return _say(str(error))
    except OSError as error:
        return _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _say(message: str) -> int:
    print("fsstore:", " ".join(message.splitlines()), file=sys.stderr)
    return 1
