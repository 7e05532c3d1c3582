"""Targets of the explicit loss: a tone lies in its band, at its frame, in windows short and long alike."""

from __future__ import annotations

import math

import pytest
import torch

from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.targets import (
    BANDS_AN_OCTAVE,
    LOW_BANDS_AN_OCTAVE,
    SUMMARY_SIZES,
    explicit_targets,
    summary_targets,
    target_sizes,
)

CONFIG = ModelConfig.preset("m2l2-tiny")
SAMPLES = CONFIG.chunk_samples + CONFIG.overlap


def tone(hertz: float) -> torch.Tensor:
    return 0.1 * torch.sin(2 * math.pi * hertz * torch.arange(SAMPLES) / CONFIG.sample_rate)[None, None]


@pytest.mark.parametrize("hertz", [220.0, 440.0, 1760.0, 7040.0])
def test_a_tone_peaks_in_its_band(hertz: float) -> None:
    targets = explicit_targets(tone(hertz), CONFIG)
    assert {part: tuple(value.shape[1:]) for part, value in targets.items()} == target_sizes(CONFIG)
    expected = round(BANDS_AN_OCTAVE * math.log2(hertz / 55))
    assert abs(int(targets["bands"][0].mean(1).argmax()) - expected) <= 1
    if hertz < 440:
        assert abs(int(targets["low"][0].mean(1).argmax()) - round(LOW_BANDS_AN_OCTAVE * math.log2(hertz / 27.5))) <= 1


def test_long_windows_tell_low_semitones_apart() -> None:
    low = [explicit_targets(tone(55.0 * 2 ** (semitone / 12)), CONFIG) for semitone in (0, 1)]
    short_change, long_change = (
        float((low[0][part] - low[1][part]).abs().mean() / low[0][part].mean()) for part in ("bands", "low")
    )
    assert long_change > 2 * short_change


def test_onsets_stand_where_sound_begins() -> None:
    waveform = tone(440.0)
    waveform[..., : SAMPLES // 2] = 0
    onsets = explicit_targets(waveform, CONFIG)["onsets"][0].sum(0)
    assert abs(int(onsets.argmax()) - CONFIG.chunk_frames // 2) <= 1
    assert float(onsets.max()) > 0.9 * float(onsets.sum()) / 2


@pytest.mark.parametrize(("octaves", "part"), [((110.0, 220.0), slice(12)), ((880.0, 1760.0), slice(12, None))])
def test_chroma_holds_the_pitch_class_whatever_the_octave(octaves: tuple[float, float], part: slice) -> None:
    for hertz in octaves:
        for semitone in range(12):
            played = tone(hertz * 2 ** (semitone / 12))
            chroma = summary_targets(explicit_targets(played, CONFIG))["chroma"][0, part]
            assert int(chroma.argmax()) == semitone


def test_rhythm_holds_the_period_whenever_it_begins() -> None:
    period = 7  # frames
    found = []
    for first in (2, 5):
        waveform = torch.zeros(1, 1, SAMPLES)
        noise = 0.3 * torch.randn(2000, generator=torch.Generator().manual_seed(0))
        for frame in range(first, CONFIG.chunk_frames - 2, period):
            start = CONFIG.hop_length * frame
            waveform[..., start : start + 2000] = noise
        rhythm = summary_targets(explicit_targets(waveform, CONFIG))["rhythm"][0].unflatten(0, (3, -1)).mean(0)
        assert int(rhythm[2:].argmax()) + 3 == period
        found.append(rhythm)
    assert float(torch.corrcoef(torch.stack(found))[0, 1]) > 0.9


def test_silence_has_targets_too() -> None:
    targets = summary_targets(explicit_targets(torch.zeros(1, 1, SAMPLES), CONFIG))
    assert {part: len(value[0]) for part, value in targets.items()} == SUMMARY_SIZES
    assert all(bool(value.isfinite().all()) for value in targets.values())
