"""Where a file of official weights came from: what the model hub states of it, kept when it is downloaded.

The note lies in ``models/`` of this package's cache. It counts for the very file that was compared with the hub's
checksum: one that has been changed since, or lies elsewhere, is again one of which nothing is known but its SHA-256,
which is kept there too, for it takes long to compute.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from m2l2_mir.durable import cache_home, write_json

__all__ = ["Origin", "keep_origin", "noted_origin", "origin_of", "sha256_of", "sha256_once", "stated_sha256"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A download.

    Parameters
    ----------
    commit
        Of the repository on the hub.
    sha256
        That the hub states and the file has; empty where the hub states none.
    path, size, mtime_ns
        Of the file.
    """

    commit: str
    sha256: str
    path: str
    size: int
    mtime_ns: int


def stated_sha256(etag: str | None) -> str:
    """The checksum that an etag of the hub is for large files; empty for others, whose etag is that of git.

    >>> stated_sha256("0f" * 32)[:8], stated_sha256("0f" * 20)
    ('0f0f0f0f', '')
    """
    return etag if etag and re.fullmatch("[0-9a-f]{64}", etag) else ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """SHA-256 of a file, computed once as long as its place, size and time stamp stay the same."""
    state = path.stat()
    place, mine = cache_home() / "models" / "sha256.json", [state.st_size, state.st_mtime_ns]
    try:
        noted = dict(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        noted = {}
    known = {file: note for file, note in noted.items() if os.path.exists(file)}
    name = os.path.realpath(path)
    match known.get(name):
        case [size, mtime_ns, str(sha256)] if [size, mtime_ns] == mine:
            return sha256
    sha256 = sha256_of(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written: computed again next time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, {**known, name: [*mine, sha256]})
    return sha256


def keep_origin(preset: str, path: Path, *, commit: str, sha256: str) -> None:
    """Note where a file came from.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    place = _note(preset)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, asdict(_with_file(path, commit, sha256)))


def noted_origin(preset: str) -> Origin | None:
    """What was noted of the last download of a preset's weights; None if nothing was, or it cannot be read."""
    try:
        return Origin(**json.loads(_note(preset).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def origin_of(preset: str, path: Path) -> Origin | None:
    """What was noted of this very file."""
    noted = noted_origin(preset)
    return noted if noted is not None and noted == _with_file(path, noted.commit, noted.sha256) else None


def _with_file(path: Path, commit: str, sha256: str) -> Origin:
    state = path.stat()
    return Origin(
        commit=commit, sha256=sha256, path=os.path.realpath(path), size=state.st_size, mtime_ns=state.st_mtime_ns
    )


def _note(preset: str) -> Path:
    return cache_home() / "models" / f"{preset}.origin.json"
