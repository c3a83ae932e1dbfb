"""Opening a store for writing: take up its state, and when nobody else has it open, judge and settle it first.

`recovery` says what the journal holds and `rebuild` makes indexes anew; here is only the order in which that
happens. It must not know what is done with a store that is open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from fsstore.engines.file.collector import CollectorHeld
from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.lifetime.making import make_store
from fsstore.engines.file.lifetime.open_store import OpenStore, WritableStore
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import ERASE, FOLD_BEGUN, FOLDED, Control
from fsstore.engines.file.processes.locks import StoreLocks
from fsstore.engines.file.state import recovery
from fsstore.engines.file.state.rebuild import rebuild_indexes
from fsstore.engines.file.state.tail import Tail
from fsstore.engines.file.state.view import View, follow
from fsstore.engines.file.streams.index_file import StaleIndexError
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import Segments
from fsstore.engines.file.values.marks import DispatchCheckpoint
from fsstore.serialization import Serializer


def open_to_write(
    disk: Disk, path: str, options: Options, serializer: Serializer, check_open: Callable[[], object], *, flush: bool
) -> WritableStore:
    """The store at `path`, made first where its directories are empty."""
    with contextlib.ExitStack() as opened:
        locks = StoreLocks(disk, path)
        opened.callback(locks.close)
        with locks.write:
            if not layout.look(disk, path):
                make_store(disk, path, journal_bytes=options.first_journal_bytes)
            store = _attach(disk, path, options, serializer, check_open, locks, flush=flush)
            opened.callback(OpenStore.close, store)  # for who is interrupted on the way out
        opened.pop_all()
    return store


def _attach(
    disk: Disk,
    path: str,
    options: Options,
    serializer: Serializer,
    check_open: Callable[[], object],
    locks: StoreLocks,
    *,
    flush: bool,
) -> WritableStore:
    meta = layout.read_meta(disk, path)
    files = layout.StoreFiles(disk, path, meta.seed)
    recover = locks.presence.alone()
    most_bytes = options.max_record_bytes
    journal = Journal(files, write=True, max_record_bytes=most_bytes)
    control = Control(disk, f"{path}/{layout.CONTROL}", meta.store_id, write=True)
    indexes = Indexes(files, write=True)
    try:
        # After a kill, a few objects for each of many records, all of which stay: there is nothing to find among them.
        with CollectorHeld():
            unfolded = _recover(files, journal, control, indexes) if recover else None
        control.join(first=recover)
        # Before the indexes, so that they reach as far at least.
        folded = control.get(FOLDED)
        if not recover:
            indexes.open(at_least_folded=folded)
        segments = Segments(files, max_handles=options.max_open_segments, max_record_bytes=most_bytes)
        view = View(files, journal, indexes, segments, options, folded, unfolded)
        with CollectorHeld():
            view.refresh(control, to_tail=False)
        locks.presence.share()
        return WritableStore(files, control, view, options, serializer, check_open, locks, flush=flush)
    except BaseException:
        for part in (indexes, control):
            part.close()
        journal.forget()
        raise


def _recover(files: layout.StoreFiles, journal: Journal, control: Control, indexes: Indexes) -> Tail | None:
    """Judge and settle the journal, and begin a new epoch on the control page; both indexes are open then.

    Gives what is unfolded, where that is known from judging.
    """
    disk, path = files.disk, files.path
    verdict = recovery.judge(journal, control, path)
    if not verdict.clean:
        recovery.check_beginning(journal, verdict, recovery.folding_reached(control, indexes), path)
    recovery.settle(disk, journal, verdict, f"{path}/{layout.QUARANTINE}")
    if not verdict.clean:
        disk.flush_directory(path)  # whoever made the store may have been interrupted before that
    whole = control.whole()
    erase = control.get(ERASE) if whole else verdict.folded
    if not whole or verdict.folded < control.get(FOLDED):
        control.forget(FOLDED)
    try:
        indexes.open(at_least_folded=verdict.folded)
    except StaleIndexError:
        unfolded = follow(journal, Tail(verdict.folded, verdict.first_token), verdict.tail)
        rebuild_indexes(files, indexes, verdict.folded, verdict.first_token, unfolded)
    next_token = max(verdict.next_token, indexes.commits.next_token)
    if not verdict.clean:
        marks = DispatchCheckpoint(files, write=True)
        try:
            # Commits that only the system had are gone with the power. Others get their tokens.
            marks.forget_after(next_token - 1)
        finally:
            marks.close()
    # Without the page nobody knows of a fold that did not end: one is assumed where there was anything to fold.
    assumed = verdict.folded if verdict.is_new else verdict.tail
    control.reset(
        epoch=control.next_epoch(),
        tail=verdict.tail,
        folded=verdict.folded,
        next_token=next_token,
        erase=erase,
        fold_begun=control.get(FOLD_BEGUN) if control.belongs() else assumed,
    )
    # A file behind the tail may be replaced by whoever goes on there.
    journal.forget()
    return verdict.unfolded
