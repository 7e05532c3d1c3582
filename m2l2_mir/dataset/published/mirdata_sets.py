"""Sets of mirdata: a recipe names the loader and, for each column, the attribute of mirdata's Track that fills it.

Conventions
-----------
* ``labels`` of the recipe: column -> attribute. Attributes may be dotted (``key_mode.keys``), through objects and
  mappings alike; ``name()`` is a function of :mod:`m2l2_mir.dataset.published.mirdata_quirks`.
* Columns named like a task are labels; ``path`` is the audio (``audio_path`` unless the recipe says otherwise); ``*``
  takes a mapping of several columns; all others (``group``, ``title``, ...) are taken as they are.
* A ``group`` of several names (the artists of one track) joins all tracks that share a name, directly or through
  others, under the first of their names in the alphabet, in lower case.
* An annotation that is missing or cannot be read costs that column of that track and is among ``dropped``.

Source: Bittner et al., "mirdata: Software for Reproducible Usage of Datasets", ISMIR 2019.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.dataset.published.fold_file import fold_columns
from m2l2_mir.dataset.published.local_files import found
from m2l2_mir.dataset.published.mirdata_files import (
    broken_archives,
    download_index,
    download_remotes,
    file_problems,
    missing_files,
)
from m2l2_mir.dataset.published.mirdata_index import MirdataSet, initialise, name_of, open_set
from m2l2_mir.dataset.published.mirdata_quirks import QUIRKS
from m2l2_mir.dataset.reading import Reading, Row, read_rows
from m2l2_mir.dataset.recipe import TASKS, DatasetRecipe
from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.recipe import close_match

__all__ = ["check", "fetch", "read"]

MISSING, UNREADABLE = "annotation file missing", "annotation cannot be read"
# Reasons that say something about the music and nothing against the copy of the set.
_MUSICAL = ("no ", "several ", "neither ")


def read(recipe: DatasetRecipe, home: Path | None) -> Reading:
    """Read the tracks and labels of a set; audio need not be there.

    Parameters
    ----------
    recipe
        Of the set.
    home
        Its folder; None: mirdata's, ``~/mir_datasets/LOADER``.

    Raises
    ------
    InputError
        The index is not there or cannot be read.
    ConfigError
        The recipe names what mirdata does not have, or a list of folds that is not the one it means.
    """
    return _read(recipe, open_set(recipe, home))


def fetch(recipe: DatasetRecipe, home: Path | None, say: Callable[[str], None]) -> None:
    """Download what can be downloaded and unpack it; archives are deleted once nothing is missing.

    Parameters
    ----------
    recipe, home
        See :func:`read`.
    say
        Gets a line for each step.

    Raises
    ------
    InputError
        A source does not answer, or audio has to be brought; the message says what to put where.
    """
    download_index(recipe, home)
    opened = open_set(recipe, home)
    if not any(missing_files(opened, _audio(recipe, opened))):
        say(f"{recipe.title} is in {opened.home}: nothing to download")
        return
    archives = download_remotes(recipe, opened, say)
    audio, annotations = missing_files(opened, _audio(recipe, opened))
    if audio or annotations:
        lines = [*found(audio, "audio files missing"), *found(annotations, "annotation files missing")]
        what_to_do = recipe.get or f"what was downloaded does not hold them: see {recipe.homepage}"
        raise InputError(f"{recipe.title} in {opened.home}: {'; '.join([*lines, what_to_do])}")
    unpacked = [path for path in archives if path.suffix in (".zip", ".gz", ".tar", ".bz2") and path.is_file()]
    for path in unpacked:
        path.unlink()
    say(f"{recipe.title} is in {opened.home}, {len(opened.files)} tracks")


def check(recipe: DatasetRecipe, home: Path | None) -> list[str]:
    """Everything that is wrong with a copy of a set, one line each; every file is read and its MD5 compared."""
    dataset = initialise(recipe, home)
    broken = [str(path) for path in broken_archives(dataset)]
    problems = found(broken, f"downloads not complete (delete, then run 'm2l2 datasets fetch {name_of(recipe)}')")
    try:
        opened = open_set(recipe, home)
    except InputError as error:
        return [*problems, str(error)]
    audio = _audio(recipe, opened)
    problems += file_problems(opened, audio)
    if recipe.get and missing_files(opened, audio)[0]:
        problems.append(f"audio has to be brought: {recipe.get}")
    return problems + _label_problems(recipe, _read(recipe, opened))


def _read(recipe: DatasetRecipe, opened: MirdataSet) -> Reading:
    _require_attributes(recipe, opened)
    folds = fold_columns(recipe)
    failures: dict[tuple[str, str], str] = {}
    rows = list(_rows(recipe, opened, folds, failures))
    groups = _joined([row.extras.get("group") for row in rows])
    if "group" in recipe.labels:
        rows = [replace(row, extras={**row.extras, "group": group}) for row, group in zip(rows, groups, strict=True)]
    reading = read_rows(rows)
    # to `read_rows` a label that cannot be read is one that is not stated, and it passes other columns on
    stated = [row for row in reading.dropped.itertuples(index=False) if (row.track_id, row.label) not in failures]
    unread = [(*key, reason) for key, reason in failures.items() if key[1] in recipe.labels]
    dropped = pd.DataFrame([*stated, *unread], columns=reading.dropped.columns)
    return Reading(tracks=reading.tracks, dropped=dropped.sort_values(["track_id", "label"], ignore_index=True))


def _rows(
    recipe: DatasetRecipe,
    opened: MirdataSet,
    folds: Mapping[str, Mapping[str, str]],
    failures: dict[tuple[str, str], str],
) -> Iterator[Row]:
    for track_id, files in opened.files.items():
        values: dict[str, Any] = {}
        track, failure = _track(opened, track_id)
        for column, attribute in _columns(recipe).items():
            values[column], reason = (None, failure) if failure else _value(track, attribute)
            if reason:
                failures[track_id, column] = reason
        values |= values.pop("*", None) or {}
        path = values.pop("path") or ""
        relative = os.path.relpath(path, opened.home) if path else ""
        checksums = {file: md5 for file, md5 in files.values()}
        yield Row(
            track_id=track_id,
            path=path,
            labels={column: value for column, value in values.items() if column in TASKS},
            extras={column: value for column, value in values.items() if column not in TASKS}
            | {column: fold.get(track_id) for column, fold in folds.items()},
            audio=f"md5:{checksums[relative]}" if relative in checksums else "",
        )


def _columns(recipe: DatasetRecipe) -> dict[str, str]:
    return {"path": "audio_path", **recipe.labels}


def _track(opened: MirdataSet, track_id: str) -> tuple[Any, str]:
    """mirdata's Track and "", or None and why there is none."""
    try:
        return opened.dataset.track(track_id), ""
    except Exception as error:  # loaders have no contract for what an odd index makes them raise
        return None, _reason(error)


