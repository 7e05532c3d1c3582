"""The leakage audit: does the test know something from training?

Conventions
-----------
* A leak is something that two folds share: a group (artist, piece, instrument), identical audio, or audio that is
  almost identical to an embedding. What lies within one fold is counted but is no leak.
* An audit says what it did not look at; ``ok`` means that nothing was found in what it looked at, ``clean`` that this
  was everything.
* How evenly labels are spread is told beside what random folds of the same size would show; it is no leak.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.audit.duplicates import HASHES, fingerprints, identical_sets
from m2l2_mir.audit.near_duplicates import SMALLEST_COLLECTION, near_duplicates
from m2l2_mir.audit.result import Audit
from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.manifest import ALONE, Manifest
from m2l2_mir.dataset.split import strata
from m2l2_mir.dataset.table_file import find_tracks
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError

__all__ = ["Audit", "audit"]

RANDOM_FOLDS = 200  # draws that tell how uneven labels are by chance


def audit(
    dataset: Dataset,
    manifest: Manifest,
    *,
    store: EmbeddingStore | None = None,
    threshold: float | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Look for leakage between the folds of a split.

    Parameters
    ----------
    dataset
        Tells where the audio lies.
    manifest
        A split of it.
    store
        Embeddings of the set, for near duplicates; matched by track id, else by path.
    threshold
        See :func:`~m2l2_mir.audit.near_duplicates.near_duplicates`; None: from the set itself.
    jobs
        Threads that read audio; None: the cores this process may use.
    progress
        Called with the number of files read and of all.

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        The manifest has tracks that the data set has not, or the threshold is out of range.
    """
    table = manifest.table.reset_index(drop=True)
    paths = pd.Series(dataset.tracks["path"].to_numpy(), index=dataset.tracks["track_id"].astype(str))
    if unknown := sorted(set(table["track_id"]) - set(paths.index)):
        raise InputError(
            f"{dataset.name} has no track {unknown[0]!r}: this manifest is of {manifest.dataset}; split again"
        )
    table["path"] = [path if isinstance(path, str) else "" for path in paths[table["track_id"]]]
    hashes = fingerprints(table["path"].tolist(), jobs=jobs, progress=progress)
    identical, which = _identical(table, hashes)
    near, embedded, unseen = _near(table, hashes, which, store, threshold)
    return Audit(
        dataset=manifest.dataset,
        label=manifest.label,
        split=manifest.split,
        manifest=manifest.sha256,
        tracks=len(table),
        folds=len(manifest.folds),
        grouped=int((~_alone(table)).sum()),
        heard=int(((hashes["file"] != "") | (table["audio"] != "")).sum()),
        embedded=embedded,
        groups=_groups(table),
        identical=identical,
        near=near,
        balance=_balance(manifest),
        not_checked=(*_without_group(table), *_without_audio(table, hashes), *unseen),
    )


def _groups(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"group": group, "folds": tuple(sorted(set(part["fold"]))), "tracks": len(part)}
        for group, part in table.groupby("group")
        if part["fold"].nunique() > 1
    ]
    return pd.DataFrame(rows, columns=["group", "folds", "tracks"])


