"""Clips: notes and everything else that is needed to turn them into one audio file, rendered in parallel and cached.

Conventions
-----------
* A clip's audio depends on its content alone. Its file is called by the hash of notes, soundfont, length, room, level
  and rate, so that equal content, in whatever set, size or seed, is rendered once, and gives the same bytes.
* A file says in its comment which content it holds, so that a clip that was swapped or emptied is rendered again; one
  that is damaged inside shows when it is decoded (:func:`clip_fault`).
* Files are mono FLAC of 16 bits at 44.1 kHz, faded over 5 ms at both ends.
* The room is a synthetic one: exponentially decaying noise, always the same, whose energy grows with the decay time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import joblib
import numpy as np
import pandas as pd
import soundfile
from scipy.signal import fftconvolve

from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note, render, require_extra
from m2l2_mir.durable import cache_home, write_durably
from m2l2_mir.errors import InputError

__all__ = ["SAMPLE_RATE", "Clip", "ClipSet", "clip_fault", "clip_path", "render_clip", "render_clips"]

SAMPLE_RATE = 44_100
FADE_SECONDS = 0.005
PEAK = 0.99
PRE_DELAY_SECONDS = 0.012
DIRECT_TO_REVERB_DB = 3.0  # at a decay time of one second
# Counts up whenever the same clip comes out otherwise, so that older files are not taken for new ones.
RENDERER_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip of a rendered set.

    Parameters
    ----------
    track_id
        Its name in the set.
    notes
        Times count from the start of the audio. A note that began before it (negative onset) is heard from where it
        has got to.
    seconds
        Length of the audio, exact to the sample.
    soundfont
        Plays the notes.
    labels
        Columns of the set's track table, ``group`` among them.
    reverb_seconds
        Decay time (RT60) of the room; 0 for none.
    level_dbfs
        RMS level that the clip is brought to, less where it would clip; None leaves it as it was played.
    """

    track_id: str
    notes: tuple[Note, ...]
    seconds: float
    soundfont: Soundfont
    labels: Mapping[str, Any] = field(default_factory=dict)
    reverb_seconds: float = 0.0
    level_dbfs: float | None = -23.0

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides how the clip sounds; its name and labels do not."""
        content = [
            [RENDERER_VERSION, version("midirenderer"), self.soundfont.sha256, SAMPLE_RATE],
            [self.seconds, self.reverb_seconds, self.level_dbfs],
            sorted(astuple(note) for note in self.notes),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ClipSet:
    """The clips of one set, and the pieces that were not taken: ``track_id``, ``label``, ``reason``."""

    clips: tuple[Clip, ...]
    dropped: pd.DataFrame


def clip_path(clip: Clip, cache: Path | None = None) -> Path:
    """Where the clip's audio lies once it is rendered; `cache` defaults to the user's cache folder."""
    return (cache or cache_home()) / "clips" / clip.sha256[:2] / f"{clip.sha256}.flac"


def clip_fault(clip: Clip, path: Path, *, decode: bool = True) -> str:
    """What is wrong with a clip's file, or "".

    Parameters
    ----------
    clip, path
        What should be where.
    decode
        Read all of it; else only whether it is there and says that it is this clip.
    """
    if not path.is_file():
        return "missing"
    try:
        with soundfile.SoundFile(path) as file:
            if file.comment != clip.sha256:
                return "another clip"
            if decode and len(file.read(dtype="int16")) != round(clip.seconds * SAMPLE_RATE):
                return "cut short"
    except soundfile.LibsndfileError as error:
        return f"damaged ({error.error_string})"
    return ""


def render_clip(clip: Clip) -> np.ndarray:
    """Render one clip.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float64]
        Mono, at :data:`SAMPLE_RATE`.

    Raises
    ------
    MissingExtraError
        Without the ``[render]`` extra.
    InputError
        The soundfont or the notes cannot be used.
    """
    samples = round(clip.seconds * SAMPLE_RATE)
    # whole samples, so that cutting the lead off shifts nothing
    lead = int(np.ceil(max(0.0, -min((note.onset for note in clip.notes), default=0.0)) * SAMPLE_RATE))
    notes = [replace(note, onset=max(0.0, note.onset + lead / SAMPLE_RATE)) for note in clip.notes]
    duration = (lead + samples) / SAMPLE_RATE
    waveform = render(notes, clip.soundfont.path, sample_rate=SAMPLE_RATE, duration=duration).mean(0, dtype=np.float64)
    if clip.reverb_seconds > 0:
        waveform = fftconvolve(waveform, _room(clip.reverb_seconds))[: len(waveform)]
    return _levelled(_faded(waveform[lead : lead + samples]), clip.level_dbfs)


def render_clips(
    clips: Sequence[Clip],
    *,
    cache: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    decode: bool = False,
) -> list[Path]:
    """Render the clips that are not in the cache or are not what they should be, in parallel.

    Each file is written aside and renamed, so that it is there whole or not at all.

    Parameters
    ----------
    clips
        Equal ones are rendered once.
    cache
        Folder; default: the user's cache.
    jobs
        Processes; None: the cores this process may use.
    progress
        Called as ``progress(done, total)``, counting the clips that have to be rendered.
    decode
        Read the clips that are there to their end, to find damaged ones too.

    Returns
    -------
    list of Path
        One a clip, in order.

    Raises
    ------
    MissingExtraError, InputError
        See :func:`render_clip`.
    """
    paths = [clip_path(clip, cache) for clip in clips]
    todo = {path: clip for path, clip in zip(paths, clips, strict=True) if clip_fault(clip, path, decode=decode)}
    if todo:
        require_extra("midirenderer")
        try:
            _render_all(todo, jobs or joblib.cpu_count(), progress)
        except OSError as error:
            raise InputError(
                f"cannot write clips to {cache or cache_home()}: {error.strerror or error}; "
                "set M2L2_CACHE to a folder with room for them"
            ) from error
    return paths


def _render_all(todo: Mapping[Path, Clip], jobs: int, progress: Callable[[int, int], None] | None) -> None:
    for folder in {path.parent for path in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    # joblib, as it needs no guarded __main__; its batches keep start-up and hand-over small
    calls = (joblib.delayed(_render_to)(clip, path) for path, clip in todo.items())
    results = joblib.Parallel(n_jobs=min(jobs, len(todo)), return_as="generator_unordered")(calls)
    for done, _ in enumerate(results, start=1):
        if progress:
            progress(done, len(todo))


def _render_to(clip: Clip, path: Path) -> None:
    waveform = render_clip(clip)

    def write(out: IO[bytes]) -> None:
        with soundfile.SoundFile(out, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
            file.comment = clip.sha256
            file.write(waveform)

    write_durably(path, write)


def _levelled(waveform: np.ndarray, level_dbfs: float | None) -> np.ndarray:
    level = float(np.sqrt(np.mean(np.square(waveform))))
    if level_dbfs is None or level == 0:
        return waveform
    if level_dbfs > 0:
        raise InputError(f"level_dbfs must be 0 or less: {level_dbfs}")
    return waveform * min(10 ** (level_dbfs / 20) / level, PEAK / float(np.abs(waveform).max()))


def _faded(waveform: np.ndarray) -> np.ndarray:
    length = min(round(FADE_SECONDS * SAMPLE_RATE), len(waveform) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, length)) ** 2
    gain = np.ones(len(waveform))
    gain[:length] = ramp
    gain[len(waveform) - length :] = ramp[::-1]
    return waveform * gain


@lru_cache(maxsize=32)
def _room(decay_seconds: float) -> np.ndarray:
    """Impulse response: the direct sound, then noise that falls by 60 dB in the decay time."""
    length = round(decay_seconds * SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    # the sum of the squared decay over time is decay_seconds / (6 ln 10), so energy grows with the decay time
    scale = 10 ** (-DIRECT_TO_REVERB_DB / 20) * np.sqrt(6 * np.log(10) / SAMPLE_RATE)
    delay = np.zeros(round(PRE_DELAY_SECONDS * SAMPLE_RATE))
    return np.concatenate([[1.0], delay, scale * noise])
