"""What is stale, damaged or mismatched in a store, an index or a checkpoint, and the command that mends it.

Every byte is read, which opening does not do where files are large.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from m2l2_mir.embedding.parts import Parts
from m2l2_mir.embedding.provenance import PROVENANCE_NAME, read_provenance
from m2l2_mir.embedding.rescan import folder_of, is_gone
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import CheckpointError, InputError, M2L2Error
from m2l2_mir.index.library import SOURCE
from m2l2_mir.index.listening import weights_at_hand
from m2l2_mir.index.persist import MANIFEST, check_file, read_manifest
from m2l2_mir.index.remake import command, embed_command
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.index.sources import model_name, refuse_other_model, tracks_of
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.official_file import OFFICIAL
from m2l2_mir.model.shipped import shipped_names

__all__ = ["Finding", "Kind", "examine", "kind_of"]

Kind = Literal["index", "store", "checkpoint"]
NAMED = 3  # tracks, in one finding


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    Parameters
    ----------
    state
        "damaged": it cannot be trusted; "mismatched": parts do not belong together; "stale": something newer exists.
    what
        In one line.
    mend
        The command, or what to do.
    """

    state: Literal["damaged", "mismatched", "stale"]
    what: str
    mend: str


def kind_of(path: Path) -> Kind:
    """What there is at a path.

    Raises
    ------
    InputError
        It is nothing that this package writes.
    """
    if (path / MANIFEST).is_file():
        return "index"
    if (path / PROVENANCE_NAME).is_file():
        return "store"
    if path.is_file() or str(path) in shipped_names() or str(path).startswith("random:"):
        return "checkpoint"
    if not path.exists():
        raise InputError(f"{path} does not exist; give a store, an index or a checkpoint")
    raise InputError(
        f"{path} is no store (no {PROVENANCE_NAME}), no index (no {MANIFEST}) and no checkpoint: nothing to examine"
    )


def examine(path: Path) -> list[Finding]:
    """Look for what is wrong.

    Returns
    -------
    list of Finding
        Empty: sound.

    Raises
    ------
    InputError
        There is nothing that this package writes.
    """
    look = {"index": _index, "store": _store, "checkpoint": _checkpoint}[kind_of(path)]
    return list(look(path))


def _store(folder: Path) -> Iterator[Finding]:
    """Parts, then the weights and the files that they were made from."""
    try:
        provenance = read_provenance(folder)
        parts = Parts.of(folder, provenance)
    except M2L2Error as error:
        yield Finding(state="damaged", what=str(error), mend="m2l2 embed AUDIO --out another folder")
        return
    damaged: list[tuple[Path, str]] = []
    places: list[pd.DataFrame] | None = []
    for part in parts.live():
        for kind in parts.kinds:
            try:
                table = parts.read(kind, part)
                if kind == "tracks" and places is not None:
                    places.append(table.select(["track_id", "path", "status"]).to_pandas())
            except (M2L2Error, FileNotFoundError) as error:
                damaged.append((parts.path("tracks", part), _line(error)))
                places = None if kind == "tracks" else places
    if damaged:
        again = embed_command(folder, provenance, pd.concat(places) if places else None)
        for path, what in damaged:
            yield Finding(state="damaged", what=what, mend=f"rm {shlex.quote(str(path))} && {again}")
        return
    yield from _weights(provenance)
    store = EmbeddingStore.open(folder)
    tracks = store.tracks
    again, named_anew = (embed_command(folder, provenance, one) for one in (tracks, None))
    failed = tracks["track_id"][tracks["status"] == "failed"].tolist()
    if failed:
        yield Finding(
            state="stale",
            what=f"{len(failed)} of {len(tracks)} tracks failed ({_named(failed)}), and have no embeddings",
            mend=f"mend these files (the reasons stand in the track table), then {again}",
        )
    changed, gone = [], defaultdict[str, list[str]](list)
    tracks_in: Counter[str] = Counter()
    for name, path, size, stamp in store.ok[["track_id", "path", "size_bytes", "mtime_ns"]].itertuples(index=False):
        home = folder_of(name, path)
        tracks_in[home] += 1
        if is_gone(path):
            gone[home].append(name)
            continue
        with suppress(OSError):  # what cannot be reached now is as good as ever
            state = os.stat(path)
            if (state.st_size, state.st_mtime_ns) != (size, stamp):
                changed.append(name)
    if changed:
        yield Finding(
            state="stale",
            what=f"{len(changed)} audio files changed since they were embedded ({_named(changed)})",
            mend=again,
        )
    here = [name for home, names in gone.items() if len(names) < tracks_in[home] for name in names]
    if here:
        yield Finding(
            state="stale",
            what=f"{len(here)} audio files are no longer where they were ({_named(here)})",
            mend=f"{again} --prune: with --prune, those renamed or moved in there keep their embeddings, the others "
            f"are removed; then m2l2 index add INDEX {shlex.quote(str(folder))}, if there is an index of it",
        )
    for home, names in gone.items():
        if len(names) == tracks_in[home]:
            yield Finding(
                state="stale",
                what=f"none of {len(names)} audio files of {home} is there ({_named(names)})",
                mend=f"mount its disk; or, if the folder has moved to AUDIO, {named_anew}, which finds "
                "them again by their content; or, to take them out, the same command for a folder that is "
                f"there, with --forget {shlex.quote(home)}",
            )
    if twice := _twice(tracks):
        yield Finding(
            state="mismatched",
            what=f"{len(twice)} audio files are in it under more than one name ({_named(twice)})",
            mend=f"{named_anew} --prune, which removes the names that AUDIO does not give",
        )


