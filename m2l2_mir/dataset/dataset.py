"""A data set: tracks with audio, labels, groups and folds, whatever source they come from.

Conventions
-----------
* ``tracks`` holds one row a track: ``track_id``, ``path``, ``audio`` (checksum or ""), one column per label in the
  form of :mod:`m2l2_mir.dataset.labels`, ``group`` (what must not lie on both sides of a split: artist, piece,
  instrument), and whatever else the source tells.
* A label that cannot be used leaves its cell empty and a row in ``dropped``; the track stays.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from m2l2_mir.audio import read_info, stream
from m2l2_mir.dataset import sources, tables
from m2l2_mir.dataset.folder import AudioFile, Listing
from m2l2_mir.dataset.recipe import SIZES, DatasetRecipe, find_recipe
from m2l2_mir.dataset.rendered.clips import Clip, clip_fault, render_clips
from m2l2_mir.dataset.split import Manifest, make_manifest
from m2l2_mir.errors import AudioError, AudioWarning, InputError
from m2l2_mir.recipe import close_match

__all__ = ["Dataset", "check_dataset", "load_dataset"]

Progress = Callable[[int, int], None]  # done, of


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Tracks, labels, and how they may be split.

    Parameters
    ----------
    name
        ``"bach-key"``, ``"table:my.csv"``, ...
    recipe
        Title, licence, citation, splits.
    tracks, dropped
        See the module's conventions and :class:`~m2l2_mir.dataset.reading.Reading`.
    clips
        Of a rendered set: what to render, one for each track, in order.
    cache
        Of a rendered set: where to; None: the user's cache folder.
    size
        Of a rendered set: one of ``SIZES``.
    notes
        What every table of results has to say, such as "dance type, a stand-in for genre".
    """

    name: str
    recipe: DatasetRecipe
    tracks: pd.DataFrame
    dropped: pd.DataFrame
    clips: Sequence[Clip] = ()
    cache: Path | None = None
    size: str = ""
    notes: tuple[str, ...] = ()

    def render(self, *, jobs: int | None = None, progress: Progress | None = None, decode: bool = False) -> None:
        """Render the clips that are not there yet (:func:`~m2l2_mir.dataset.rendered.clips.render_clips`).

        Sets of other sources have none.
        """
        if self.clips:
            render_clips(self.clips, cache=self.cache, jobs=jobs, progress=progress, decode=decode)

    def listing(self) -> Listing:
        """The tracks as files to embed; those without audio are among its ``failures``.

        Raises
        ------
        InputError
            None of the tracks has audio.
        """
        files, failures = [], []
        for track_id, path in zip(self.tracks["track_id"], self.tracks["path"], strict=True):
            if path and os.path.isfile(path):
                files.append(AudioFile(track_id=track_id, path=Path(path)))
            else:
                failures.append((track_id, f"its audio is not there: {path}" if path else "no audio is known of"))
        if not files:
            example = f", such as {self.tracks['path'].iloc[0]!r}" if len(self.tracks) else ""
            how = self.recipe.get or f"run 'm2l2 datasets fetch {self.name}'"
            raise InputError(f"{self.name}: none of {len(self.tracks)} audio files is there{example}; {how}")
        return Listing(files=tuple(files), passed_over=0, failures=tuple(failures))

    @property
    def labels(self) -> list[str]:
        """The label columns that there are: those of the recipe's tasks."""
        return [task for task in self.recipe.tasks if task in self.tracks]

    def split(
        self,
        label: str,
        split: str | None = None,
        *,
        seed: int = 0,
        folds: int | None = None,
        group: str | None = None,
    ) -> Manifest:
        """Put the tracks that carry a label into folds (:func:`~m2l2_mir.dataset.split.make_manifest`).

        Parameters
        ----------
        label
            One of the tasks, or any other column.
        split
            One of the recipe's; None: its first.
        seed
            For folds that are drawn.
        folds
            How many are drawn; None: as many as the recipe says.
        group
            Another column that holds what must not lie on both sides; None: ``group``.

        Raises
        ------
        InputError
            The set has no such label, split or group, or cannot be split in this way.
        """
        if not isinstance(seed, int) or seed < 0:
            raise InputError(f"seed must be a whole number, 0 or more: {seed!r}")
        name = split or next(iter(self.recipe.splits))
        if name not in self.recipe.splits:
            known = list(self.recipe.splits)
            raise InputError(f"{self.name} has no split {name!r}{close_match(name, known)}; it has {', '.join(known)}")
        recipe = self.recipe.splits[name]
        if folds is not None:
            if not isinstance(folds, int) or folds < 2:
                raise InputError(f"folds must be a whole number, 2 or more: {folds!r}")
            if not recipe.folds:
                raise InputError(f"{self.name}: the folds of split {name!r} are given, not drawn; leave out folds")
            recipe = replace(recipe, folds=folds)
        if label not in self.tracks:
            known = [str(column) for column in self.tracks.columns]
            raise InputError(
                f"{self.name} has no label {label!r}{close_match(label, known)}; "
                f"it has {', '.join(self.labels) or 'none for a probe'}, and columns {', '.join(known)}"
            )
        return make_manifest(
            self.tracks,
            self.dropped,
            dataset=self.name,
            label=label,
            split_name=name,
            split=recipe,
            seed=seed,
            group=group or "group",
        )

    def summary(self) -> list[str]:
        """Lines for a person: tracks, labels kept and dropped by reason, groups."""
        lines = [f"{self.name}: {len(self.tracks)} tracks"]
        for label in self.labels:
            values = self.tracks[label].dropna()
            reasons = Counter(self.dropped.loc[self.dropped["label"] == label, "reason"])
            gone = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            lines.append(
                f"  {label}: {len(values)} labelled, {values.nunique()} values; dropped {reasons.total()}"
                + (f": {gone}" if reasons else "")
            )
        groups = f"{self.tracks['group'].nunique()} groups" if "group" in self.tracks else "no groups"
        return [*lines, f"  {groups}", *(f"  note: {note}" for note in self.notes)]


