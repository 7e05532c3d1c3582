"""What the embeddings of a store were made with: ``provenance.json``.

Embeddings can only be compared when the same weights and settings made them, so everything under
``settings`` and the shape of the embeddings is compared whenever a store is written to again.
Versions, with the device, and times are recorded, not compared: a library update must not orphan
a store. The versions of later runs that differ go to ``history``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from m2l2_mir.durable import write_json
from m2l2_mir.errors import InputError, StoreError

__all__ = ["FORMAT", "PROVENANCE_NAME", "complete", "read_provenance", "record", "utc_now"]

FORMAT = 1
PROVENANCE_NAME = "provenance.json"
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "settings": dict,
    "num_embeddings": int,
    "dim": int,
    "chunk_seconds": (int, float),
}
_SHAPE_KEYS = ("num_embeddings", "dim", "chunk_seconds", "keep_chunks")
_ABSENT = object()


def complete(provenance: dict[str, Any], *, keep_chunks: bool) -> dict[str, Any]:
    """Check what a caller gives as provenance and add what the store adds.

    Parameters
    ----------
    provenance : dict
        ``settings`` (dict, compared), ``num_embeddings``, ``dim``, ``chunk_seconds`` (compared);
        ``versions`` (dict) and ``created`` are optional. Other keys are kept.
    keep_chunks : bool
        Whether the store holds the embedding of every chunk (compared).

    Returns
    -------
    dict
        As it reads back from JSON, with ``format``, ``created`` and ``keep_chunks``.

    Raises
    ------
    InputError
        If a key is missing, of the wrong kind or cannot be written as JSON.

    Examples
    --------
    >>> given = {"settings": {"size": (1, 2)}, "num_embeddings": 8, "dim": 64, "chunk_seconds": 0.74}
    >>> full = complete(given, keep_chunks=False)
    >>> full["settings"], full["format"], full["keep_chunks"]
    ({'size': [1, 2]}, 1, False)
    """
    wrong = _wrong_keys(provenance)
    if wrong:
        found = ", ".join(f"{key} = {provenance.get(key)!r}" for key in wrong)
        raise InputError(f"provenance needs settings, num_embeddings, dim and chunk_seconds; unfit: {found}")
    full = {"versions": {}, "created": utc_now(), **provenance, "format": FORMAT, "keep_chunks": keep_chunks}
    try:
        return dict(json.loads(json.dumps(full, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance cannot be written as JSON: {error}") from error


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read the provenance of a store.

    Raises
    ------
    StoreError
        If the folder is no store, its provenance is damaged, or a newer version wrote it.
    """
    path = folder / PROVENANCE_NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{folder} is no embedding store (no {PROVENANCE_NAME}): make one with m2l2 embed AUDIO --out STORE"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise StoreError(_damaged(path, str(error))) from error
    if isinstance(stored, dict) and isinstance(stored.get("format"), int) and stored["format"] > FORMAT:
        raise StoreError(
            f"{folder} has store format {stored['format']}, this version reads up to {FORMAT}: "
            "upgrade with pip install -U m2l2-mir"
        )
    wrong = _wrong_keys(stored) if isinstance(stored, dict) else ["everything"]
    if wrong:
        raise StoreError(_damaged(path, f"unfit or missing: {', '.join(wrong)}"))
    return dict(stored)


def record(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Write the provenance of a new store, or see that an old one was made the same way.

    Parameters
    ----------
    folder : Path
        The store, locked by the caller.
    asked : dict
        From :func:`complete`.

    Returns
    -------
    dict
        The provenance as it now stands in the store.

    Raises
    ------
    StoreError
        If the store was made with other settings; each is named with both values.
    """
    path = folder / PROVENANCE_NAME
    if not path.exists():
        write_json(path, asked)
        return asked
    stored = read_provenance(folder)
    different = _differences(stored, asked)
    if different:
        raise StoreError(
            f"{folder} holds embeddings made with other settings, which cannot be mixed "
            f"({'; '.join(different)}): choose another --out"
        )
    history = stored.get("history", [])
    newest = history[-1]["versions"] if history else stored.get("versions", {})
    if asked["versions"] != newest:
        stored["history"] = [*history, {"from": utc_now(), "versions": asked["versions"]}]
        write_json(path, stored)
    return stored


def utc_now() -> str:
    """The time now, as ISO text in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _wrong_keys(provenance: dict[str, Any]) -> list[str]:
    """Required keys that are missing, of the wrong kind, or a number that is not positive."""
    given = {key: provenance.get(key) for key in _REQUIRED}
    return [
        key
        for key, kind in _REQUIRED.items()
        if not isinstance(given[key], kind) or (kind is not dict and not given[key] > 0)  # type: ignore[operator]
    ]


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): put back a copy of it, or run m2l2 embed again with another --out"


def _differences(stored: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Every compared setting that differs, as text with both values."""
    there, now = (_flat({**one["settings"], **{key: one.get(key) for key in _SHAPE_KEYS}}) for one in (stored, asked))
    return [
        f"{key}: {_shown(there, key)} in the store, {_shown(now, key)} asked for"
        for key in sorted({*there, *now})
        if there.get(key, _ABSENT) != now.get(key, _ABSENT)
    ]


def _shown(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "absent"


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, so that only the leaf that differs is shown."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
