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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from m2l2_mir.dataset.folder import AudioFile, Listing
from m2l2_mir.dataset.recipe import SIZES, DatasetRecipe, find_recipe
from m2l2_mir.dataset.rendered import Clip, render_clips
from m2l2_mir.dataset.split import Manifest, make_manifest
from m2l2_mir.errors import InputError
from m2l2_mir.recipe import close_match

__all__ = ["Dataset", "load_dataset"]

Progress = Callable[[int, int], None]  # done, of


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Tracks, labels, and how they may be split.

    Parameters
    ----------
    name
        ``"bach-key"``, ``"table:my.csv"``, ...
    recipe
        Title, licence, citation, splits, notes.
    tracks, dropped
        See the module's conventions and :class:`~m2l2_mir.dataset.reading.Reading`.
    clips
        Of a rendered set: what to render, one for each track, in order.
    """

    name: str
    recipe: DatasetRecipe
    tracks: pd.DataFrame
    dropped: pd.DataFrame
    clips: Sequence[Clip] = ()

    def fetch(self, *, jobs: int | None = None, progress: Progress | None = None) -> None:
        """Render the clips that are not rendered yet; other sources have their audio or have not."""
        if self.clips:
            render_clips(self.clips, jobs=jobs, progress=progress)

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
            raise InputError(f"{self.name}: none of {len(self.tracks)} audio files is there{example}; {self.how_to_get()}")
        return Listing(files=tuple(files), passed_over=0, failures=tuple(failures))

    def how_to_get(self) -> str:
        """What to do for the audio, in one line."""
        return self.recipe.get or f"run 'm2l2 datasets fetch {self.name}'"

    def split(self, label: str, *, split: str | None = None, seed: int = 0) -> Manifest:
        """Put the tracks that carry `label` into folds (:func:`~m2l2_mir.dataset.split.make_manifest`).

        Parameters
        ----------
        label
            A label column.
        split
            One of the recipe's; None: its first.
        seed
            For folds that are drawn.

        Raises
        ------
        InputError
            The set has no such label or split.
        """
        name = split or next(iter(self.recipe.splits))
        if name not in self.recipe.splits:
            known = list(self.recipe.splits)
            raise InputError(f"{self.name} has no split {name!r}{close_match(name, known)}; it has {', '.join(known)}")
        return make_manifest(
            self.tracks,
            self.dropped,
            dataset=self.name,
            label=label,
            split_name=name,
            split=self.recipe.splits[name],
            seed=seed,
        )

    def summary(self) -> list[str]:
        """Lines for a person: tracks, labels kept and dropped by reason, groups."""
        lines = [f"{self.name}: {len(self.tracks)} tracks"]
        for task in self.recipe.tasks:
            if task not in self.tracks:
                continue
            values = self.tracks[task].dropna()
            reasons = Counter(self.dropped.loc[self.dropped["label"] == task, "reason"])
            gone = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            lines.append(
                f"  {task}: {len(values)} labelled, {values.nunique()} values"
                + (f"; dropped {reasons.total()}: {gone}" if reasons else "")
            )
        if "group" in self.tracks:
            lines.append(f"  {self.tracks['group'].nunique()} groups")
        return lines


def load_dataset(
    name: str | os.PathLike[str],
    *,
    data_home: str | os.PathLike[str] | None = None,
    size: str = "default",
    seed: int = 0,
) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name
        A name from :func:`~m2l2_mir.dataset.recipe.dataset_names`, the path of a recipe (``my.toml``),
        ``"table:FILE"`` (CSV or Parquet with a path column) or ``"folder:DIR"`` (a class per sub-folder).
    data_home
        Where the audio lies: for mirdata and local sets the folder of this set (default: mirdata's own,
        ``~/mir_datasets/NAME``); for a table the folder its paths are relative to; for rendered sets the cache.
    size
        Of rendered sets: "quick", "default" or "large".
    seed
        Of rendered sets: another seed gives other pieces, transpositions and sounds.

    Raises
    ------
    InputError
        There is no such set, or it cannot be read; what to do is in the message.
    """
    from m2l2_mir.dataset import sources

    name = os.fspath(name)
    if size not in SIZES:
        raise InputError(f"size must be {', '.join(SIZES)}: {size!r}")
    home = None if data_home is None else Path(data_home)
    kind, _, rest = name.partition(":")
    if rest and kind == "table":
        return sources.from_table(name, Path(rest), audio_root=home)
    if rest and kind == "folder":
        return sources.from_folder(name, Path(rest))
    name, recipe = find_recipe(name)
    return sources.from_recipe(name, recipe, home=home, size=size, seed=seed)