def load_dataset(
    name: str | os.PathLike[str],
    *,
    data_home: str | os.PathLike[str] | None = None,
    size: str = "default",
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name
        A name from :func:`~m2l2_mir.dataset.recipe.dataset_names`, the path of a recipe (``my.toml``),
        ``"table:FILE"`` (CSV or Parquet with a path column) or ``"folder:DIR"`` (a class per sub-folder).
    data_home
        Where the audio lies: for mirdata and local sets the folder of this set (default for mirdata's:
        ``~/mir_datasets/NAME``); for a table the folder its paths are relative to; for rendered sets the cache.
    size
        Of rendered sets: "quick", "default" or "large".
    seed
        Of rendered sets: another seed gives other pieces, transpositions and sounds.
    progress
        Of rendered sets: called as ``progress(done, total)`` while scores are read for the first time.

    Raises
    ------
    InputError
        There is no such set, or it cannot be read; what to do is in the message.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "my.csv")
    ...     _ = file.write_text("path,key,artist\\na.wav,C# Major,x\\nb.wav,X,y\\n")
    ...     dataset = load_dataset(f"table:{file}")
    >>> dataset.tracks["key"].dropna().tolist(), dataset.dropped["reason"].tolist()
    (['Db major'], ['no key'])
    """
    name = os.fspath(name)
    if size not in SIZES:
        raise InputError(f"size must be {', '.join(SIZES)}: {size!r}")
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number, 0 or more: {seed!r}")
    home = None if data_home is None else Path(data_home).expanduser()
    kind, _, rest = name.partition(":")
    if rest and kind in ("table", "folder"):
        recipe, reading = (
            tables.read_table(Path(rest).expanduser(), audio_root=home)
            if kind == "table"
            else tables.read_folder(Path(rest).expanduser())
        )
    else:
        name, recipe = find_recipe(name)
        if recipe.source == "rendered":
            reading, clips, notes = sources.render_plan(recipe, cache=home, size=size, seed=seed, progress=progress)
            own = (recipe.note,) if recipe.note else ()
            return Dataset(
                name=name,
                recipe=recipe,
                tracks=reading.tracks,
                dropped=reading.dropped,
                clips=clips,
                cache=home,
                size=size,
                notes=own + notes,
            )
        reading = sources.read(recipe, home)
    return Dataset(
        name=name,
        recipe=recipe,
        tracks=reading.tracks,
        dropped=reading.dropped,
        notes=(recipe.note,) if recipe.note else (),
    )


def check_dataset(
    name: str | os.PathLike[str],
    *,
    data_home: str | os.PathLike[str] | None = None,
    size: str = "default",
    progress: Progress | None = None,
) -> list[str]:
    """Everything that is wrong with a set on the disk, one line each: files missing, cut off or changed, bad labels.

    Parameters
    ----------
    name, data_home, size, progress
        See :func:`load_dataset`.

    Raises
    ------
    InputError
        There is no such set, or nothing of it is there.
    """
    name = os.fspath(name)
    if name.partition(":")[0] not in ("table", "folder"):
        _, recipe = find_recipe(name)
        if recipe.source != "rendered":
            return sources.check(recipe, None if data_home is None else Path(data_home).expanduser())
    dataset = load_dataset(name, data_home=data_home, size=size, progress=progress)
    if dataset.clips:
        return _clip_problems(dataset)
    problems = dropped_lines(dataset.dropped)
    missing = [path for path in dataset.tracks["path"] if not os.path.isfile(path)]
    if missing:
        count = f"{len(missing)} of {len(dataset.tracks)} audio files missing"
        problems.append(f"{count}, such as {missing[0]}; {dataset.recipe.get}")
    there = [path for path in dataset.tracks["path"] if os.path.isfile(path)]
    return problems + [fault for path in there if (fault := _audio_fault(path))]


def _audio_fault(path: str) -> str:
    """What is wrong with an audio file once it is read to its end, or ""."""
    with warnings.catch_warnings(record=True, action="always", category=AudioWarning) as told:
        try:
            info = read_info(path)
            for _ in stream(path, sample_rate=info.sample_rate, channels=info.channels):
                pass
        except AudioError as error:
            return str(error)
    return str(told[0].message) if told else ""


def _clip_problems(dataset: Dataset) -> list[str]:
    """Clips that are missing or not what they should be, one line for each kind."""
    found: dict[str, list[str]] = {}
    for track_id, path, clip in zip(dataset.tracks["track_id"], dataset.tracks["path"], dataset.clips, strict=True):
        if fault := clip_fault(clip, Path(path)):
            found.setdefault(fault, []).append(track_id)
    return [
        f"{len(ids)} of {len(dataset.clips)} clips {fault}, such as {ids[0]}; "
        f"'m2l2 datasets fetch {dataset.name}' renders them again"
        for fault, ids in sorted(found.items())
    ]


def dropped_lines(dropped: pd.DataFrame) -> list[str]:
    """One line for each label and reason of dropping, with the count and an example."""
    return [
        f"{label}: {len(rows)} tracks dropped: {reason}, such as {rows['track_id'].iloc[0]}"
        for (label, reason), rows in dropped.groupby(["label", "reason"], sort=True)
    ]
