"""Files that are there whole or not at all.

A file is written under a temporary name beside its place, flushed to the disk, then renamed over
it. Temporary names begin with "." because pandas, pyarrow, DuckDB and Spark pass such files over.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["cache_home", "is_unfinished", "remove_unfinished", "write_durably", "write_json"]


def cache_home() -> Path:
    """Folder for what can be made again: ``$M2L2_CACHE``, else ``m2l2-mir`` in the user's cache folder."""
    if own := os.environ.get("M2L2_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "m2l2-mir"


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
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # each writer's own
    try:
        with open(unfinished, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
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


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; Windows cannot open folders and needs no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
