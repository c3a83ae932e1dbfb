"""The command line, `fsstore`: one module for each verb, put together in `app`.

Exit codes: 0 fine, 1 something was found wrong or could not be done, 2 wrong usage. This module must import
without typer and rich, to say that they are missing.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    try:
        from fsstore.cli.app import run
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("typer", "rich"):
            raise
        print(
            f"fsstore: the command line needs {library}, which is not installed; pip install 'fsstore[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run())
