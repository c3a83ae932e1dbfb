"""A process of its own for a part of a case: `python -m bench.worker MODULE ARGUMENTS`. It knows no case itself."""

from __future__ import annotations

import sys
from importlib import import_module

if __name__ == "__main__":
    import_module(f"bench.cases.{sys.argv[1]}").work(*sys.argv[2:])
