"""Quick monitors of pitch and tempo: what a linear read-out finds in the embeddings while a model is trained.

They are monitors, not results: single notes and drum patterns made up by rule, played with the training soundfont
TimGM6mb, whose instruments training may have heard. No data set that probes are reported on is among them. Needs the
``[render]`` extra.

Conventions
-----------
* ``quick_pitch_accuracy``: share of notes whose semitone is found, of 49 (chance 0.02), under a softer second note: 15
  instruments, one after the other held out, ridge classification.
* ``quick_tempo_r2``: explained variance of log2 of the tempo, 60 to 240 beats a minute: 8 percussion instruments, one
  after the other held out, ridge regression. 0 is what the mean tempo would reach.
* Both read the mean over a clip's chunks of all K x d values; a clip of notes has one chunk, one of beats four.
* Everything is rendered once a run, in about ten seconds, and kept in memory as the model's blocks: 120 MB in mono.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from m2l2_mir.dataset.rendered.clips import SAMPLE_RATE, Clip, render_clip
from m2l2_mir.dataset.rendered.instruments import covering
from m2l2_mir.dataset.rendered.soundfont import Soundfont, training_soundfont
from m2l2_mir.dataset.rendered.synthesizer import Note, require_extra
from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.waveform import map_channels, resample

__all__ = ["QuickProbes"]

PITCHES = range(36, 85)
VELOCITIES = (60, 80, 100, 120)
TEMPI = 60.0 * 4.0 ** (np.arange(16) / 15)
BEAT_CHUNKS = 4
DRUMS = (36, 38, 39, 42, 56, 64, 69, 76)  # kick, snare, clap, hi-hat, cowbell, conga, cabasa, wood block
PENALTIES = np.logspace(0, 5, 11)
_CHUNKS_AT_ONCE = 64
_LEVEL_DBFS = -30.0


@dataclass(frozen=True)
class _Clips:
    """Clips as a model hears them, with what is asked about them."""

    blocks: Tensor  # [clips, chunks, channels, chunk_samples + overlap]
    answers: NDArray[np.float64]  # [clips]
    groups: NDArray[np.int64]  # [clips]: what is held out together


class QuickProbes:
    """Notes and beats, rendered when they are first needed.

    Parameters
    ----------
    config
        Of the model whose embeddings are to be read.

    Raises
    ------
    MissingExtraError
        Without the ``[render]`` extra.
    """

    def __init__(self, config: ModelConfig) -> None:
        require_extra("midirenderer")
        self._config, self._soundfont = config, training_soundfont()

    @cached_property
    def _notes(self) -> _Clips:
        return _heard(list(_notes(self._soundfont, _seconds(1, self._config))), 1, self._config)

    @cached_property
    def _beats(self) -> _Clips:
        planned = list(_beats(self._soundfont, _seconds(BEAT_CHUNKS, self._config)))
        return _heard(planned, BEAT_CHUNKS, self._config)

    def measure(self, model: Music2Latent2) -> dict[str, float]:
        """Accuracy of pitch and explained variance of tempo.

        Parameters
        ----------
        model
            Of the configuration that was given.
        """
        pitch = make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
        tempo = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
        return {
            "quick_pitch_accuracy": float(np.mean(_held_out(pitch, model, self._notes) == self._notes.answers)),
            "quick_tempo_r2": float(r2_score(self._beats.answers, _held_out(tempo, model, self._beats))),
        }


def _held_out(read_out: BaseEstimator, model: Music2Latent2, clips: _Clips) -> NDArray[np.float64]:
    """Estimates for each clip by a read-out that was fitted without its group."""
    chunks = clips.blocks.flatten(0, 1).split(_CHUNKS_AT_ONCE)
    embeddings = torch.cat([model.encode_blocks(part) for part in chunks]).unflatten(0, clips.blocks.shape[:2])
    vectors = embeddings.mean(1).flatten(1).numpy()  # (clips, K * d)
    return cross_val_predict(read_out, vectors, clips.answers, groups=clips.groups, cv=LeaveOneGroupOut())


def _notes(soundfont: Soundfont, seconds: float) -> Iterator[tuple[Clip, float, int]]:
    """Half of the pitches, drawn, by every second instrument; a softer note of another pitch and player disturbs."""
    rng = np.random.default_rng(0)
    players = covering(min(PITCHES), max(PITCHES))[::2]
    for group, player in enumerate(players):
        for pitch in sorted(rng.permutation(PITCHES)[: len(PITCHES) // 2].tolist()):
            other = players[int(rng.integers(len(players)))]
            loud = Note(rng.uniform(0, 0.1), seconds, pitch, int(rng.choice(VELOCITIES)), player.program, part=0)
            soft = Note(rng.uniform(0, 0.4), seconds, int(rng.choice(PITCHES)), 40, other.program, part=1)
            yield _clip(f"{player.name} {pitch}", [loud, soft], seconds, soundfont), float(pitch), group


def _beats(soundfont: Soundfont, seconds: float) -> Iterator[tuple[Clip, float, int]]:
    """Every tempo by every drum: a loud stroke on the beat, a soft one between, from anywhere in the beat on."""
    rng = np.random.default_rng(0)
    for group, drum in enumerate(DRUMS):
        for bpm in TEMPI:
            half = 30.0 / bpm
            onsets = np.arange(-2 * rng.random() * half, seconds, half)
            notes = [
                Note(float(onset), 0.1, drum, 60 if index % 2 else 110, drum=True)
                for index, onset in enumerate(onsets)
                if onset >= 0
            ]
            yield _clip(f"{drum} {bpm:.1f}", notes, seconds, soundfont), float(np.log2(bpm)), group


def _clip(name: str, notes: Sequence[Note], seconds: float, soundfont: Soundfont) -> Clip:
    return Clip(track_id=name, notes=tuple(notes), seconds=seconds, soundfont=soundfont, level_dbfs=_LEVEL_DBFS)


def _heard(planned: Sequence[tuple[Clip, float, int]], chunks: int, config: ModelConfig) -> _Clips:
    samples = chunks * config.chunk_samples - config.overlap
    blocks = []
    for clip, _, _ in planned:
        waveform = resample(render_clip(clip)[None], SAMPLE_RATE, config.sample_rate)[:, :samples]
        blocks.append(spectrogram.blocks(torch.from_numpy(map_channels(waveform, config.channels)), config))
    answers, groups = (np.array([row[column] for row in planned]) for column in (1, 2))
    return _Clips(torch.stack(blocks).float(), answers, groups)


def _seconds(chunks: int, config: ModelConfig) -> float:
    """Length of a clip that has so many chunks."""
    return (chunks * config.chunk_samples - config.overlap) / config.sample_rate
