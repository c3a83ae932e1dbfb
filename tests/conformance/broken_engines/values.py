"""Engines that break a promise about values coming back as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from model_engine import ModelEngine

from broken_engines.breaking import caught_by
from broken_engines.reading import ReadsDifferently
from fsstore.model import Commit, EventMessage


@caught_by(
    "test_any_body_and_headers",
    "test_every_plain_type_in_bodies_and_headers",
    "test_any_attempts_in_one_call",
)
class BooleansBecomeNumbers(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            for event in commit.events:
                object.__setattr__(event, "headers", self.numbered(event.headers))
                object.__setattr__(event, "body", self.numbered(event.body))
        return commits

    def numbered(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.numbered(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.numbered(each) for each in value]
        return int(value) if isinstance(value, bool) else value


@caught_by("test_what_would_come_back_otherwise_is_refused")
class AnyBytesAreTaken(ModelEngine):
    def commit_many(self, attempts):
        return super().commit_many([replace(attempt, events=map(self.taken, attempt.events)) for attempt in attempts])

    def taken(self, event):
        wrapped = isinstance(event.body, list) and len(event.body) == 1 and isinstance(event.body[0], bytearray)
        return EventMessage([bytes(event.body[0])]) if wrapped else event

    def size(self, value: Any) -> int:
        return 1 if isinstance(value, bytearray) else super().size(value)


@caught_by("test_empty_headers_come_back_empty")
class EmptyHeadersAreFilled(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            for event in commit.events:
                event.headers.setdefault("", None)
        return commits


@caught_by("test_a_large_body_comes_back")
class LargeBodiesAreCut(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            for event in commit.events:
                if isinstance(event.body, dict) and "blob" in event.body:
                    event.body["blob"] = event.body["blob"][: 2**16]
        return commits


@caught_by("test_any_commit_id")
class CommitIdsAreCut(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            object.__setattr__(commit, "commit_id", type(commit.commit_id)(int=commit.commit_id.int % 2**120))
        return commits


@caught_by("test_any_stream_id_in_any_bucket", "test_awkward_ids_are_all_different_streams")
class IdsEndAtNul(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        stream_id = stream_id.split("\x00")[0]
        return super().get_from(bucket_id, stream_id, min_revision, max_revision)


@caught_by("test_a_uuid_as_stream_id_is_its_text")
class StreamIdsInUpperCase(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            object.__setattr__(commit, "stream_id", commit.stream_id.upper())
        return commits


@caught_by("test_changing_an_attempt_after_the_commit_does_not_change_the_store")
class AttemptsAreNotCopied(ModelEngine):
    def commit_many(self, attempts):
        stored = super().commit_many(attempts)
        for attempt, commit in zip(attempts, stored, strict=True):
            place = self.model.commits.index(commit)
            self.model.commits[place] = Commit.of(attempt, commit.checkpoint_token)
        return stored


@caught_by("test_changing_a_commit_that_was_read_does_not_change_the_store")
class CommitsAreReadWithoutCopying(ModelEngine):
    def get_from_checkpoint(self, *args, **kwargs):
        return iter(self.model.get_from_checkpoint(*args, **kwargs))
