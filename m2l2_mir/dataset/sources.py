"""From a recipe, a table or a folder to a data set: which reader does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from m2l2_mir.dataset.reading import Reading
from m2l2_mir.dataset.recipe import SIZES, DatasetRecipe
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet, clip_path
from m2l2_mir.dataset.rendered.soundfont import INSTALL, Soundfont, probe_soundfonts
from m2l2_mir.errors import ConfigError, InputError

__all__ = ["check", "download", "read", "render_plan"]

Progress = Callable[[int, int], None]  # done, of

# loader of a rendered set -> module of this package and the function that plans its clips
RENDERED = {
    "bach-key": ("bach", "clips"),
    "tunes-genre": ("tunes", "genre_clips"),
    "tunes-tempo": ("tunes", "tempo_clips"),
    "notes-pitch": ("notes", "clips"),
    "factors": ("factors", "clips"),
}


def read(recipe: DatasetRecipe, home: Path | None) -> Reading:
    """Read the labels of a set that lies on the disk."""
    if recipe.source == "mirdata":
        from m2l2_mir.dataset.published import mirdata_sets

        return mirdata_sets.read(recipe, home)
    return _local(recipe, "READERS")(recipe, _home(recipe, home))


def check(recipe: DatasetRecipe, home: Path | None) -> list[str]:
    """Everything that is wrong with a set of mirdata or a local one, one line each."""
    if recipe.source == "mirdata":
        from m2l2_mir.dataset.published import mirdata_sets

        return mirdata_sets.check(recipe, home)
    problems: list[str] = _local(recipe, "CHECKS")(recipe, _home(recipe, home))
    return problems


def download(recipe: DatasetRecipe, home: Path | None, say: Callable[[str], None]) -> None:
    """Download a set through mirdata.

    Raises
    ------
    InputError
        It has to be brought by the user; the message says what to put where.
    """
    if recipe.source != "mirdata":
        raise InputError(f"{recipe.title} cannot be downloaded from here: {recipe.get}")
    from m2l2_mir.dataset.published import mirdata_sets

    mirdata_sets.fetch(recipe, home, say)


def render_plan(
    recipe: DatasetRecipe, *, cache: Path | None, size: str, seed: int, progress: Progress | None
) -> tuple[Reading, Sequence[Clip], tuple[str, ...]]:
    """Plan the clips of a rendered set.

    Returns
    -------
    reading : Reading
        Paths are where the clips are or will be.
    clips : sequence of Clip
        In the order of the tracks.
    notes : tuple of str
        What every result on them has to say about the soundfonts.
    """
    if recipe.loader not in RENDERED:
        raise ConfigError(f"no renderer {recipe.loader!r}; there are {', '.join(RENDERED)}")
    if size not in recipe.sizes:
        raise ConfigError(f"{recipe.title} has no size {size!r}; a recipe's sizes are {', '.join(SIZES)}")
    module, function = RENDERED[recipe.loader]
    plan = getattr(import_module(f"m2l2_mir.dataset.rendered.{module}"), function)
    fonts = probe_soundfonts()
    clip_set: ClipSet = plan(count=recipe.sizes[size], seed=seed, fonts=fonts, progress=progress)
    clips = sorted(clip_set.clips, key=lambda clip: clip.track_id)
    tracks = pd.DataFrame(
        [
            {
                # with digits of its content: in another size or seed, one name can mean another sound
                "track_id": f"{clip.track_id}-{clip.sha256[:6]}",
                "path": str(clip_path(clip, cache)),
                "audio": f"clip:{clip.sha256}",
                "seconds": clip.seconds,
                **clip.labels,
            }
            for clip in clips
        ]
    )
    return Reading(tracks=tracks, dropped=clip_set.dropped), clips, _font_notes(clips, fonts)


def _font_notes(clips: Sequence[Clip], fonts: Sequence[Soundfont]) -> tuple[str, ...]:
    """What is to be said of each soundfont that clips use, with how many where it is not all of them."""
    notes = []
    for font in fonts:
        used = sum(clip.soundfont == font for clip in clips)
        if not (font.note and used):
            continue
        share = "" if used == len(clips) else f"{used} of {len(clips)} clips "
        hint = f"; {INSTALL}" if font is fonts[0] and font.heard_in_training else ""
        notes.append(f"{share}{font.note}{hint}")
    return tuple(notes)


def _local(recipe: DatasetRecipe, what: str) -> Callable[..., Any]:
    from m2l2_mir.dataset.published import local_sets

    known: dict[str, Callable[..., Any]] = getattr(local_sets, what)
    if recipe.loader not in known:
        raise ConfigError(f"no local reader {recipe.loader!r}; there are {', '.join(sorted(known))}")
    return known[recipe.loader]


def _home(recipe: DatasetRecipe, home: Path | None) -> Path:
    if home is None:
        raise InputError(f"{recipe.title}: name its folder with --data-home; {recipe.get}")
    if not os.path.isdir(home):
        raise InputError(f"{recipe.title}: there is no folder {str(home)!r}; {recipe.get}")
    return home
