"""Repair: the one place that gives anything up, and only after it said what.

`plan` reads and says what would be done; `apply` does it. Streams' files that are damaged are written anew from
whatever whole records are left in them and in the journal, up to the first commit that nobody has. A damaged
journal is folded as far as it is whole, and a new one begun. What was replaced is kept in `quarantine/`. Every
step can be interrupted: the next repair finds what is left to do. Both need the store to themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from fsstore.engines.file import format, layout
from fsstore.engines.file.commits_index import FILE_NAME as COMMITS_INDEX
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.control import CONTROL_BYTES, TAIL
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.engine import FileEngine
from fsstore.engines.file.fold import Fold
from fsstore.engines.file.heads import FILE_NAME as HEADS_INDEX
from fsstore.engines.file.heads import Heads
from fsstore.engines.file.journal import Journal
from fsstore.engines.file.locks import PresenceLock
from fsstore.engines.file.rebuild import rebuild_indexes
from fsstore.engines.file.salvage import Rewrite, Salvage, Shortened
from fsstore.engines.file.verify import Finding, Verification
from fsstore.errors import CorruptionError, StorageError, StorageUnavailableError

_JOURNAL_BYTES = 256 << 10
_COPY_BYTES = 1 << 20
_STORE_HEADER = b"\x94\xadfsstore store"


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

    `StorageUnavailableError` while anybody has the store open, `StorageError` when no store is there.
    """
    with _alone(disk, path), _Repair(disk, path) as repair:
        return repair.actions()


def apply(disk: Disk, path: str) -> list[Action]:
    """Repair the store; what was done, in order. Durable on return. Errors are those of `plan`."""
    with _alone(disk, path), _Repair(disk, path) as repair:
        actions = repair.actions()
        repair.carry_out()
    if actions:
        # Opening makes anew what is disposable, and closing folds what is left in the journal.
        engine = FileEngine(path, disk=disk, create=False, background=False)
        engine.initialize()
        engine.close()
    return actions


@contextlib.contextmanager
def _alone(disk: Disk, path: str) -> Iterator[None]:
    """Nobody else has the store open, and nobody opens it meanwhile."""
    if not disk.exists(f"{path}/{layout.META}") and not disk.exists(f"{path}/{layout.CONTROL}"):
        raise StorageError(f"there is no store at {path}")
    presence = None
    held = [
        disk.open(f"{path}/{name}") for name in (layout.WRITE_LOCK, layout.FOLD_LOCK) if disk.exists(f"{path}/{name}")
    ]
    try:
        for handle in held:
            disk.lock(handle)
        if disk.exists(f"{path}/{layout.LOCK}"):
            presence = PresenceLock(disk, f"{path}/{layout.LOCK}", write=False)
            if not presence.alone():
                raise StorageUnavailableError(f"{path} is open; close it in every process, then repair it")
        yield
    finally:
        if presence is not None:
            presence.close()
        for handle in held:
            disk.close(handle)


class _Kept:
    """The records of the old journal that are still to be folded, as the fold wants to walk them."""

    def __init__(self, records: list[tuple[format.RecordHeader, bytes]]) -> None:
        self.records = records

    def walk(self, start: int, end: int) -> Iterator[tuple[format.RecordHeader, memoryview]]:
        for header, record in self.records:
            yield header, memoryview(record)