def _identical(table: pd.DataFrame, hashes: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Sets of identical tracks, and for each track the number of its set or its own negative one."""
    keys = hashes[list(HASHES)].assign(checksum=table["audio"])
    which = -1 - np.arange(len(table))
    rows = []
    for number, members in enumerate(identical_sets(keys)):
        which[list(members)] = number
        part, shared = table.iloc[list(members)], keys.iloc[list(members)]
        rows.append(
            {
                "tracks": tuple(part["track_id"]),
                "folds": tuple(part["fold"]),
                "labels": tuple(part["label"].tolist()),
                "by": next((key for key in keys if shared[key].nunique() == 1 and shared[key].iat[0] != ""), "mixed"),
                "leak": part["fold"].nunique() > 1,
                "conflict": part["label"].nunique() > 1,
            }
        )
    found = pd.DataFrame(rows, columns=["tracks", "folds", "labels", "by", "leak", "conflict"])
    return found.astype({"leak": bool, "conflict": bool}), which


def _near(
    table: pd.DataFrame,
    hashes: pd.DataFrame,
    which: NDArray[np.int64],
    store: EmbeddingStore | None,
    threshold: float | None,
) -> tuple[pd.DataFrame, int, list[str]]:
    """Near duplicates that are not identical, the number of tracks compared, and what could not be looked at."""
    columns = ["first", "second", "first_fold", "second_fold", "similarity", "ratio", "leak"]
    nothing = pd.DataFrame(columns=columns).astype({"leak": bool})
    if store is None:
        return (
            nothing,
            0,
            ["near duplicates: no embeddings were given; 'm2l2 embed' the set, then give --store"],
        )
    unseen = [] if store.trained else ["near duplicates of untrained embeddings: only the closest copies are found"]
    embedded = store.ok
    paths = [os.path.abspath(path) if path else "" for path in table["path"]]
    place = find_tracks(embedded, table["track_id"].tolist(), paths)
    known = place >= 0
    rows = place[known]
    stored = embedded["audio_sha256"].to_numpy()[rows]
    now = hashes["file"].to_numpy()[known]
    changed = (now != "") & (stored != "") & (now != stored)
    if changed.any():
        unseen.append(
            f"near duplicates of {changed.sum()} tracks whose audio is not the embedded one; embed them again"
        )
    index = np.flatnonzero(known)[~changed]
    if missing := len(table) - int(known.sum()):
        unseen.append(f"near duplicates of {missing} of {len(table)} tracks that are not in {store.path}")
    if len(index) < SMALLEST_COLLECTION:
        unseen.append(f"near duplicates: {len(index)} embedded tracks are too few, {SMALLEST_COLLECTION} are needed")
        return nothing, 0, unseen
    pairs = near_duplicates(store.embeddings("mean")[rows[~changed]], threshold=threshold).pairs
    first, second = index[pairs["first"].to_numpy()], index[pairs["second"].to_numpy()]
    found = pd.DataFrame(
        {
            **{name: table["track_id"].to_numpy()[at] for name, at in (("first", first), ("second", second))},
            **{f"{name}_fold": table["fold"].to_numpy()[at] for name, at in (("first", first), ("second", second))},
            "similarity": pairs["similarity"],
            "ratio": pairs["ratio"],
        }
    )
    found["leak"] = found["first_fold"] != found["second_fold"]
    return found[which[first] != which[second]].reset_index(drop=True), len(index), unseen


def _balance(manifest: Manifest) -> pd.DataFrame:
    table, folds = manifest.table, manifest.folds
    classes = strata(table["label"], len(folds))
    whole = np.bincount(classes)
    names = np.array([""] * len(whole), dtype=object)
    names[classes] = table["label"].astype(str).to_numpy()
    rng = np.random.default_rng(0)
    rows = []
    for fold in folds:
        inside = (table["fold"] == fold).to_numpy()
        size = int(inside.sum())
        counts = np.bincount(classes[inside], minlength=len(whole))
        drawn = rng.multivariate_hypergeometric(whole, size, size=RANDOM_FOLDS)
        chance = np.abs(drawn / size - whole / len(table)).sum(axis=1) / 2
        rows.append(
            {
                "fold": fold,
                "tracks": size,
                "distance": float(np.abs(counts / size - whole / len(table)).sum() / 2),
                "chance": float(np.quantile(chance, 0.95)),
                "missing": tuple(names[counts == 0]) if manifest.has_classes else (),
            }
        )
    return pd.DataFrame(rows)


def _alone(table: pd.DataFrame) -> pd.Series[bool]:
    return table["group"] == ALONE + table["track_id"]


def _without_group(table: pd.DataFrame) -> list[str]:
    alone = _alone(table)
    if alone.all():
        return ["groups: the set states none, so an artist, album or piece in two folds cannot be seen"]
    return [f"groups of {alone.sum()} of {len(table)} tracks, which state none"] if alone.any() else []


def _without_audio(table: pd.DataFrame, hashes: pd.DataFrame) -> list[str]:
    missing = hashes["problem"] == "missing"
    broken = hashes["problem"][~missing & (hashes["problem"] != "")]
    lines = []
    if missing.all() and not (table["audio"] != "").any():
        lines.append("identical audio: none of the files is there")
    elif missing.any():
        lines.append(f"identical audio of {missing.sum()} of {len(table)} tracks, whose files are not there")
    if len(broken):
        lines.append(f"identical sound of {len(broken)} tracks that cannot be decoded, such as {broken.iloc[0]}")
    return lines
