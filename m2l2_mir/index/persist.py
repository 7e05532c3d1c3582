"""An index on disk: files that never change once written, and one that says which of them count.

``INDEX/index.json`` lists every file with its size and SHA-256; replacing it is the one step that changes the index, so
that a process killed at any moment leaves the old one or the new one. A reader holds the files it has opened even when
a writer deletes them. Files above :data:`WHOLLY_CHECKED` bytes are checked on opening by their size and a sample of
their blocks; ``m2l2 doctor`` reads every byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from m2l2_mir.durable import is_unfinished, remove_unfinished, write_durably, write_json
from m2l2_mir.embedding.lock import LOCK_NAME, WriterLock
from m2l2_mir.errors import StoreError

__all__ = ["FORMAT", "MANIFEST", "check_file", "commit", "is_index", "read_manifest", "writing"]

FORMAT = 1
MANIFEST = "index.json"
WHOLLY_CHECKED = 64 << 20
SAMPLED_BLOCKS, BLOCK = 64, 1 << 20
_OURS = re.compile(r"[a-z]+(-[a-z]+)*-\d{6,}(-\d+)?\.(npy|parquet|safetensors|faiss)")

Entry = dict[str, Any]
Write = Callable[[IO[bytes]], object]


def is_index(folder: Path) -> bool:
    """Whether a folder holds an index."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what an index says of itself.

    Raises
    ------
    StoreError
        The folder is no index, its manifest is damaged, or a newer version wrote it.
    """
    path = folder / MANIFEST
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{folder} is no similarity index (no {MANIFEST}): make one with m2l2 index build STORE --out {folder}"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise StoreError(_damaged(path, str(error))) from error
    if isinstance(stored, dict) and isinstance(stored.get("format"), int) and stored["format"] > FORMAT:
        raise StoreError(
            f"{folder} has index format {stored['format']}, this version reads up to {FORMAT}: "
            "upgrade with pip install -U m2l2-mir"
        )
    if not isinstance(stored, dict) or stored.get("sha256") != _digest_of(stored):
        raise StoreError(_damaged(path, "its content is not what was written"))
    return stored


def check_file(folder: Path, entry: Mapping[str, Any], *, whole: bool = False) -> Path:
    """See that a file is the one that was written; -> its path.

    Parameters
    ----------
    whole
        Read every byte, however large the file.

    Raises
    ------
    StoreError
        It is truncated or changed.
    FileNotFoundError
        It is gone, as happens to a reader while a writer commits.
    """
    path = folder / entry["name"]
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise StoreError(_damaged(path, f"{size} bytes instead of {entry['bytes']}"))
    which = "sha256" if whole or size <= WHOLLY_CHECKED else "sample"
    if _digest(path, sampled=which == "sample") != entry[which]:
        raise StoreError(_damaged(path, "its SHA-256 is not the one written"))
    return path


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """The right to write into a folder; what a failing disk says becomes a StoreError.

    Raises
    ------
    StoreError
        The folder holds something else, cannot be written, or another process is writing into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(folder)
        lock = WriterLock(folder)
        try:
            yield
        finally:
            lock.release()
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error}; what was there is unchanged") from error


def commit(folder: Path, manifest: dict[str, Any], kept: Mapping[str, list[Entry]], new: Mapping[str, Write]) -> None:
    """Write new files, then the manifest that names them with those that are kept, then delete the others.

    Parameters
    ----------
    folder : Path
        Locked by the caller.
    manifest : dict
        ``generation`` must be new; ``files`` and ``sha256`` are added.
    kept : mapping
        Role -> entries of files that stay.
    new : mapping
        Role -> what writes its file; appended to the kept ones of this role.
    """
    remove_unfinished(folder)
    files = {role: list(entries) for role, entries in kept.items()}
    for role, write in new.items():
        suffix = {"tracks": "parquet", "preparation": "safetensors", "backend": "faiss"}.get(
            role.rpartition("-")[2], "npy"
        )
        path = folder / f"{role}-{manifest['generation']:06d}.{suffix}"
        write_durably(path, write)
        files.setdefault(role, []).append(
            {
                "name": path.name,
                "bytes": path.stat().st_size,
                "sha256": _digest(path),
                "sample": _digest(path, sampled=True),
            }
        )
    stated = {**manifest, "format": FORMAT, "files": files}
    write_json(folder / MANIFEST, {**stated, "sha256": _digest_of(stated)})
    _sweep(folder, files)


def _sweep(folder: Path, files: Mapping[str, list[Entry]]) -> None:
    """Delete what no longer counts; a system that keeps open files from being deleted leaves it to the next time."""
    named = {entry["name"] for entries in files.values() for entry in entries}
    for name in os.listdir(folder):
        if name not in named and _OURS.fullmatch(name):
            try:
                os.unlink(folder / name)
            except PermissionError:
                continue


def _refuse_foreign(folder: Path) -> None:
    names = os.listdir(folder)
    foreign = sorted(
        name for name in names if name != LOCK_NAME and not is_unfinished(name) and not _OURS.fullmatch(name)
    )
    if MANIFEST not in names and foreign:
        raise StoreError(f"{folder} holds {foreign[0]!r} and no {MANIFEST}, so it is no index: choose a new folder")


def _digest(path: Path, *, sampled: bool = False) -> str:
    """SHA-256 of a file, or of blocks spread evenly over it, the first and the last among them."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if not sampled or size <= SAMPLED_BLOCKS * BLOCK:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for number in range(SAMPLED_BLOCKS):
            file.seek((size - BLOCK) * number // (SAMPLED_BLOCKS - 1))
            digest.update(file.read(BLOCK))
        return digest.hexdigest()


def _digest_of(manifest: Mapping[str, Any]) -> str:
    stated = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(stated, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): m2l2 doctor {path.parent} tells how to mend it"
