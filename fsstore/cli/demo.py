"""`fsstore demo`: the demonstration in `fsstore.demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIRECTORY]", help="New or empty directory for its stores.", show_default="a temporary directory"
        ),
    ] = None,
) -> None:
    """Run a real history through a file store, kill a writer in the middle, and check that nothing is lost."""
    from fsstore.demo.program import run

    if directory is not None and directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise typer.BadParameter(f"{directory} exists and is not an empty directory", param_hint="DIRECTORY")
    if not run(directory):
        raise typer.Exit(1)
