"""The commands that make a store or an index again as it was, from what is kept beside it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from m2l2_mir.embedding.rescan import folder_of
from m2l2_mir.errors import StoreError
from m2l2_mir.index.files import ALIVE
from m2l2_mir.index.library import FROM_STORE, SOURCE
from m2l2_mir.index.listening import weights_at_hand
from m2l2_mir.index.persist import check_file
from m2l2_mir.index.tables import ID

__all__ = ["command", "embed_command"]

DEFAULTS = {"preparation": "auto", "memory_mb": None, "factory": None, "seed": 0}
SWITCHES = ("exact", "segments")


def command(folder: Path, manifest: Mapping[str, Any]) -> str:
    """What to type so that an index becomes what it was, though some of its files are damaged.

    Parameters
    ----------
    folder
        Of the index.
    manifest
        What it says of itself, sound.
    """
    about = manifest["about"]
    sources = [shlex.quote(source) for source in about.get("sources", ())]
    if not sources:
        return "put back a copy, or make it again from the vectors that it was made of: SimilarityIndex.from_vectors"
    place, options = shlex.quote(str(folder)), about["options"]
    given = [] if about["pooling"] == "mean" else [f"--pooling {about['pooling']}"]
    given += [
        f"--{name.replace('_', '-')} {shlex.quote(str(options[name]))}"
        for name, default in DEFAULTS.items()
        if options.get(name, default) != default
    ]
    given += [f"--{name}" for name in SWITCHES if options.get(name)]
    kept, metadata, told = _metadata(folder, manifest)
    steps = [*kept, " ".join(["m2l2 index build", sources[0], "--out", place, "--overwrite", *given, *metadata])]
    steps += [" ".join(["m2l2 index add", place, source, *metadata]) for source in sources[1:]]
    return " && ".join(steps) + told


def embed_command(folder: Path, provenance: Mapping[str, Any], tracks: pd.DataFrame | None) -> str:
    """What to type so that a store follows its audio, with the settings that it was made with.

    Parameters
    ----------
    folder
        Of the store.
    provenance
        Of the store.
    tracks : pd.DataFrame, optional
        ``track_id``, ``path`` and ``status``, which tell the folders that it was made from. None, or where they do not
        tell: AUDIO stands for what has to be named. What ``--exclude`` passed over, or lay beside files that were given
        one by one, nobody has noted: it is embedded too.
    """
    settings = provenance["settings"]
    given = ["--keep chunks"] if provenance.get("keep_chunks") else []
    given += [f"--features {settings['features']}"] if settings.get("features", "bottleneck") != "bottleneck" else []
    given += ["--excerpt {},{}".format(*settings["excerpt"])] if settings.get("excerpt") else []
    given += [f"--loudness {settings['loudness']}"] if settings.get("loudness") is not None else []
    audio = [shlex.quote(home) for home in _homes(tracks)] or ["AUDIO"]
    model = weights_at_hand(settings) or "WEIGHTS"
    return " ".join(["m2l2 embed", *audio, "--out", shlex.quote(str(folder)), "--model", model, *given])


def _homes(tracks: pd.DataFrame | None) -> list[str]:
    """The folders that tracks were embedded from, as far as they are there; none where ids are not names of files."""
    if tracks is None:
        return []
    ok = tracks[tracks["status"] == "ok"]
    places = list(zip(ok["track_id"], ok["path"], strict=True))
    if not all(path.endswith(f"/{name}") for name, path in places):
        return []
    return sorted(home for home in {folder_of(name, path) for name, path in places} if Path(home).is_dir())


def _metadata(folder: Path, manifest: Mapping[str, Any]) -> tuple[list[str], list[str], str]:
    """What keeps the metadata while the index is made again, the option that gives it back, and what to say of it."""
    lost = " (give --metadata again: the table of tracks is damaged)"
    try:
        path = check_file(folder, manifest["files"]["tracks"][0], whole=True)
        columns = set(pq.read_schema(path).names)
    except (StoreError, OSError, pa.ArrowException):
        return [], [], lost
    if columns <= {ID, SOURCE, ALIVE, *FROM_STORE}:
        return [], [], ""
    aside = shlex.quote(str(folder.with_name(f"{folder.name}-metadata.parquet")))
    return [f"cp {shlex.quote(str(path))} {aside}"], [f"--metadata {aside}"], ""
