"""What is left of damaged streams: whole records wherever they are, put together as far as they follow one another.

A record is believed by its checksums, its place, its sequence and its token, and by `commits.index` where that
can be read: a deleted stream's old records, which a recycled journal may still hold, fail one of these. This
module reads; it writes nothing.
"""

from __future__ import annotations

from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import size_of
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.repair.remains import Extent, commits_text, measure, whole_records
from fsstore.engines.file.repair.rewrite import Piece, Rewrite
from fsstore.engines.file.streams.segments import FILES, SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.engines.file.verify.look import Look
from fsstore.engines.file.verify.segments import stated_stream

_Pieces = dict[tuple[bytes, str], list[Piece]]


class DamagedStreams:
    """Puts together what is left of the damaged streams of one store.

    `extents` says how far each of them goes then; `next_token` is above every token that any whole record has.
    """

    def __init__(self, look: Look, next_token: int) -> None:
        self._look = look
        self._disk = look.disk
        self._files = Segments(look.files, max_handles=0)
        self.extents: dict[bytes, Extent] = {}
        self.next_token = next_token

    def rewrites(self, damaged: list[str]) -> list[Rewrite]:
        """How each of these files is to be written anew."""
        wanted: dict[bytes, set[str]] = {}
        for path in damaged:
            stem, _, kind = path.rpartition("/")[2].partition(".")
            wanted.setdefault(bytes.fromhex(stem), set()).add(kind)
        pieces = self._pieces(set(wanted), damaged)
        found = []
        for key, kinds in wanted.items():
            commits: list[Piece] = []
            extent = self.extents[key] = measure(self._disk, self._files, key, without=kinds)
            if SEGMENT in kinds:
                commits = self._commits(key, pieces)
                found.append(self._segment(key, commits, extent))
            if SNAPSHOTS in kinds or (extent.cut and self._disk.exists(self._files.path(key, SNAPSHOTS))):
                rewrite = self._snapshots(key, pieces, extent, commits, is_damaged=SNAPSHOTS in kinds)
                if rewrite is not None:
                    found.append(rewrite)
        return found

    def _pieces(self, keys: set[bytes], damaged: list[str]) -> _Pieces:
        """Every whole record of these streams in their own files, in the damaged ones, and anywhere in the journal."""
        paths = {self._files.path(key, kind) for key in keys for kind in (SEGMENT, SNAPSHOTS)} | set(damaged)
        journal = f"{self._look.path}/{layout.JOURNAL}"
        everywhere = sorted(paths) + [f"{journal}/{name}" for name in self._disk.names(journal)]
        pieces: _Pieces = {}
        for path in everywhere:
            for offset, header in whole_records(self._disk, path, self._look.seed):
                self.next_token = max(self.next_token, header.token + 1)
                kind = FILES.get(header.kind)
                if header.key in keys and kind is not None:
                    pieces.setdefault((header.key, kind), []).append(Piece(path, offset, header))
        return pieces

    # ---- commits ----

    def _commits(self, key: bytes, pieces: _Pieces) -> list[Piece]:
        """The stream's commits from the first on, as far as they follow one another."""
        own = self._files.path(key, SEGMENT)
        at: dict[int, list[Piece]] = {}
        for piece in pieces.get((key, SEGMENT), []):
            at.setdefault(piece.header.sequence, []).append(piece)
        chain: list[Piece] = []
        place, token = 0, 0
        while True:
            options = [
                piece
                for piece in at.get(len(chain) + 1, [])
                if piece.header.token > token
                and (not place or piece.header.place == place)
                and self._may_be(piece, own)
            ]
            if not options:
                return chain
            best = max(options, key=lambda piece: (piece.path == own, piece.header.token))
            chain.append(best)
            place, token = best.header.place + best.header.length_bytes, best.header.token

    def _may_be(self, piece: Piece, own: str) -> bool:
        """Whether the record is of the stream as it is, not of one that was deleted: commits.index knows."""
        header, commits, seed = piece.header, self._look.commits, self._look.seed
        if piece.path == own and piece.offset == header.place:
            return True
        if header.position >= self._look.folded and self._look.in_journal(header.position):
            return False  # the journal's own records are taken from there
        if commits is None:
            return True
        expected = index_entries.commits_entry(header, seed)
        data = commits.read(header.token, header.token)
        damaged = not index_entries.commits_entry_is_whole(data.ljust(len(expected), b"\0"), 0, header.token, seed)
        return data == expected or damaged

    def _segment(self, key: bytes, chain: list[Piece], extent: Extent) -> Rewrite:
        path = self._files.path(key, SEGMENT)
        if chain:
            extent.add_commit(chain[-1].header, chain[-1].header.place)
        # What the journal still holds may go on from here, so whether a stream was cut is known after that.
        last = self._last_known(key, path)
        lost = ""
        if extent.sequence < last or not last:
            extent.cut = True
            lost = commits_text(extent.sequence + 1, last, self._text(key, chain))
        return Rewrite(path, SEGMENT, self._stream(chain), self._look.seed, chain, lost)

    def _last_known(self, key: bytes, path: str) -> int:
        """The sequence of the last commit that is folded; 0 where nothing tells it."""
        first_unfolded = self._look.unfolded_sequence(key)
        if first_unfolded:
            return first_unfolded - 1
        own = [one for one in whole_records(self._disk, path, self._look.seed) if one[1].key == key]
        last = max((header.sequence for _, header in own), default=0)
        head = self._look.heads.get(key) if self._look.heads is not None else None
        if head is not None and head.segment_bytes and head.sequence:
            return max(head.sequence, last)
        is_whole_at_its_end = bool(own) and own[-1][0] + own[-1][1].length_bytes == size_of(self._disk, path)
        return last if is_whole_at_its_end else 0

    # ---- snapshots ----

    def _snapshots(
        self, key: bytes, pieces: _Pieces, extent: Extent, commits: list[Piece], *, is_damaged: bool
    ) -> Rewrite | None:
        """What becomes of the stream's snapshots; `None` where the file can stay as it is."""
        path = self._files.path(key, SNAPSHOTS)
        begun = commits[0].header.position if commits else self._begun(key) if extent.sequence else 0
        kept: dict[int, Piece] = {}
        dropped: set[int] = set()
        for piece in pieces.get((key, SNAPSHOTS), []):
            header = piece.header
            if header.position < begun or (piece.path != path and self._look.in_journal(header.position)):
                continue
            if extent.cut and header.revision > extent.revision:
                dropped.add(header.revision)
                continue
            if piece.path == path or header.revision not in kept:
                kept[header.revision] = piece
        if not is_damaged and not dropped:
            return None
        ordered = sorted(kept.values(), key=lambda piece: piece.header.position)
        stream = self._stream(ordered)
        extent.snapshot_revisions, extent.snapshots_end = set(kept), 0
        if stream is not None:
            extent.snapshots_end = self._files.header_bytes(stream, SNAPSHOTS) + sum(
                piece.header.length_bytes for piece in ordered
            )
        lost = f"snapshots of {self._text(key, ordered)} of which no whole record is left"
        if dropped:
            lost = f"snapshots of revisions that are lost: {', '.join(map(str, sorted(dropped)))}"
        return Rewrite(path, SNAPSHOTS, stream, self._look.seed, ordered, lost)

    def _begun(self, key: bytes) -> int:
        """The position of the stream's first commit: snapshots before it are another's."""
        records = whole_records(self._disk, self._files.path(key, SEGMENT), self._look.seed)
        return next((header.position for _, header in records), 0)

    # ---- names ----

    def _stream(self, pieces: list[Piece]) -> Stream | None:
        if not pieces:
            return None
        bucket_id, stream_id, _ = format.split_prefix(pieces[0].body(self._disk))
        return Stream.of(bucket_id, stream_id)

    def _text(self, key: bytes, pieces: list[Piece]) -> str:
        stream = self._stream(pieces) or stated_stream(self._disk, self._files, key)
        if stream is not None:
            return str(stream)
        names = self._look.journal.names.get(key)
        return str(Stream.of(*names)) if names is not None else f"the stream with key {key.hex()}"
