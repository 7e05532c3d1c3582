"""Rendered training music: procedural pieces, played with TimGM6mb, in a folder of FLAC files.

Conventions
-----------
* The soundfont is always TimGM6mb: what probes are tested on is rendered with FluidR3, which training never hears. The
  music is made up by :mod:`~m2l2_mir.training.composing`; no score that a data set uses is among it.
* Piece ``i`` of a seed is the same whatever the number of hours or processes; more hours add pieces to a folder.
* Files are called ``SEED-NUMBER-KIND.flac``, are whole or not there, and make up one collection called like the folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from m2l2_mir.dataset.rendered.casting import draw_stage
from m2l2_mir.dataset.rendered.clips import Clip, render_clips
from m2l2_mir.dataset.rendered.soundfont import Soundfont, training_soundfont
from m2l2_mir.errors import InputError
from m2l2_mir.training.composing import KINDS
from m2l2_mir.training.recordings import Collection, write_collections

__all__ = ["PIECE_SECONDS", "compose", "render_music"]

PIECE_SECONDS = 20.0
_BATCH = 64  # pieces between two looks at what is done
_SCRATCH = ".rendering"


def compose(seed: int, number: int, soundfont: Soundfont) -> Clip:
    """Make up one piece.

    Parameters
    ----------
    seed, number
        0 or above; together they decide everything.
    soundfont
        Plays it.
    """
    rng = np.random.default_rng([seed, number])
    shares = np.array([share for share, _ in KINDS.values()])
    kind = list(KINDS)[rng.choice(len(KINDS), p=shares / shares.sum())]
    notes = KINDS[kind][1](rng, PIECE_SECONDS)
    return Clip(
        track_id=f"{seed}-{number:06d}-{kind}",
        notes=tuple(notes),
        seconds=PIECE_SECONDS,
        soundfont=soundfont,
        **draw_stage(rng),
    )


def render_music(
    out: Path,
    *,
    hours: float,
    seed: int = 0,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Render hours of music into a folder, or what is missing of them.

    Parameters
    ----------
    out
        Folder; made if need be. It becomes one collection, called like it.
    hours
        How much there is to be in the end.
    seed
        Another one gives other music; both may lie in one folder.
    jobs
        Processes; default: the cores this process may use.
    progress
        Called as ``progress(done, total)``, counting pieces.

    Returns
    -------
    int
        Pieces rendered now; the others were there.

    Raises
    ------
    MissingExtraError
        Without the ``[render]`` extra.
    InputError
        `hours` is not above 0, `seed` is below 0, or the folder cannot be written.
    """
    if not hours > 0 or seed < 0:
        raise InputError(f"hours is {hours} and seed {seed}; hours must be above 0, seed 0 or above")
    soundfont = training_soundfont()
    total = int(np.ceil(hours * 3600 / PIECE_SECONDS))
    try:
        out.mkdir(parents=True, exist_ok=True)
        present = {name.rpartition("-")[0] for name in os.listdir(out) if name.endswith(".flac")}
        missing = [number for number in range(total) if f"{seed}-{number:06d}" not in present]
        for start in range(0, len(missing), _BATCH):
            clips = [compose(seed, number, soundfont) for number in missing[start : start + _BATCH]]
            for clip, path in zip(clips, render_clips(clips, cache=out / _SCRATCH, jobs=jobs), strict=True):
                os.replace(path, out / f"{clip.track_id}.flac")
            if progress:
                progress(total - len(missing) + start + len(clips), total)
        shutil.rmtree(out / _SCRATCH, ignore_errors=True)
        source = f"procedural music, played with {soundfont.name} ({soundfont.licence})"
        facts = Collection(licence="made up by m2l2-mir; samples: " + soundfont.licence, source=source, split="train")
        write_collections(out, {out.resolve().name: facts})
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot write music to {out}: {error.strerror or error}; choose another folder") from error
    return len(missing)
