"""One writer at a time in one folder."""

from __future__ import annotations

import os
import warnings
import weakref
from pathlib import Path

from m2l2_mir.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: no advisory lock, the user has to see to it
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK_NAME", "WriterLock"]

LOCK_NAME = ".lock"


class WriterLock:
    """The right to write into a folder, held until released or the process ends.

    Raises
    ------
    StoreError
        If another writer holds it. Where the system or the file system knows no locks, a warning
        is given (or, on Windows, nothing) and writing goes on.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lock = WriterLock(Path(folder))
    ...     lock.release()
    """

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        if fcntl is None:
            return
        file = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise StoreError(
                f"{folder} is being written by another process: wait for it to end, or choose another --out"
            ) from error
        except OSError as error:
            os.close(file)
            warnings.warn(f"{folder} cannot be locked ({error}): see that nothing else writes to it", stacklevel=2)
            return
        self._file = file
        # A forked worker would inherit the lock and keep it when this process is killed.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _release(this()))

    def release(self) -> None:
        """Let the next writer in; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _release(lock: WriterLock | None) -> None:
    if lock is not None:
        lock.release()
