"""A walk over commits asks for pages that fit into memory, whatever the commits' size."""

from __future__ import annotations

import pytest

from fsstore import CommitAttempt
from fsstore.engines.mongo.calls import Call
from fsstore.engines.mongo.documents import OurForm
from fsstore.engines.mongo.reading import NumberedReads
from fsstore.model import EventMessage
from fsstore.serialization import MsgpackSerializer
from fsstore.testing.attempts import first_attempt


def limits(attempt: CommitAttempt, pages: int) -> list[int]:
    """How many commits a walk asks for, page by page, when each is as large as `attempt`."""
    form = OurForm(MsgpackSerializer())
    document = form.document(attempt)
    walk = NumberedReads(form).checkpoints(0, None, None)
    found: list[int] = []
    for _ in range(pages):
        conversation = walk.page()
        said = next(conversation)
        assert isinstance(said, Call)
        found.append(said.options["limit"])
        with pytest.raises(StopIteration):
            conversation.send([{**document, "_id": number} for number in range(1, found[-1] + 1)])
        assert walk.more
    return found


def test_pages_grow_while_commits_are_small() -> None:
    assert limits(first_attempt("s"), 4) == [64, 256, 500, 500]


def test_pages_of_large_commits_are_few_commits() -> None:
    [first, *others] = limits(first_attempt("s", events=[EventMessage(b"x" * (1 << 20))]), 3)
    assert first == 64
    assert others == [3, 3]
