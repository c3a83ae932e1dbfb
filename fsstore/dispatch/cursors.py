"""Where a subscription stands: what it has read, handed out and had acknowledged, and when that must be written down.

Rules only: nothing here waits, reads or writes, so that threads and coroutines follow the same ones.
"""

from __future__ import annotations

import msgpack

from fsstore.errors import CorruptionError
from fsstore.serialization.untrusted import check_msgpack

# Commits that a filter passes over are worth a write only now and then.
_PASSED_OVER = 1_000
_LAST_POSITION = (1 << 63) - 1  # no engine has a commit behind it


class Cursor:
    """One reader's place in checkpoint order, `position` being the token up to which nothing has to come again."""

    def __init__(self, position: int, acknowledge_every: int) -> None:
        self.position = position
        self.read_to = position
        self._stored = position
        self._unacknowledged: list[int] = []
        self._acknowledged = 0
        self._acknowledge_every = acknowledge_every

    @property
    def handed_out(self) -> bool:
        """Whether commits were handed out that are not acknowledged yet."""
        return bool(self._unacknowledged)

    def awaits(self, token: int) -> bool:
        """Whether the commit at `token` was handed out and is not acknowledged yet."""
        return token in self._unacknowledged

    def passed_over(self, token: int) -> None:
        """The commit at `token` is none of this reader's."""
        self.read_to = token
        if not self._unacknowledged:
            self.position = token

    def hand_out(self, token: int) -> None:
        """The commit at `token` goes to the consumer."""
        self.read_to = token
        self._unacknowledged.append(token)

    def acknowledge(self, token: int) -> None:
        """All commits up to `token` are done with; `ValueError` when that one was not handed out."""
        if token > self.position and token not in self._unacknowledged:
            raise ValueError(f"the commit at checkpoint {token} was not handed out, so it cannot be acknowledged")
        done = [handed_out for handed_out in self._unacknowledged if handed_out <= token]
        del self._unacknowledged[: len(done)]
        self._acknowledged += len(done)
        self.position = self._unacknowledged[0] - 1 if self._unacknowledged else max(self.read_to, self.position)

    def acknowledge_all(self) -> None:
        """All commits that were handed out are done with."""
        if self._unacknowledged:
            self.acknowledge(self._unacknowledged[-1])

    def must_be_stored(self, *, idle: bool = False, leaving: bool = False) -> bool:
        """Whether the position has to be written now: a batch is full, or there is time and something to write."""
        if leaving:
            return self.position > self._stored
        if self._acknowledged >= (1 if idle else self._acknowledge_every):
            return True
        return self.position - self._stored >= _PASSED_OVER

    def stored(self) -> None:
        """The position was written."""
        self._stored, self._acknowledged = self.position, 0


def pack_position(position: int) -> bytes:
    """The stored form of a position."""
    return bytes(msgpack.packb({"position": min(position, _LAST_POSITION)}))


def unpack_position(value: bytes, name: str) -> int:
    """The position in its stored form; `CorruptionError`, with the subscription's name, where it is none."""
    try:
        check_msgpack(value)
        match msgpack.unpackb(value):
            case {"position": int(position)} if position >= 0:
                return position
    except (ValueError, TypeError):
        pass
    raise CorruptionError(
        f"what is stored as the position of subscription {name!r} is none: {value[:40]!r}",
        repair="reset the subscription, to 0 for example, or delete it",
    )
