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
    processes = [_Process(disk.process(), program) for program in programs]
    done = threading.Semaphore(0)
    failures: list[BaseException] = []

    def chosen(count: int) -> int:
        if not failures:
            try:
                return choose(count)
            except BaseException as failure:
                failures.append(failure)
        return 0

    def pass_on(current: _Process) -> None:
        order = [current, *(one for one in processes if one is not current)]
        ready = [one for one in order if not one.ended and not one.blocked]
        if not ready:
            ready = [one for one in order if not one.ended]
            if not ready:
                done.release()
                return
            if not ready[0].disk.is_off:
                raise RuntimeError("every process waits for a lock that another holds")
        following = ready[chosen(len(ready))] if len(ready) > 1 else ready[0]
        if following is not current:
            following.turn.release()
            if not current.ended:
                current.turn.acquire()

    def turn(asking: object, blocked: bool) -> None:
        current = next(one for one in processes if one.disk is asking)
        if not blocked:
            for one in processes:  # somebody's lock may be free now
                one.blocked = False
        current.blocked = blocked
        pass_on(current)

    def run(process: _Process) -> None:
        process.turn.acquire()
        try:
            process.program(process.disk)
        except BaseException as error:
            process.error = error
        process.ended = True
        process.disk.kill()
        for one in processes:
            one.blocked = False
        pass_on(process)

    threads = [threading.Thread(target=run, args=(process,), daemon=True) for process in processes]
    disk.take_turns(turn)
    for thread in threads:
        thread.start()
    processes[chosen(len(processes))].turn.release()
    done.acquire()
    for thread in threads:
        thread.join()
    disk.take_turns(None)
    if failures:
        raise failures[0]
    return [process.error for process in processes]