def _twice(tracks: pd.DataFrame) -> list[str]:
    """Names of tracks whose file is in the store under another name too, but for the shortest name of each."""
    by_place = [path.endswith(f"/{name}") for name, path in zip(tracks["track_id"], tracks["path"], strict=True)]
    ordered = tracks[by_place].sort_values("track_id", key=lambda names: names.str.len(), kind="stable")
    return sorted(ordered["track_id"][ordered["path"].duplicated()])


def _index(folder: Path) -> Iterator[Finding]:
    """Files, whether they fit each other, drift, then the stores that it was built from."""
    try:
        manifest = read_manifest(folder)
    except M2L2Error as error:
        mend = (
            f"put back a copy of {folder}, or m2l2 index build STORE --out {shlex.quote(str(folder))} --overwrite with "
        )
        mend += "the options that it was built with"
        yield Finding(state="damaged", what=_line(error), mend=mend)
        return
    again = command(folder, manifest)
    damaged = False
    for entry in (entry for entries in manifest["files"].values() for entry in entries):
        try:
            check_file(folder, entry, whole=True)
        except (M2L2Error, OSError) as error:
            damaged = True
            what = _line(error) if isinstance(error, M2L2Error) else f"{folder / entry['name']} cannot be read: {error}"
            yield Finding(state="damaged", what=what, mend=again)
    if damaged:
        return
    try:
        index = SimilarityIndex.load(folder)
    except M2L2Error as error:
        yield Finding(state="mismatched", what=_line(error), mend=again)
        return
    yield from _weights(index.provenance)
    if advice := index.advice():
        yield Finding(state="stale", what=advice, mend=f"m2l2 index rebuild {shlex.quote(str(folder))}")
    if SOURCE in index.metadata:
        for source in sorted(index.metadata[SOURCE].dropna().unique()):
            yield from _behind(index, folder, source)


def _behind(index: SimilarityIndex, folder: Path, source: str) -> Iterator[Finding]:
    """What of a store is not in the index as it is in the store."""
    add = f"m2l2 index add {shlex.quote(str(folder))} {shlex.quote(source)}"
    try:
        store = EmbeddingStore.open(source)
        refuse_other_model(index.provenance, store.provenance, source)
        ids, vectors, _ = tracks_of(store, index.about["pooling"], None)
    except M2L2Error as error:
        there = (Path(source) / PROVENANCE_NAME).is_file()
        yield Finding(
            state="mismatched" if there else "stale",
            what=_line(error)
            if there
            else f"the store that tracks came from, {source}, is gone: the index works, but "
            "cannot be brought up to date",
            mend=f"m2l2 doctor {shlex.quote(source)}" if there else "nothing, or put the store back",
        )
        return
    rows = index.library.rows_of(ids)
    known = np.flatnonzero(rows >= 0)
    same = (index.library.rows.take(rows[known]) == vectors[known]).all(axis=1)
    mine = index.metadata
    lost = int((~mine["track_id"][mine[SOURCE] == source].isin(ids)).sum())
    new, changed = len(ids) - len(known), int((~same).sum())
    if new or changed or lost:
        yield Finding(
            state="stale",
            what=f"{source} has {new} tracks that are not in the index, {changed} others changed and {lost} are gone",
            mend=add,
        )


def _weights(provenance: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether weights of this name are at hand and others than those that made the embeddings."""
    settings = provenance.get("settings", {})
    preset = settings.get("model", {}).get("name")
    if preset not in (*shipped_names(), *OFFICIAL) or weights_at_hand(settings) is not None:
        return
    yield Finding(
        state="mismatched",
        what=f"made with weights that are not at hand, {model_name(settings)}: nothing can be asked with audio files",
        mend=f"name their file with --model in every question; or, by the weights that are called {preset} now, embed "
        f"the audio into a new store (m2l2 embed AUDIO --model {preset} --out NEW) and build the index anew",
    )


def _checkpoint(path: Path) -> Iterator[Finding]:
    shipped = str(path) in shipped_names()
    try:
        load_model(path if path.is_file() and not shipped else str(path), device="cpu").complete()
    except CheckpointError as error:
        mend = "put back a copy, or, if it was made of official weights, "
        mend += f"m2l2 models convert FILE.pt {shlex.quote(str(path))}"
        mend = "pip install --force-reinstall --no-deps m2l2-mir" if shipped else mend
        yield Finding(state="damaged", what=_line(error), mend=mend)


def _named(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).partition(": m2l2 doctor ")[0]  # it is being asked
