"""`get_from`, `get_from_checkpoint` and `get_from_date`: which commits, in which order, walked how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.model import Commit, EventMessage
from fsstore.testing.attempts import EPOCH, fill, first_attempt, next_attempt
from fsstore.testing.model import revisions
from fsstore.testing.promises.stores import EngineTests, case, tokens


class StreamReadingPromises(EngineTests):
    """`get_from`."""

    def test_an_unknown_stream_has_no_commits(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        assert list(engine.get_from("default", "unknown")) == []
        assert list(engine.get_from("unknown", "stream")) == []

    def test_a_stream_is_read_whole_and_oldest_first(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=5)
        assert list(engine.get_from("default", "stream")) == stored

    def test_a_range_gives_the_commits_that_touch_it(self, engine: PersistenceEngine) -> None:
        stored = [engine.commit(first_attempt("stream", events=1))]
        for events in (3, 2, 4, 1):
            fill(engine, f"between {events}")
            stored.append(engine.commit(next_attempt(stored[-1], events=events)))
        for low in range(-1, 14):
            for high in (*range(max(low, 1), 14), None):
                wanted = [
                    commit
                    for commit in stored
                    if any(low <= number and (high is None or number <= high) for number in revisions(commit))
                ]
                found = list(engine.get_from("default", "stream", low, high))
                assert found == wanted, f"revisions {low} to {high}"

    def test_nothing_touches_an_empty_range(self, engine: PersistenceEngine) -> None:
        first = engine.commit(first_attempt("stream", events=6))
        engine.commit(next_attempt(first, events=2))
        for low, high in ((5, 3), (2, 1), (7, 6), (8, 7), (8, 1), (9, 8), (1, 0), (0, 0), (0, -1), (-3, -5)):
            assert list(engine.get_from("default", "stream", low, high)) == [], f"revisions {low} to {high}"
        assert list(engine.get_from("default", "stream", 6, 6)) == [first]

    def test_a_range_in_a_long_stream(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=300, events=3, at_once=50)
        for low, high in ((1, 1), (448, 452), (450, 451), (899, 900), (450, None), (1, 450)):
            wanted = stored[(low - 1) // 3 : None if high is None else (high - 1) // 3 + 1]
            assert list(engine.get_from("default", "stream", low, high)) == wanted

    def test_streams_of_similar_names_are_apart(self, engine: PersistenceEngine) -> None:
        names = ["order", "order1", "order/1", "Order", "order ", "orde", "order\x00"]
        stored = {name: fill(engine, name, commits=2) for name in names}
        for name in names:
            assert list(engine.get_from("default", name)) == stored[name]

    def test_buckets_keep_equal_stream_ids_apart(self, engine: PersistenceEngine) -> None:
        pairs = [("default", "a"), ("b", "a"), ("B", "a"), ("a", "b"), ("ab", "c"), ("a", "bc")]
        # Joined in whatever way, each two of these give the same text.
        for separator in ("/", "\\", ":", "|", "-", ".", ",", " ", "\x00"):
            pairs += [(f"a{separator}b", "c"), ("a", f"b{separator}c")]
        stored = {pair: fill(engine, pair[1], bucket_id=pair[0], commits=2) for pair in pairs}
        for pair in pairs:
            assert list(engine.get_from(*pair)) == stored[pair]

    def test_a_commit_of_many_events(self, engine: PersistenceEngine) -> None:
        messages = [EventMessage({"number": number}, {"n": number}) for number in range(5_000)]
        commit = engine.commit(first_attempt("stream", events=messages))
        assert list(engine.get_from("default", "stream", 2_500, 2_501)) == [commit]
        assert [event.body["number"] for event in commit.events] == list(range(5_000))
        following = engine.commit(next_attempt(commit))
        assert list(engine.get_from("default", "stream", 5_001)) == [following]

    def test_a_stream_grows_while_it_is_walked(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=5)
        walk = engine.get_from("default", "stream")
        seen = [next(walk)]
        for _ in range(20):
            stored.append(engine.commit(next_attempt(stored[-1])))
        seen.extend(walk)
        assert len(seen) >= 5
        assert seen == stored[: len(seen)]


class CheckpointPromises(EngineTests):
    """`get_from_checkpoint` and the tokens."""

    def test_an_empty_store_has_no_commits(self, engine: PersistenceEngine) -> None:
        assert list(engine.get_from_checkpoint()) == []
        assert list(engine.get_from_checkpoint(7, 9)) == []

    def test_tokens_count_the_commits_of_the_store_from_one(self, engine: PersistenceEngine) -> None:
        stored = self._interleaved(engine)
        assert tokens(stored) == list(range(1, len(stored) + 1))
        assert list(engine.get_from_checkpoint()) == stored

    def test_from_is_exclusive_and_to_is_inclusive(self, engine: PersistenceEngine) -> None:
        stored = self._interleaved(engine)
        for after in range(len(stored) + 2):
            for to in (*range(len(stored) + 3), None):
                found = list(engine.get_from_checkpoint(after, to))
                assert found == stored[after:to], f"after {after} to {to}"

    def test_checkpoints_of_one_bucket_only(self, engine: PersistenceEngine) -> None:
        stored = self._interleaved(engine)
        for bucket_id in ("default", "other", "unknown"):
            for after in range(len(stored) + 1):
                for to in (*range(after, len(stored) + 1), None):
                    wanted = [each for each in stored[after:to] if each.bucket_id == bucket_id]
                    assert list(engine.get_from_checkpoint(after, to, bucket_id=bucket_id)) == wanted

    def test_a_reader_goes_on_from_the_last_token(self, engine: PersistenceEngine) -> None:
        stored = self._interleaved(engine)
        last = stored[-1].checkpoint_token
        assert list(engine.get_from_checkpoint(last)) == []
        more = fill(engine, "later", commits=3)
        assert list(engine.get_from_checkpoint(last)) == more

    def test_a_long_walk_misses_nothing(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=1_100, events=1, at_once=275)
        for found in (
            engine.get_from_checkpoint(),
            engine.get_from("default", "stream"),
            engine.get_from_date(EPOCH),
            engine.get_undispatched_commits(),
        ):
            assert tokens(found) == tokens(stored)

    def test_ends_beyond_every_commit_are_no_ends(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=2)
        for far in (2**31, 2**32, 2**63, 2**64, 2**100, 10**400):
            assert list(engine.get_from("default", "stream", -far, far)) == stored
            assert list(engine.get_from("default", "stream", far)) == []
            assert list(engine.get_from("default", "stream", 0, -far)) == []
            assert list(engine.get_from_checkpoint(-far, far)) == stored
            assert list(engine.get_from_checkpoint(far)) == []
            assert list(engine.get_from_checkpoint(0, -far)) == []
            assert engine.get_snapshot("default", "stream", far) is None
            assert len(list(engine.get_streams_to_snapshot("default", -far))) == 1
            assert list(engine.get_streams_to_snapshot("default", far)) == []

    def test_the_store_grows_while_its_checkpoints_are_walked(self, engine: PersistenceEngine) -> None:
        stored = self._interleaved(engine)
        walk = engine.get_from_checkpoint()
        seen = list(islice(walk, 2))
        for number in range(20):
            stored += fill(engine, f"new {number}")
        seen.extend(walk)
        assert len(seen) >= len(stored) - 20
        assert seen == stored[: len(seen)]

    @pytest.mark.parametrize("walked", [1, 4])
    def test_deleting_one_stream_hides_no_other_from_a_walk(self, engine: PersistenceEngine, walked: int) -> None:
        stored = self._interleaved(engine)
        walk = engine.get_from_checkpoint()
        seen = list(islice(walk, walked))
        doomed = stored[2]
        engine.delete_stream(doomed.bucket_id, doomed.stream_id)
        seen.extend(walk)
        place = (doomed.bucket_id, doomed.stream_id)
        assert [each for each in seen if (each.bucket_id, each.stream_id) != place] == [
            each for each in stored if (each.bucket_id, each.stream_id) != place
        ]

    def test_iterators_may_be_abandoned(self, engine: PersistenceEngine) -> None:
        ways: dict[str, Callable[[], Iterator[object]]] = {
            "stream": lambda: engine.get_from("default", "stream"),
            "checkpoint": engine.get_from_checkpoint,
            "date": lambda: engine.get_from_date(EPOCH),
            "undispatched": engine.get_undispatched_commits,
            "heads": lambda: engine.get_streams_to_snapshot("default", 0),
        }
        for way, read in ways.items():
            with case(way):
                head = fill(engine, "stream", commits=5)[-1]
                halfway = []
                for _ in range(30):
                    walk = read()
                    next(walk)
                    halfway.append(walk)
                head = engine.commit(next_attempt(head))
                del halfway
                engine.mark_commit_as_dispatched(engine.commit(next_attempt(head)))
                engine.delete_stream("default", "stream")
                assert list(engine.get_from_checkpoint()) == []

    @staticmethod
    def _interleaved(engine: PersistenceEngine) -> list[Commit]:
        """Seven commits in four streams and two buckets, in turns."""
        heads: dict[tuple[str, str], Commit] = {}
        stored = []
        for place in (
            ("default", "a"),
            ("other", "a"),
            ("default", "b"),
            ("default", "a"),
            ("other", "c"),
            ("other", "a"),
            ("default", "b"),
        ):
            attempt = (
                next_attempt(heads[place]) if place in heads else first_attempt(place[1], bucket_id=place[0], events=2)
            )
            heads[place] = engine.commit(attempt)
            stored.append(heads[place])
        return stored


class DatePromises(EngineTests):
    """`get_from_date`."""

    # Seconds after EPOCH: neither sorted nor all different.
    STAMPS = (10, 0, 20, 10, -5, 20, 15, 0)

    def _stamped(self, engine: PersistenceEngine) -> list[Commit]:
        return [
            engine.commit(
                first_attempt(
                    f"stream {place}",
                    bucket_id="other" if place % 3 == 0 else "default",
                    stamp=EPOCH + timedelta(seconds=seconds),
                )
            )
            for place, seconds in enumerate(self.STAMPS)
        ]

    def test_from_start_up_to_but_without_end_in_checkpoint_order(self, engine: PersistenceEngine) -> None:
        stored = self._stamped(engine)
        moments = [EPOCH + timedelta(seconds=seconds) for seconds in (-6, -5, 0, 1, 10, 15, 20, 21)]
        for start in moments:
            for end in (*moments, None):
                wanted = [
                    each for each in stored if start <= each.commit_stamp and (end is None or each.commit_stamp < end)
                ]
                assert list(engine.get_from_date(start, end)) == wanted, f"{start} to {end}"

    def test_dates_of_one_bucket_only(self, engine: PersistenceEngine) -> None:
        stored = self._stamped(engine)
        start, end = EPOCH, EPOCH + timedelta(seconds=20)
        for bucket_id in ("default", "other", "unknown"):
            wanted = [each for each in stored if each.bucket_id == bucket_id]
            found = list(engine.get_from_date(start, end, bucket_id=bucket_id))
            assert found == [each for each in wanted if start <= each.commit_stamp < end]

    def test_to_the_microsecond(self, engine: PersistenceEngine) -> None:
        microsecond = timedelta(microseconds=1)
        stored = [engine.commit(first_attempt(f"stream {n}", stamp=EPOCH + n * microsecond)) for n in range(4)]
        assert list(engine.get_from_date(EPOCH + microsecond)) == stored[1:]
        assert list(engine.get_from_date(EPOCH, EPOCH + 2 * microsecond)) == stored[:2]

    def test_a_time_is_the_same_time_at_any_offset(self, engine: PersistenceEngine) -> None:
        stored = self._stamped(engine)
        start, end = EPOCH, EPOCH + timedelta(seconds=20)
        wanted = [each for each in stored if start <= each.commit_stamp < end]
        for minutes in (-11 * 60, 5 * 60 + 45, 14 * 60):
            offset = timezone(timedelta(minutes=minutes))
            found = list(engine.get_from_date(start.astimezone(offset), end.astimezone(offset)))
            assert found == wanted

    def test_naive_times_are_refused(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        naive = EPOCH.replace(tzinfo=None)
        with pytest.raises(ValueError, match=r"."):
            list(engine.get_from_date(naive))
        with pytest.raises(ValueError, match=r"."):
            list(engine.get_from_date(EPOCH, naive))

    def test_the_ends_of_time_can_be_asked_for(self, engine: PersistenceEngine) -> None:
        stored = self._stamped(engine)
        beginning, end = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        assert list(engine.get_from_date(beginning, end)) == stored
        assert list(engine.get_from_date(end)) == []

    def test_the_store_grows_while_its_dates_are_walked(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=5)
        walk = engine.get_from_date(EPOCH)
        seen = [next(walk)]
        for _ in range(20):
            stored.append(engine.commit(next_attempt(stored[-1])))
        seen.extend(walk)
        assert len(seen) >= 5
        assert seen == stored[: len(seen)]
