"""What is open belongs to the parent of a forked process: the child ends nothing of it, and waits for nobody."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from receivers import Receiver, wait_for

from fsstore import Wireup
from fsstore.testing import first_attempt

SYNCHRONOUS_AND_NOT = [Wireup.using_synchronous_dispatch_scheduler, Wireup.using_asynchronous_dispatch_scheduler]


def child_ends(do: Callable[[], bool]) -> bool:
    """Whether a child that is forked now comes to an end with `do`, and that is true."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(10)
            code = 0 if do() else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("schedule", SYNCHRONOUS_AND_NOT, ids=["synchronous", "asynchronous"])
def test_closing_it_in_the_child_closes_nothing(tmp_path: Path, schedule: Callable[..., Wireup]) -> None:
    receiver = Receiver()
    store = schedule(Wireup.init().using(tmp_path / "s"), receiver).build()
    store.commit(first_attempt("a"))
    audit = store.subscribe("audit")
    got: list[int] = []
    # Its thread waits in the subscription, whose locks are held in the child for ever.
    reader = threading.Thread(target=lambda: got.extend(commit.checkpoint_token for commit in audit))
    reader.start()
    wait_for(lambda: got == [1])

    def close() -> bool:
        store.close()
        audit.close()
        return not receiver.closed

    assert child_ends(close)
    store.commit(first_attempt("b"))
    wait_for(lambda: (got, receiver.tokens) == ([1, 2], [1, 2]))
    store.close()
    reader.join()
    assert receiver.closed


def test_leaving_its_block_in_the_child_is_no_error(tmp_path: Path) -> None:
    def leave() -> bool:
        with store, audit:
            return True

    with Wireup.init().using(tmp_path / "s").build() as store:
        store.commit(first_attempt("a"))
        audit = store.subscribe("audit")
        next(audit)
        assert child_ends(leave)
        store.commit(first_attempt("b"))
        assert next(audit).checkpoint_token == 2
