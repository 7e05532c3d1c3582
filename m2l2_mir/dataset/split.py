"""Splitting: tracks that carry a label are put into folds, by a column, by leaving out, or by drawing.

Conventions
-----------
* Tracks of one group (artist, piece, instrument) are always drawn into the same fold: what is heard in training must
  not come back in the test [1]_. Without groups there is a loud :class:`~m2l2_mir.errors.SplitWarning`.
* Folds are drawn so that each has its share of every class; numbers of more than 20 values are put into ten classes of
  equal size for that. The draw depends on ids, labels, groups and seed, not on the order of rows.
* An official split stays as it is, even where groups lie on both sides; a warning counts them.
* A split that is not ``grouped`` draws track by track. It is there to be set beside a grouped one: the difference is
  how much a result owes to hearing the same artist or piece in training. Groups stay in the manifest.

References
----------
.. [1] A. Flexer and D. Schnitzer, "Effects of album and artist filters in audio similarity computed for very large
   music databases", Computer Music Journal 34(3), 2010.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import os
import warnings
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.dataset.manifest import ALONE, MOST_CLASSES, OFFICIAL_FOLDS, Manifest, Rotation
from m2l2_mir.dataset.recipe import SplitRecipe
from m2l2_mir.errors import InputError, SplitWarning
from m2l2_mir.recipe import close_match

__all__ = ["Manifest", "Rotation", "make_manifest", "strata"]

NUMBER_CLASSES = 10  # that a label of many numbers is cut into, to be drawn evenly

_SPELLINGS = {
    "training": "train",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "testing": "test",
    **{fold: fold for fold in OFFICIAL_FOLDS},
}


def make_manifest(
    tracks: pd.DataFrame,
    dropped: pd.DataFrame,
    *,
    dataset: str,
    label: str,
    split_name: str,
    split: SplitRecipe,
    seed: int,
    group: str = "group",
) -> Manifest:
    """Put the tracks that carry a label into folds.

    Parameters
    ----------
    tracks, dropped
        Of a :class:`~m2l2_mir.dataset.dataset.Dataset`.
    dataset, label, split_name
        Names; `label` is a column of `tracks`.
    split
        How: by a column, each value of a column left out in its turn, or folds drawn by group and label.
    seed
        For folds that are drawn.
    group
        Column of `tracks` that holds the groups; without a column ``group`` there are none.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        There is no such column, no labelled track, or too little to make the folds of: one class only, fewer groups
        than folds, train or test missing, no class that is both trained on and tested.

    Warns
    -----
    SplitWarning
        Groups are unknown or lie on both sides of an official split; a class is missing from some train or test set.
    """
    name = f"{dataset}, split {split_name!r}"
    for column in filter(None, (label, split.column, split.leave_out, group if group != "group" else "")):
        if column not in tracks:
            known = [str(known) for known in tracks.columns]
            raise InputError(f"{name}: no column {column!r}{close_match(column, known)}; columns: {', '.join(known)}")
    if twice := tracks["track_id"][tracks["track_id"].duplicated()].tolist():
        raise InputError(f"{name}: {len(twice)} track ids occur twice, such as {twice[0]!r}; make them unique")

    tracks = tracks.assign(track_id=tracks["track_id"].astype(str)).sort_values("track_id", ignore_index=True)
    table = tracks[["track_id"]].assign(label=tracks[label])
    table["group"] = _names(tracks[group] if group in tracks else [None] * len(tracks))
    table["audio"] = _names(tracks["audio"] if "audio" in tracks else [None] * len(tracks))
    table["file"] = _files(tracks["path"]) if "path" in tracks else ""
    table.loc[table["audio"] != "", "file"] = ""  # its checksum says more
    by_column = split.column or split.leave_out
    labelled = table["label"].notna()
    placed = labelled
    if by_column:
        table["fold"] = _folds(tracks[by_column], name) if split.column else _names(tracks[by_column])
        placed = labelled & (table["fold"] != "")
    excluded = _excluded(table, labelled, placed, dropped, label, by_column)
    if not placed.any():
        raise InputError(f"{name}: none of {len(table)} tracks has both a {label} and a fold; choose another split")
    table = table[placed].reset_index(drop=True)
    table["label"] = _labels(table["label"], f"{dataset}: {label}")
    if table["label"].nunique() == 1:
        raise InputError(
            f"{name}: only one {label}, {str(table['label'].iloc[0])!r}, on {len(table)} tracks: nothing to learn"
        )
    alone = table["group"] == ""
    table.loc[alone, "group"] = ALONE + table["track_id"][alone]

    if split.leave_out != group:
        _warn_without_groups(alone, name)
    if not split.grouped and not alone.all():
        warnings.warn(
            f"{name}: groups lie in training and test, on purpose: its results are too good, and only to be set beside "
            "those of a grouped split",
            SplitWarning,
            stacklevel=2,
        )
    if split.folds:
        units = table if split.grouped else table.assign(group=table["track_id"])
        table["fold"] = _drawn(units, split.folds, seed, name)
    manifest = Manifest(
        dataset=dataset,
        label=label,
        split=split_name,
        seed=seed,
        table=table[["track_id", "label", "fold", "group", "audio", "file"]],
        excluded=excluded,
    )
    _check(manifest, name, drawn=bool(split.folds))
    return manifest


def _excluded(
    table: pd.DataFrame,
    labelled: pd.Series[bool],
    placed: pd.Series[bool],
    dropped: pd.DataFrame,
    label: str,
    fold: str,
) -> pd.DataFrame:
    """Every track that is not used, with its reason; what the source dropped before it was a track is none."""
    of_label = dropped[dropped["label"] == label]
    stated = dict(zip(of_label["track_id"].astype(str), of_label["reason"], strict=True))
    reasons = {}
    for track_id, has_label in zip(table["track_id"][~placed], labelled[~placed], strict=True):
        reasons[track_id] = f"not in the split {fold}" if has_label else stated.get(track_id, f"no {label} stated")
    return pd.DataFrame(sorted(reasons.items()), columns=["track_id", "reason"])


def _labels(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Numbers as integers if all of them are, else floats; everything else as text."""
    if odd := [value for value in values if not isinstance(value, str | numbers.Number | np.bool_)]:
        raise InputError(f"{name} must be a word or a number for each track: {odd[0]!r}")
    if not all(isinstance(value, numbers.Real | np.bool_) for value in values):
        return pd.Series(_names(values), index=values.index)
    floats = values.astype(float)
    if not np.isfinite(floats).all():
        raise InputError(f"{name} must be finite: {floats[~np.isfinite(floats)].iloc[0]}")
    return floats.astype(np.int64) if (floats == floats.round()).all() else floats


