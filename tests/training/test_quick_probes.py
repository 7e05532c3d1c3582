"""Quick monitors: an embedding that holds the answer scores, one that does not is at chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor

from m2l2_mir.training import quick_probes
from m2l2_mir.training.quick_probes import QuickProbes
from tests.training.runs import recipe

pytest.importorskip("midirenderer")
MODEL = recipe().model_config


class Spectra:
    """Log-frequency magnitudes of each chunk where the summary embeddings would be."""

    def encode_blocks(self, blocks: Tensor) -> Tensor:
        spectra = torch.fft.rfft(blocks[:, 0] * torch.hann_window(blocks.shape[-1])).abs()
        bins = 60 * 2 ** (torch.arange(256) / 48) * blocks.shape[-1] / MODEL.sample_rate
        tones = torch.log1p(10 * spectra[:, bins.round().long()])
        envelope = blocks[:, 0].unfold(-1, 256, 256).square().mean(-1).sqrt()
        rise = envelope.diff(dim=-1).clamp(min=0)
        rhythm = torch.fft.rfft(rise, n=512).abs()[:, :256]
        return torch.cat([tones, rhythm / rhythm[:, :1].clamp(min=1e-6)], dim=1).unflatten(1, (8, 64))


class Deaf:
    """Noise for everything."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def encode_blocks(self, blocks: Tensor) -> Tensor:
        return torch.randn(len(blocks), 8, 64, generator=self.generator)


class KnowsPlayers:
    """The answers, but for each player in numbers of its own."""

    def __init__(self, clips: quick_probes._Clips) -> None:
        chunks = clips.blocks.shape[1]
        self.answers, self.groups = clips.answers.repeat(chunks), clips.groups.repeat(chunks)
        self.given = 0

    def encode_blocks(self, blocks: Tensor) -> Tensor:
        found = torch.zeros(len(blocks), 512)
        for row in found:
            row[self.groups[self.given]] = self.answers[self.given] - self.answers.mean()
            self.given += 1
        return found.unflatten(1, (8, 64))


@pytest.fixture(scope="module")
def probes() -> QuickProbes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_probes, "PITCHES", range(60, 72))
        patch.setattr(quick_probes, "DRUMS", (36, 38, 42, 76))
        made = QuickProbes(MODEL)
        made.measure(Deaf())  # renders
        return made


def test_pitch_and_tempo_are_read_from_where_they_are(probes: QuickProbes) -> None:
    hears, deaf = probes.measure(Spectra()), probes.measure(Deaf())
    assert hears["quick_pitch_accuracy"] > 0.6 > 0.25 > deaf["quick_pitch_accuracy"]  # chance 1/12
    assert hears["quick_tempo_r2"] > 0.5 > 0.2 > deaf["quick_tempo_r2"]
    assert probes.measure(Spectra()) == hears


def test_instruments_are_held_out_and_equally_heard(probes: QuickProbes) -> None:
    found = quick_probes._held_out(LinearRegression(), KnowsPlayers(probes._beats), probes._beats)
    assert np.ptp(found) < 0.1  # nothing that was learnt of other players says anything of one
    for clips in (probes._notes, probes._beats):
        counts = np.unique(clips.groups, return_counts=True)[1]
        assert len(counts) >= 4
        assert (counts == counts[0]).all()
    assert probes._notes.blocks.shape[1:] == (1, 1, MODEL.chunk_samples + MODEL.overlap)
    assert len(probes._beats.blocks) == 4 * 16


def test_pitch_and_tempo_sound_as_labelled(probes: QuickProbes) -> None:
    """The loudest low partial of most notes is the fundamental, or an octave of it; strokes come at twice the tempo."""
    blocks = probes._notes.blocks[:, 0, 0]
    spectra = torch.fft.rfft(blocks * torch.hann_window(blocks.shape[-1])).abs().numpy()
    hertz = spectra.argmax(axis=1) * MODEL.sample_rate / blocks.shape[-1]
    off = (69 + 12 * np.log2(hertz / 440) - probes._notes.answers + 0.5) % 12 - 0.5
    assert np.mean(np.abs(off) < 0.5) > 0.6
    chunks = MODEL.chunk_samples
    audio = probes._beats.blocks[:, :, 0, -chunks:].flatten(1).numpy()
    level = np.sqrt(np.square(audio.reshape(len(audio), -1, 512)).mean(axis=2))
    rise = np.clip(np.diff(np.log(level + 1e-3), axis=1), 0, None)
    power = np.abs(np.fft.rfft(rise - rise.mean(axis=1, keepdims=True), n=8192))
    strokes = power[:, 140:1600].argmax(axis=1) + 140  # 1.5 to 17 a second
    rate = strokes * MODEL.sample_rate / 512 / 8192 * 30  # two strokes a beat
    multiple = rate / 2**probes._beats.answers  # the beat alone, the strokes, or an overtone of them
    nearest = np.abs(multiple[:, None] - np.array([0.5, 1.0, 1.5, 2.0])).min(axis=1)
    assert np.mean(nearest < 0.05) > 0.8
