"""What verification says of one piece of damage: where it is, and what it puts at risk."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING_LOST = "nothing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of damage. `lost` says which commits of which streams are at risk.

    `disposable`: the store does without these bytes; the file may be deleted while nobody has it open.
    """

    path: str
    offset_bytes: int | None
    what: str
    expected: str
    lost: str
    disposable: bool = False

    def __str__(self) -> str:
        where = self.path if self.offset_bytes is None else f"{self.path} at byte {self.offset_bytes}"
        kind = " (disposable)" if self.disposable else ""
        return f"{where}: {self.what}; expected {self.expected}; at risk: {self.lost}{kind}"