def _value(track: Any, attribute: str) -> tuple[Any, str]:
    """What a track states and "", or None and why it cannot be read."""
    try:
        return _stated(track, attribute), ""
    except Exception as error:  # loaders have no contract for what a damaged file makes them raise
        return None, _reason(error)


def _stated(track: Any, attribute: str) -> Any:
    if attribute.endswith("()"):
        return QUIRKS[attribute[:-2]](track)
    value = track
    for name in attribute.split("."):
        if value is None:
            return None
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def _reason(error: Exception) -> str:
    return MISSING if isinstance(error, FileNotFoundError) else f"{UNREADABLE} ({type(error).__name__})"


def _require_attributes(recipe: DatasetRecipe, opened: MirdataSet) -> None:
    """Tell a slip in the recipe from an annotation that cannot be read."""
    track = next(filter(None, (_track(opened, track_id)[0] for track_id in opened.files)), None)
    attributes = [name for name in dir(track) if not name.startswith("_")]
    for column, attribute in _columns(recipe).items():
        name, call, _ = attribute.partition("()")
        known = sorted(QUIRKS) if call else attributes
        if (name := name.split(".")[0]) not in known and track is not None:
            what = (
                "function of m2l2_mir.dataset.published.mirdata_quirks"
                if call
                else f"attribute of mirdata's {recipe.loader}"
            )
            raise ConfigError(f"{column} = {attribute!r}: no {what}{close_match(name, known)}: {', '.join(known)}")


def _audio(recipe: DatasetRecipe, opened: MirdataSet) -> list[str]:
    """Paths below the set's folder of the audio that the recipe uses."""
    only = replace(recipe, labels={"path": _columns(recipe)["path"]})
    return [os.path.relpath(row.path, opened.home) for row in _rows(only, opened, {}, {}) if row.path]


def _joined(groups: Sequence[Any]) -> list[Any]:
    """Replace lists of names by one name for all that are connected; single names stay as they are."""
    if not any(isinstance(group, list | tuple) for group in groups):
        return list(groups)
    several = [[group] if isinstance(group, str) else list(group or ()) for group in groups]
    names = [[" ".join(str(name).split()).casefold() for name in group] for group in several]
    parent = {name: name for group in names for name in group}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for first, *others in filter(None, names):
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    return [root(group[0]) if group else None for group in names]


def _label_problems(recipe: DatasetRecipe, reading: Reading) -> list[str]:
    problems = []
    odd = reading.dropped[~reading.dropped["reason"].str.startswith(_MUSICAL)]
    for (label, reason), rows in odd.groupby(["label", "reason"]):
        problems += found(rows["track_id"], f"tracks with an unusable {label}: {reason}")
    for label in recipe.tasks:
        if label not in reading.tracks or not reading.tracks[label].notna().any():
            problems.append(f"none of {len(reading.tracks)} tracks has a usable {label}")
    return problems
