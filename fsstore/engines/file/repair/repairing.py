"""One repair: what was found to be damaged, what is to be done about it, in which order.

It sorts findings and puts steps into words; each step itself has a module of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.engine import FileEngine
from fsstore.engines.file.failures import asked
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import locked, locked_if_there, opened
from fsstore.engines.file.processes.control import Control
from fsstore.engines.file.processes.locks import PresenceLock
from fsstore.engines.file.repair.identity import find_meta
from fsstore.engines.file.repair.journal import begin_journal
from fsstore.engines.file.repair.quarantine import set_aside
from fsstore.engines.file.repair.rewrite import Rewrite
from fsstore.engines.file.repair.streams import DamagedStreams
from fsstore.engines.file.repair.unfolded import Shortened, UnfoldedRecords, WholeRecord
from fsstore.engines.file.verify.finding import Finding
from fsstore.engines.file.verify.look import Look
from fsstore.engines.file.verify.verification import Verification
from fsstore.errors import StorageError, StorageUnavailableError


@dataclass(frozen=True, slots=True)
class Action:
    """One step. `lost` names the commits that the store gives up with it; empty when it gives up nothing."""

    path: str
    what: str
    lost: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" + (f"; LOST: {self.lost}" if self.lost else "")


def plan(disk: Disk, path: str) -> list[Action]:
    """What `apply` would do, in order; nothing is changed. Empty on a healthy store.

    `StorageUnavailableError` while anybody has the store open, `StorageError` when no store is there. Where
    something stands that no store makes, a link or a pipe, `CorruptionError`: a person has to take it away first.
    """
    with (
        asked(f"looking at what to repair in {path}"),
        _alone(disk, path, make_locks=False),
        _Repair(disk, path) as repair,
    ):
        return repair.actions()


def apply(disk: Disk, path: str) -> list[Action]:
    """Repair the store; what was done, in order. Durable on return. Errors are those of `plan`."""
    with asked(f"repairing {path}", in_doubt=True), _alone(disk, path, make_locks=True), _Repair(disk, path) as repair:
        actions = repair.actions()
        repair.carry_out()
    if actions:
        # Opening makes anew what is disposable, and closing folds what is left in the journal.
        engine = FileEngine(path, disk=disk, create=False, background=False)
        engine.initialize()
        engine.close()
    return actions


@contextlib.contextmanager
def _alone(disk: Disk, path: str, *, make_locks: bool) -> Iterator[None]:
    """Nobody else has the store open, and nobody opens it meanwhile: the latter, where a lock's file is missing, only
    with `make_locks`."""
    if not disk.exists(f"{path}/{layout.META}") and not disk.exists(f"{path}/{layout.CONTROL}"):
        raise StorageError(f"there is no store at {path}")
    for stranger in layout.strangers(disk, path):
        raise stranger

    def lock(name: str) -> AbstractContextManager[object]:
        if make_locks:
            return locked(disk, f"{path}/{name}", write=True, create=True)
        return locked_if_there(disk, f"{path}/{name}")

    with contextlib.ExitStack() as held:
        held.enter_context(lock(layout.WRITE_LOCK))
        if make_locks or disk.exists(f"{path}/{layout.LOCK}"):
            presence = PresenceLock(disk, f"{path}/{layout.LOCK}", write=make_locks)
            held.enter_context(contextlib.closing(presence))
            if not presence.alone():
                raise StorageUnavailableError(f"{path} is open; close it in every process, then repair it")
        # Last, as by whoever closes a store: a process that folds waits for the write lock while it holds this one.
        held.enter_context(lock(layout.FOLD_LOCK))
        yield


class _Repair:
    """One look at a store with what follows from it."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._indexes = {f"{path}/{name}" for name in (layout.HEADS_INDEX, layout.COMMITS_INDEX)}
        self._rewrites: list[Rewrite] = []
        self._kept: list[WholeRecord] = []
        self._shortened: list[Shortened] = []

    def __enter__(self) -> _Repair:
        with contextlib.ExitStack() as opened:
            self._meta, self._meta_is_lost = find_meta(self._disk, self._path)
            self._look = opened.enter_context(Look(self._disk, self._path, self._meta, alone=True))
            verification = Verification(self._look)
            self._sort(list(verification.findings()))
            if self._fold_out:
                self._salvage(verification.dispatched)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _sort(self, findings: list[Finding]) -> None:
        streams, journal = f"{self._path}/{layout.STREAMS}/", f"{self._path}/{layout.JOURNAL}"
        self._damaged = [one.path for one in findings if one.path.startswith(streams) and not one.disposable]
        self._journal_findings = [one for one in findings if one.path.startswith(journal)]
        self._disposable = [one for one in findings if one.disposable and one not in self._journal_findings]
        self._elsewhere = [
            one for one in findings if not one.disposable and not one.path.startswith((streams, journal))
        ]
        beyond = [one for one in self._disposable if self._is_checkpoint(one.path) and one.offset_bytes is None]
        self._fold_out = bool(self._damaged or self._journal_findings or self._elsewhere or beyond)

    def _is_checkpoint(self, path: str) -> bool:
        return path.startswith(f"{self._path}/{layout.DISPATCH}/")

    def _salvage(self, dispatched: int) -> None:
        look = self._look
        indexed = look.commits.next_token if look.commits is not None else 1
        streams = DamagedStreams(look, max(look.journal.next_token, look.next_token(), dispatched + 1, indexed))
        self._rewrites = streams.rewrites(self._damaged)
        self._kept, self._shortened = UnfoldedRecords(look, streams.extents).sort()
        self._next_token = streams.next_token

    # ---- saying ----

    def actions(self) -> list[Action]:
        actions = []
        if self._meta_is_lost:
            what = "write the meta file anew; the time of the store's creation is not known"
            actions.append(Action(f"{self._path}/{layout.META}", what))
        actions += [Action(rewrite.path, rewrite.describe(), rewrite.lost) for rewrite in self._rewrites]
        directory = f"{self._path}/{layout.JOURNAL}"
        for one in self._journal_findings:
            lost = "" if one.disposable else one.lost
            actions.append(Action(one.path, f"leave out damaged bytes ({one.expected})", lost))
        for stream in self._shortened:
            actions.append(Action(directory, f"leave out what follows a lost commit of {stream.name}", stream.lost))
        if self._fold_out:
            what = (
                f"fold {len(self._kept)} records, begin a new journal, move damaged files of the old one to quarantine"
            )
            actions.append(Action(directory, what))
        actions += [Action(one.path, f"drop the entry: {one.what}", one.lost) for one in self._elsewhere]
        seen = set()
        for one in self._disposable:
            if one.path not in seen:
                seen.add(one.path)
                actions.append(Action(one.path, self._disposable_action(one)))
        if self._fold_out and not self._indexes <= seen:
            actions.append(Action(self._path, "rebuild both indexes from the streams' files"))
        return actions

    def _disposable_action(self, finding: Finding) -> str:
        if self._is_checkpoint(finding.path):
            if finding.offset_bytes is None:
                return "go on with a checkpoint token above those that are marked"
            return "set the damaged slot aside; commits may be dispatched again"
        return "remove it; it is made anew when the store is opened"

    # ---- doing ----

    def carry_out(self) -> None:
        disk = self._disk
        if self._meta_is_lost:
            set_aside(disk, self._path, f"{self._path}/{layout.META}")
            layout.write_meta(disk, self._path, self._meta)
        for rewrite in self._rewrites:
            rewrite.write(disk)
        # What shows the damage goes last, so that a repair that is interrupted is done again, and in the same way: a
        # stream's commits after the snapshots of those that are lost, the marks after everything that goes by them.
        for rewrite in reversed(self._rewrites):
            set_aside(disk, self._path, rewrite.path)
            rewrite.put_in_place(disk)
        control = f"{self._path}/{layout.CONTROL}"
        removed = {one.path for one in self._disposable if not self._is_checkpoint(one.path)}
        if self._fold_out:
            damaged = {one.path for one in self._journal_findings}
            begin_journal(self._look, self._kept, self._next_token, damaged)
            removed = removed - self._indexes | {control}
        for one in self._disposable:
            if self._is_checkpoint(one.path) and one.offset_bytes is not None:
                self._clear_slot(one.path, one.offset_bytes)
        if control in removed and disk.exists(control):
            # Readers have it mapped, and are to see what recovery makes of it.
            with contextlib.closing(Control(disk, control, self._meta.store_id, write=True)) as page:
                page.void()
        for path in sorted(removed - {control}):
            if disk.exists(path):
                disk.unlink(path)
        disk.flush_directory(self._path)

    def _clear_slot(self, path: str, offset: int) -> None:
        set_aside(self._disk, self._path, path)
        with opened(self._disk, path, write=True) as handle:
            self._disk.write(handle, bytes(4), offset)
            self._disk.flush(handle)