class _Repair:
    """One look at a store with what follows from it."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._open: Verification | None = None
        self._meta_action: Action | None = None
        self._rewrites: list[Rewrite] = []
        self._disposable: list[Finding] = []
        self._journal_findings: list[Finding] = []
        self._kept: list[tuple[format.RecordHeader, bytes]] = []
        self._shortened: list[Shortened] = []
        self._fold_out = False

    def __enter__(self) -> _Repair:
        self._meta = self._read_meta()
        self._open = look = Verification(self._disk, self._path, self._meta, None, alone=True)
        look.__enter__()
        try:
            self._sort(list(look.findings()))
            if self._fold_out:
                salvage = Salvage(self._disk, self._path, self._meta.seed, look)
                self._rewrites = salvage.rewrites(self._damaged)
                self._kept, self._shortened = salvage.unfolded()
                self._next_token = salvage.next_token
        except BaseException:
            look.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.__exit__()

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

    # ---- the store's id ----

    def _read_meta(self) -> layout.Meta:
        """The meta file, or what it must have said: an id with which a file of the store can be read."""
        try:
            if self._disk.exists(f"{self._path}/{layout.META}"):
                return layout.read_meta(self._disk, self._path)
        except CorruptionError:
            pass
        for store_id in self._possible_ids():
            if self._proves(store_id):
                path = f"{self._path}/{layout.META}"
                self._meta_action = Action(
                    path, "write the meta file anew; the time of the store's creation is not known"
                )
                return layout.Meta(store_id, 0)
        raise CorruptionError(
            "the store's id is not known any more, without which nothing in it can be read",
            path=f"{self._path}/{layout.META}",
            expected="the id in the meta file or in the control page; put back store.meta from a backup",
        )

    def _possible_ids(self) -> Iterator[bytes]:
        control = self._bytes(f"{self._path}/{layout.CONTROL}", CONTROL_BYTES)
        words = memoryview(control[:24]).cast("Q") if len(control) >= 24 else memoryview(bytes(24)).cast("Q")
        yield words[1].to_bytes(8, "big") + words[2].to_bytes(8, "big")
        meta = self._bytes(f"{self._path}/{layout.META}", 64)
        at = len(_STORE_HEADER) + 4
        yield meta[at : at + 16]

    def _proves(self, store_id: bytes) -> bool:
        if len(store_id) != 16:
            return False
        seed = format.store_seed(store_id)
        directory = f"{self._path}/{layout.JOURNAL}"
        for name in self._disk.names(directory):
            with contextlib.suppress(format.FormatError):
                format.read_file_header(
                    "journal", self._bytes(f"{directory}/{name}", format.JOURNAL_HEADER_BYTES), seed
                )
                return True
        return False

    def _bytes(self, path: str, length_bytes: int) -> bytes:
        try:
            handle = self._disk.open(path)
        except FileNotFoundError:
            return b""
        try:
            return self._disk.read(handle, length_bytes, 0)
        finally:
            self._disk.close(handle)

    # ---- saying ----

    def actions(self) -> list[Action]:
        actions = [self._meta_action] if self._meta_action is not None else []
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
        rebuilt = {f"{self._path}/{name}" for name in (HEADS_INDEX, COMMITS_INDEX)}
        if self._fold_out and not rebuilt <= seen:
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
        if self._meta_action is not None:
            self._set_aside(f"{self._path}/{layout.META}")
            layout.write_meta(self._disk, self._path, self._meta)
        for rewrite in self._rewrites:
            rewrite.write(self._disk)
        for rewrite in self._rewrites:
            self._set_aside(rewrite.path)
            rewrite.put_in_place(self._disk)
        removed = {one.path for one in self._disposable if not self._is_checkpoint(one.path)}
        if self._fold_out:
            removed |= {f"{self._path}/{layout.CONTROL}"}
        for path in sorted(removed):
            if self._disk.exists(path):
                self._disk.unlink(path)
        for one in self._disposable:
            if self._is_checkpoint(one.path) and one.offset_bytes is not None:
                self._clear_slot(one.path, one.offset_bytes)
        if self._fold_out:
            self._new_journal()
        self._disk.flush_directory(self._path)

    def _clear_slot(self, path: str, offset: int) -> None:
        self._set_aside(path)
        handle = self._disk.open(path, write=True)
        try:
            self._disk.write(handle, bytes(4), offset)
            self._disk.flush(handle)
        finally:
            self._disk.close(handle)

    def _new_journal(self) -> None:
        """Fold what is whole, then begin a journal at positions that were never used."""
        assert self._open is not None
        look, seed, disk = self._open, self._meta.seed, self._disk
        heads = Heads(disk, self._path, seed, write=True)
        commits = CommitsIndex(disk, self._path, seed, write=True)
        try:
            unfolded = [(header, memoryview(record)) for header, record in self._kept]
            rebuild_indexes(disk, self._path, seed, heads, commits, 0, 1, unfolded)
            if self._kept:
                kept = _Kept(self._kept)
                fold = Fold(disk, self._path, seed, kept, heads, commits, index_from_bytes=1 << 63)  # type: ignore[arg-type]
                fold.run(0, self._kept[-1][0].end, 1 << 63, again=False, begin=lambda _: None)
            base = self._unused_position()
            rebuild_indexes(disk, self._path, seed, heads, commits, base, self._next_token, [])
            self._next_token = max(self._next_token, commits.next_token)
        finally:
            heads.close()
            commits.close()
        journal = Journal(disk, f"{self._path}/{layout.JOURNAL}", seed, write=True)
        try:
            file = journal.create(base, _JOURNAL_BYTES)
            roll = format.RecordHeader(
                0, format.ROLL, 0, 0, file.first, 0, 0, format.NO_KEY, self._next_token, 0, 0, format.NO_ID, 0,
                format.checksum(b"", seed), 0,
            )  # fmt: skip
            journal.write(file.first, format.pack_header(roll, seed))
            journal.flush(file.first)
        finally:
            journal.forget()
        damaged = {one.path for one in self._journal_findings}
        for old in (*look.journal.stale_files, *look.journal.files):
            if old.path in damaged:
                self._set_aside(old.path)
            disk.unlink(old.path)
        disk.flush_directory(f"{self._path}/{layout.JOURNAL}")

    def _unused_position(self) -> int:
        """A start for the new journal that cannot be taken for the old one's continuation."""
        assert self._open is not None
        look = self._open
        used = [file.end for file in (*look.journal.stale_files, *look.journal.files)]
        used += [index.folded for index in (look.heads, look.commits) if index is not None]
        if look.page is not None:
            used.append(look.page.lower_bound(TAIL))
        return (max(used, default=0) // 4096 + 2) * 4096

    def _set_aside(self, path: str) -> None:
        """Keep a copy of the file in quarantine."""
        disk, quarantine = self._disk, f"{self._path}/{layout.QUARANTINE}"
        if not disk.exists(path):
            return
        disk.make_directory(quarantine)
        taken = disk.names(quarantine)
        number = 1 + max((int(name.partition(".")[0]) for name in taken if name.partition(".")[0].isdigit()), default=0)
        source = disk.open(path)
        try:
            target = disk.open(f"{quarantine}/{number}.{path.rpartition('/')[2]}", write=True, create=True)
            try:
                for offset in range(0, disk.size(source), _COPY_BYTES):
                    disk.write(target, disk.read(source, _COPY_BYTES, offset), offset)
                disk.flush(target)
            finally:
                disk.close(target)
        finally:
            disk.close(source)
        disk.flush_directory(quarantine)
