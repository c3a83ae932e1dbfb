"""Repair: the one place that gives anything up, and only after it said what.

`plan` reads and says what would be done; `apply` does it. Streams' files that are damaged are written anew from
whatever whole records are left in them and in the journal, up to the first commit that nobody has. A damaged
journal is folded as far as it is whole, and a new one begun. What was replaced is kept in `quarantine/`. Every
step can be interrupted: the next repair finds what is left to do. Both need the store to themselves.
"""

from __future__ import annotations

from fsstore.engines.file.repair.repairing import Action, apply, plan

__all__ = ["Action", "apply", "plan"]
