"""Tracks transposed or played at another tempo, to see whether estimates follow.

data set --notes moved, rendered again--> data set
data set --phase vocoder, kept in the cache--> data set

Conventions
-----------
* A transposition is in semitones, upwards if positive; drums stay. A stretch is a factor of tempo: 1.25 is a quarter
  faster, and the clip is as much shorter.
* Rendering again is the clean test, since nothing but the notes changes: attacks, room and level stay. A phase vocoder
  [1]_ serves any recording, and smears transients and moves formants along; what it costs shows beside the other.
* Altered tracks are called by their track and the change, as ``"t01@+3"`` and ``"t01@x1.25"``; their files, FLAC of 24
  bits, go to ``altered`` in the cache folder, by the SHA-256 of the source and the change.

References
----------
.. [1] D. P. W. Ellis, "A phase vocoder in Matlab", Columbia University, 2002; as in librosa.effects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import joblib
import librosa
import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from m2l2_mir.audio import load, read_info
from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.rendered.clips import Clip, clip_path
from m2l2_mir.durable import cache_home, write_durably
from m2l2_mir.errors import AudioError, InputError, M2L2Error

__all__ = ["LONGEST_SECONDS", "MEANS", "Alteration", "altered_dataset", "can_alter"]

MEANS = ("rendering", "vocoder")
LONGEST_SECONDS = 120.0  # of a recording, which a phase vocoder holds as a whole

Means = Literal["rendering", "vocoder"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """One change.

    Parameters
    ----------
    kind
        "transposition" or "stretch".
    amount
        Semitones, or factor of tempo.

    Examples
    --------
    >>> Alteration(kind="transposition", amount=3).suffix, Alteration(kind="stretch", amount=0.8).suffix
    ('@+3', '@x0.8')
    """

    kind: Literal["transposition", "stretch"]
    amount: float

    def __post_init__(self) -> None:
        if self.kind == "stretch" and not 0.25 <= self.amount <= 4:
            raise InputError(f"a stretch by {self.amount:g} is no factor of tempo; give 0.25 to 4, such as 1.25")
        if self.kind == "transposition" and not (abs(self.amount) <= 24 and float(self.amount).is_integer()):
            raise InputError(f"a transposition by {self.amount:g} is out of range; give whole semitones, -24 to 24")

    @property
    def suffix(self) -> str:
        """What is added to the name of a track."""
        return f"@{self.amount:+g}" if self.kind == "transposition" else f"@x{self.amount:.4g}"

    def of_clip(self, clip: Clip) -> Clip:
        """Move the notes of a clip: other pitches, or the same music in less or more time."""
        if self.kind == "transposition":
            steps = int(self.amount)
            moved = (note if note.drum else replace(note, pitch=note.pitch + steps) for note in clip.notes)
            return replace(clip, track_id=clip.track_id + self.suffix, notes=tuple(moved))
        return replace(
            clip,
            track_id=clip.track_id + self.suffix,
            seconds=clip.seconds / self.amount,
            notes=tuple(
                replace(note, onset=note.onset / self.amount, duration=note.duration / self.amount)
                for note in clip.notes
            ),
        )

    def of_waveform(self, waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
        """Alter sound [channels, samples] by a phase vocoder.

        >>> Alteration(kind="stretch", amount=2).of_waveform(np.zeros((1, 8000), np.float32), 8000).shape
        (1, 4000)
        """
        changed: NDArray[np.float32] = (
            librosa.effects.pitch_shift(waveform, sr=sample_rate, n_steps=self.amount)
            if self.kind == "transposition"
            else librosa.effects.time_stretch(waveform, rate=self.amount)
        )
        return (changed / max(1.0, float(np.abs(changed).max(initial=0.0)))).astype(np.float32)


def can_alter(dataset: Dataset, means: Means) -> NDArray[np.bool_]:
    """Which tracks can be altered, [tracks]: all of a rendered set; recordings that are there and not too long."""
    if means == "rendering":
        return np.full(len(dataset.tracks), bool(dataset.clips))
    return np.array([_readable(path) for path in dataset.tracks["path"]], dtype=np.bool_)


def altered_dataset(
    dataset: Dataset,
    positions: Sequence[int],
    alterations: Sequence[Alteration],
    *,
    means: Means,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Make a data set of altered tracks.

    Parameters
    ----------
    dataset
        Its audio is there.
    positions
        Of the tracks that are altered.
    alterations
        Each is made of all tracks.
    means
        "rendering" leaves it to :meth:`Dataset.render` to make the audio; "vocoder" makes what is not in the cache.
    jobs
        Processes; None: the cores this process may use.
    progress
        Called with the number of files done and of all.

    Returns
    -------
    Dataset
        Tracks in the order of alterations and, within each, of positions; labels are those of the source.

    Raises
    ------
    InputError
        The set is not rendered, or the cache cannot be written.
    """
    chosen = dataset.tracks.iloc[list(positions)]
    tables = [
        chosen.assign(track_id=chosen["track_id"].astype(str) + alteration.suffix, audio="")
        for alteration in alterations
    ]
    tracks = pd.concat(tables, ignore_index=True)
    clips: list[Clip] = []
    if means == "rendering":
        if not dataset.clips:
            raise InputError(f"{dataset.name} is not rendered, so it cannot be played otherwise; take --by vocoder")
        clips = [alteration.of_clip(dataset.clips[place]) for alteration in alterations for place in positions]
        paths = [clip_path(clip, dataset.cache) for clip in clips]
    else:
        paths = _vocoded(chosen["path"].astype(str).tolist(), alterations, jobs, progress)
    return replace(dataset, tracks=tracks.assign(path=list(map(str, paths))), clips=tuple(clips))


def _readable(path: str) -> bool:
    try:
        return bool(path) and not read_info(path).duration > LONGEST_SECONDS
    except AudioError:
        return False


def _vocoded(
    sources: Sequence[str], alterations: Sequence[Alteration], jobs: int | None, progress: Progress | None
) -> list[Path]:
    folder = cache_home() / "altered" / f"librosa-{version('librosa')}"
    digests = []
    for source in sources:
        with open(source, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    pairs = [(source, digest, one) for one in alterations for source, digest in zip(sources, digests, strict=True)]
    targets = [folder / digest[:2] / f"{digest}{one.suffix}.flac" for _, digest, one in pairs]
    missing = {target: pair for target, pair in zip(targets, pairs, strict=True) if not target.is_file()}
    try:
        for parent in {target.parent for target in missing}:
            parent.mkdir(parents=True, exist_ok=True)
        calls = (joblib.delayed(_write)(target, source, one) for target, (source, _, one) in missing.items())
        workers = min(jobs or joblib.cpu_count(), max(1, len(missing)))
        results = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(calls)
        for done, _ in enumerate(results, start=1):
            if progress is not None:
                progress(done, len(missing))
    except M2L2Error:  # some are OSErrors too
        raise
    except OSError as error:
        raise InputError(
            f"cannot write altered tracks to {folder}: {error.strerror or error}; "
            "set M2L2_CACHE to a folder with room for them"
        ) from error
    return targets


def _write(target: Path, source: str, alteration: Alteration) -> None:
    try:
        waveform, sample_rate = load(source)
    except AudioError:
        return  # no file, so the track fails in every row and is counted
    changed = alteration.of_waveform(waveform, sample_rate)
    write_durably(target, lambda file: soundfile.write(file, changed.T, sample_rate, subtype="PCM_24", format="FLAC"))
