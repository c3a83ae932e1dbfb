"""What an error of the operating system means to a caller: the storage cannot do it now, and what to do about that.

For every error that nobody below has more to say about. Which call met it is told by who met it.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from fsstore.errors import StorageUnavailableError

_ROOM = "make room on the disk"
_HANDLES = "close files, or raise the limit of open files"
_PERMISSION = "see to the permissions"
_TO_DO = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: _HANDLES,
    errno.ENFILE: _HANDLES,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
}
_LOOK = "see what the system's log says of the disk"


def unavailable(what: str, error: OSError, *, in_doubt: bool = False) -> StorageUnavailableError:
    """The error for who asked for `what`; `in_doubt` where it may have been done all the same."""
    outcome = "whether it was done is in doubt" if in_doubt else "nothing was changed"
    to_do = _TO_DO.get(error.errno or 0, _LOOK)
    return StorageUnavailableError(
        f"{what} failed ({error}); {outcome}: {to_do}, then try the same again", in_doubt=in_doubt
    )


@contextlib.contextmanager
def asked(what: str, *, in_doubt: bool = False) -> Iterator[None]:
    """What the system refuses in here is said of `what`. Not for the way of every commit or read."""
    try:
        yield
    except OSError as error:
        raise unavailable(what, error, in_doubt=in_doubt) from error
