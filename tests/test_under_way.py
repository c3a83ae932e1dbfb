"""Closing an engine waits for the calls that are under way, and for none that a thread was interrupted in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Thread

import pytest

from fsstore.engines.under_way import UnderWay
from fsstore.engines.waiting import ThreadWaiting


@pytest.mark.parametrize("where", ["check", "call"])
def test_a_call_that_was_interrupted_is_over(where: str) -> None:
    def interrupt(here: str) -> None:
        if here == where:
            raise KeyboardInterrupt

    under_way = UnderWay()
    with pytest.raises(KeyboardInterrupt):
        under_way.make(lambda: interrupt("call"), check=lambda: interrupt("check"))
    under_way.wait(sleep=lambda seconds: pytest.fail("something is waited for"))


def test_what_the_check_refuses_is_over() -> None:
    under_way = UnderWay()
    with pytest.raises(ZeroDivisionError):
        under_way.make(lambda: pytest.fail("it is made"), check=lambda: 1 / 0)
    under_way.wait(sleep=lambda seconds: pytest.fail("something is waited for"))


def test_a_call_is_waited_for_from_before_its_check_until_it_is_over() -> None:
    under_way = UnderWay()
    waited: list[str] = []

    def waits(where: str) -> None:
        with pytest.raises(InterruptedError):
            under_way.wait(sleep=_interrupt)
        waited.append(where)

    under_way.make(lambda: waits("call"), check=lambda: waits("check"))
    under_way.wait(sleep=_interrupt)
    assert waited == ["check", "call"]


def test_a_lock_that_was_taken_when_its_thread_was_interrupted_is_free() -> None:
    class Interrupted(type(ThreadWaiting().lock())):  # type: ignore[misc]
        is_interrupted = True

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            taken: bool = super().acquire(blocking, timeout)
            if self.is_interrupted:
                raise KeyboardInterrupt
            return taken

    lock = Interrupted(0.0)
    with pytest.raises(KeyboardInterrupt), lock:
        pass
    lock.is_interrupted = False
    taken: list[str] = []
    for number in range(2):
        thread = Thread(target=lambda: taken.append(_taken_or_not(lock)))
        thread.start()
        thread.join()
        if not number:
            lock.__enter__()
    lock.release()
    assert taken == ["taken", "not taken"]


def test_a_lock_is_refused_to_the_thread_that_has_it() -> None:
    """As to a signal's handler: two changes of one thread would mingle."""
    lock = ThreadWaiting().lock()
    with lock:
        assert _taken_or_not(lock) == "not taken"
        taken: list[str] = []
        thread = Thread(target=lambda: taken.append(_taken_or_not(lock)), daemon=True)
        thread.start()
        thread.join(0.1)
        assert taken == []  # it waits: what was refused has not let go of it
    thread.join(30)
    assert taken == ["taken"]


def _taken_or_not(lock: AbstractContextManager[object]) -> str:
    try:
        with lock:
            return "taken"
    except TimeoutError:
        return "not taken"


def _interrupt(seconds: float) -> None:
    raise InterruptedError
