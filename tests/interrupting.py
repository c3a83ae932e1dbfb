"""Ctrl-C at a place of one's choice: where Python looks for signals, and nowhere else."""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable
from types import FrameType


class Interrupting:
    """Interrupts the thread that traces with it at the n-th place in these files where Python may do so."""

    def __init__(self, at: int, *files: str | None) -> None:
        self._left = at
        self._files = files
        self._before: dict[FrameType, str] = {}
        self.interrupted = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> Interrupting | None:
        if event == "call" and frame.f_back is not None and self._before.get(frame.f_back) == "CALL":
            self._before[frame.f_back] = (
                ""  # a function of Python's own is looked into where it begins, not where it ends
            )
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before = self._before.get(frame, "")
            self._before[frame] = opcode.opname[frame.f_code.co_code[frame.f_lasti]]
            self._left -= before.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
            if not self._left and not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
        return self

    def forget(self) -> None:
        """What was interrupted may go, and with it what it held."""
        self._before.clear()


def interrupted(at: int, act: Callable[[], object], *files: str | None) -> bool:
    """Do it, interrupted at the n-th place in these files; whether there is such a place."""
    interrupting = Interrupting(at, *files)
    sys.settrace(interrupting)
    try:
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
        interrupting.forget()
    return interrupting.interrupted
