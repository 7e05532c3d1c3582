"""Clips: notes plus everything that is needed to turn them into one audio file, rendered in parallel and cached.

Conventions
-----------
* A clip's audio depends on its content alone: the file's name is the hash of notes, soundfont, length, room, level and
  rate. Equal content, in whatever set, size or seed, is rendered once; the same content gives the same bytes.
* Files are mono FLAC, 16 bits, at 44.1 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.rendering import Note
from m2l2_mir.dataset.soundfont import Soundfont

__all__ = ["SAMPLE_RATE", "Clip", "render_clips"]

SAMPLE_RATE = 44_100


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip of a rendered set.

    Parameters
    ----------
    track_id
        Its name in the set.
    notes
        Times count from the start of the audio; a note may begin before it (negative onset) and then sounds from where
        it has got to: the renderer starts early and cuts.
    seconds
        Length of the audio, exact to the sample.
    soundfont
        Plays the notes.
    labels
        Columns of the set's track table, "group" among them.
    reverb_seconds
        Decay time (RT60) of the room, 0 for none.
    level_dbfs
        RMS level the clip is brought to; None leaves it as it was played.
    """

    track_id: str
    notes: tuple[Note, ...]
    seconds: float
    soundfont: Soundfont
    labels: Mapping[str, Any] = field(default_factory=dict)
    reverb_seconds: float = 0.0
    level_dbfs: float | None = -23.0

    @property
    def sha256(self) -> str:
        """Hash of everything that decides how the clip sounds."""
        raise NotImplementedError


def clip_path(clip: Clip, cache: Path) -> Path:
    """Where the clip's audio lies once it is rendered."""
    return cache / "clips" / clip.sha256[:2] / f"{clip.sha256}.flac"


def render_clips(
    clips: Sequence[Clip],
    *,
    cache: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render the clips that are not in the cache yet, in parallel, each written aside and renamed."""
    raise NotImplementedError
