"""Several processes on one simulated disk, taking turns at lock boundaries, always in the same way for one choice.

Each process is a thread, but only the one that has the turn runs; the turn is passed where a process takes or
releases a lock, has to wait for one, or ends. What the processes do is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fsstore.testing.simulation.choices import Choose
from fsstore.testing.simulation.disk import SimulatedDisk

Program = Callable[[SimulatedDisk], None]


class _Process:
    def __init__(self, disk: SimulatedDisk, program: Program) -> None:
        self.disk = disk
        self.program = program
        self.turn = threading.Semaphore(0)
        self.blocked = False
        self.ended = False
        self.error: BaseException | None = None


def interleave(disk: SimulatedDisk, programs: list[Program], choose: Choose) -> list[BaseException | None]:
    """Run each program with a process of its own; returns when all have ended, with what ended each.

    `None` is a program that returned; `PowerCut` and `ProcessKilled` are given back like every other error.
    `choose` says at every boundary who goes on; 0 is whoever has the turn. What it raises is raised here once all
    have ended; it is not asked again.
    """
    return _Interleaving(disk, programs, choose).run()


class _Interleaving:
    def __init__(self, disk: SimulatedDisk, programs: list[Program], choose: Choose) -> None:
        self._disk = disk
        self._choose = choose
        self._failure: BaseException | None = None
        self._processes = [_Process(disk.process(), program) for program in programs]
        self._all_ended = threading.Semaphore(0)

    def run(self) -> list[BaseException | None]:
        processes = self._processes
        threads = [threading.Thread(target=self._run_one, args=(one,), daemon=True) for one in processes]
        self._disk.take_turns(self._at_boundary)
        for thread in threads:
            thread.start()
        processes[self._chosen(len(processes))].turn.release()
        self._all_ended.acquire()
        for thread in threads:
            thread.join()
        self._disk.take_turns(None)
        if self._failure is not None:
            raise self._failure
        return [process.error for process in processes]

    def _run_one(self, process: _Process) -> None:
        process.turn.acquire()
        try:
            process.program(process.disk)
        except BaseException as error:
            process.error = error
        process.ended = True
        process.disk.kill()
        self._unblock_all()
        self._pass_on(process)

    def _at_boundary(self, asking: object, blocked: bool) -> None:
        current = next(one for one in self._processes if one.disk is asking)
        if not blocked:
            self._unblock_all()
        current.blocked = blocked
        self._pass_on(current)

    def _unblock_all(self) -> None:
        """A lock may be free now that somebody waits for."""
        for one in self._processes:
            one.blocked = False

    def _pass_on(self, current: _Process) -> None:
        order = [current, *(one for one in self._processes if one is not current)]
        left = [one for one in order if not one.ended]
        if not left:
            self._all_ended.release()
            return
        ready = [one for one in left if not one.blocked]
        if not ready:
            if not left[0].disk.is_off:
                raise RuntimeError("every process waits for a lock that another holds")
            ready = left
        following = ready[self._chosen(len(ready))] if len(ready) > 1 else ready[0]
        if following is not current:
            following.turn.release()
            if not current.ended:
                current.turn.acquire()

    def _chosen(self, count: int) -> int:
        if self._failure is None:
            try:
                return self._choose(count)
            except BaseException as failure:
                self._failure = failure
        return 0
