"""Verification of what delivery noted: dispatch checkpoints and named values, each in two slots."""

from __future__ import annotations

from collections.abc import Iterator

from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import opened
from fsstore.engines.file.values import marks as dispatched
from fsstore.engines.file.values import named_values, slots
from fsstore.engines.file.verify.finding import Finding
from fsstore.engines.file.verify.look import Look


class MarksCheck:
    """`dispatched` is the last checkpoint that any of the files names, once all were looked at."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self.dispatched = 0

    def findings(self) -> Iterator[Finding]:
        directory = f"{self._look.path}/{layout.DISPATCH}"
        for name in self._look.disk.names(directory):
            if name.endswith((".checkpoint", named_values.VALUE)):
                yield from self._file(f"{directory}/{name}", marks=name.endswith(".checkpoint"))

    def _file(self, path: str, *, marks: bool) -> Iterator[Finding]:
        look = self._look
        lost = "nothing; commits may be dispatched again"
        with opened(look.disk, path) as handle:
            look.disk.lock(handle, shared=True)
            fits = dispatched.fits if marks else named_values.fits
            contents = [slots.read_slot(look.disk, handle, look.seed, slot, fits) for slot in (0, 1)]
        newest = (0, 0)
        for slot, content in enumerate(contents):
            if content is None:
                offset = slot * slots.SLOT_BYTES
                yield Finding(path, offset, "a slot is damaged", "a whole dispatch checkpoint", lost, True)
            elif content and marks:
                generation, up_to, ranges = content
                newest = max(newest, (generation, max([up_to, *(last for _, last in ranges)])))
        self.dispatched = max(self.dispatched, newest[1])
        last_token = look.next_token() - 1
        if 0 <= last_token < newest[1]:
            yield Finding(
                path,
                None,
                f"commits up to checkpoint {newest[1]} are marked as dispatched",
                f"at most {last_token}, the last that was given out",
                "none; commits that get these checkpoints would not be dispatched",
                True,
            )
