"""Files that are there whole or not at all, and one writer at a time.

A file is written under a temporary name beside its place, flushed to the disk, then renamed over
it. Temporary names begin with "." because pandas, pyarrow, DuckDB and Spark pass such files over.
"""

from __future__ import annotations

import json
import os
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from m2l2_mir.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: no advisory lock, the user has to see to it
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK_NAME", "WriterLock", "is_unfinished", "remove_unfinished", "write_durably", "write_json"]

LOCK_NAME = ".lock"


def write_durably(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Create or replace a file so that a crash leaves the old one or the new one, never a part.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    write : callable
        Called with the open binary file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_durably(Path(folder, "a.txt"), lambda file: file.write(b"hello"))
    ...     Path(folder, "a.txt").read_text()
    'hello'
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    with open(unfinished, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    _sync_folder(path.parent)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Create or replace a JSON file durably (see :func:`write_durably`)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_durably(path, lambda file: file.write(text.encode("utf-8")))


def is_unfinished(name: str) -> bool:
    """Whether a file name is one that :func:`write_durably` uses before its rename."""
    return name.startswith(".") and name.endswith(".tmp")


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed writer left half written. Only for the holder of the lock."""
    for name in os.listdir(folder):
        if is_unfinished(name):
            os.unlink(folder / name)


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


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; Windows cannot open folders and needs no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