def _names(values: Iterable[Any]) -> list[str]:
    """Values as text: missing ones empty, and 3.0, which pandas makes of 3 beside a missing value, as "3"."""
    return [_name(value) for value in values]


def _name(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _files(paths: Iterable[Any]) -> list[str]:
    """Paths relative to the folder that all of them share, so that a library may move as a whole."""
    paths = _names(paths)
    folders = [os.path.dirname(path) for path in paths if path]
    try:
        shared = os.path.commonpath(folders) if folders else ""
    except ValueError:  # absolute and relative ones, or several drives
        return [PurePath(path).name for path in paths]
    return [PurePath(os.path.relpath(path, shared or ".")).as_posix() if path else "" for path in paths]


def _folds(values: Iterable[Any], name: str) -> list[str]:
    """Names of folds, those of train, valid and test in one spelling."""
    folds = [_SPELLINGS.get(fold.casefold(), fold) for fold in _names(values)]
    found = set(folds) - {""}
    official = found & set(OFFICIAL_FOLDS)
    if official and (official != found or not {"train", "test"} <= official):
        raise InputError(
            f"{name}: folds must be train, test and perhaps valid, or all have other names: {', '.join(sorted(found))}"
        )
    return folds


def _warn_without_groups(alone: pd.Series[bool], name: str) -> None:
    if alone.all():
        warnings.warn(
            f"{name}: NO GROUPS are known, so one artist, album or piece may lie in training and test, "
            "which can inflate results a lot; give the tracks a 'group' column, or name this with every result",
            SplitWarning,
            stacklevel=3,
        )
    elif alone.any():
        warnings.warn(
            f"{name}: {alone.sum()} of {len(alone)} tracks state no group and each is taken as a group of its own",
            SplitWarning,
            stacklevel=3,
        )


def _drawn(table: pd.DataFrame, folds: int, seed: int, name: str) -> list[str]:
    """Names of drawn folds, "1" to the number of folds.

    Groups are dealt out one by one, those with the largest shares of their classes first, each to the fold that has the
    least of its classes so far. It is done here, in integers and in an order that a hash gives, and not by
    scikit-learn's StratifiedGroupKFold, because the same seed must give the same folds on every machine and in every
    version, shuffled groups must be stratified (scikit-learn issue 32478) and no fold may be empty (34828).
    """
    classes = strata(table["label"], folds)
    codes, groups = pd.factorize(table["group"])
    if len(groups) < folds:
        raise InputError(
            f"{name}: {folds} folds cannot be drawn from {len(groups)} groups; ask for fewer folds, "
            "with folds= or --folds N"
        )
    weight = 2**48 // np.bincount(classes) ** 2  # products of two shares of a class, in integers that cannot overflow
    counts = np.zeros((len(groups), len(weight)), dtype=np.int64)
    np.add.at(counts, (codes, classes), 1)
    largest = (counts**2 @ weight).tolist()
    lot = [hashlib.sha256(f"{seed}:{group}".encode()).hexdigest() for group in groups]
    inside = np.zeros((folds, len(weight)), dtype=np.int64)
    sizes = [0] * folds
    fold_of = np.empty(len(groups), dtype=np.int64)
    for group in sorted(range(len(groups)), key=lambda group: (-largest[group], lot[group])):
        crowded = (inside @ (counts[group] * weight)).tolist()
        fold = min(range(folds), key=lambda fold: (crowded[fold], sizes[fold]))
        fold_of[group] = fold
        inside[fold] += counts[group]
        sizes[fold] += int(counts[group].sum())
    return [str(fold + 1) for fold in fold_of[codes]]


def strata(labels: pd.Series[Any], folds: int) -> NDArray[np.int64]:
    """Classes that folds should have equal shares of, as integers: those of the label, or quantiles of many numbers."""
    if pd.api.types.is_numeric_dtype(labels) and labels.nunique() > MOST_CLASSES:
        bins = max(1, min(NUMBER_CLASSES, len(labels) // folds))
        labels = pd.qcut(labels, bins, labels=False, duplicates="drop")
    return np.unique(labels.to_numpy(), return_inverse=True)[1]


def _check(manifest: Manifest, name: str, *, drawn: bool) -> None:
    """Refuse what cannot give a result, warn of what gives a flattering or incomplete one."""
    table, folds = manifest.table, manifest.folds
    if len(folds) < 2:
        raise InputError(f"{name}: all {len(table)} tracks are in one fold, {folds[0]!r}; there is nothing to test on")
    test_folds = ["test"] if set(folds) <= set(OFFICIAL_FOLDS) else list(folds)
    crossed = table["fold"].where(table["fold"].isin(test_folds), "train").groupby(table["group"]).nunique() > 1
    if crossed.any() and not drawn:
        warnings.warn(
            f"{name}: {crossed.sum()} of {len(crossed)} groups have tracks in training and test, such as "
            f"{crossed.idxmax()!r}; the split is kept as it is, but it can inflate results",
            SplitWarning,
            stacklevel=3,
        )
    if not manifest.has_classes:
        return
    counts = pd.crosstab(table["label"], table["fold"])
    tested = counts[test_folds] > 0
    trained = counts[test_folds].rsub(counts.sum(axis=1), axis=0) > 0  # in the folds other than the tested one
    if not (tested & trained).to_numpy().any() and not pd.api.types.is_numeric_dtype(table["label"]):
        raise InputError(
            f"{name}: no test fold shares a class with its training set, so no {manifest.label} can be learnt; "
            "choose another split"
        )
    for present, where in ((trained, "training set"), (tested, "test fold")):
        if missing := [str(label) for label in counts.index[~present.all(axis=1)]]:
            warnings.warn(
                f"{name}: {len(missing)} of {len(counts)} classes are missing from a {where}: "
                f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}",
                SplitWarning,
                stacklevel=3,
            )
