"""Engines that break one promise each, and the tests of the conformance suite that must notice.

`BREAKAGES` maps the name of a breakage to its engine and those tests; for each there is a conformance class beside
it, named after it, which `test_conformance_catches.py` runs. Every engine is `ModelEngine` with one fault. There is a
module for each of `fsstore.testing.promises`.
"""

from __future__ import annotations

from broken_engines import (
    arguments,
    commits,
    concurrency,
    deletion,
    delivery,
    dispatch_marks,
    lifecycle,
    reading,
    snapshots,
    values,
)
from broken_engines.breaking import BREAKAGES

__all__ = [
    "BREAKAGES",
    "arguments",
    "commits",
    "concurrency",
    "deletion",
    "delivery",
    "dispatch_marks",
    "lifecycle",
    "reading",
    "snapshots",
    "values",
]
