"""Every instrument of the table is in tune, in the right octave, in every soundfont that is installed.

Both ends of each range, A4 and one drawn pitch are played; M2L2_EVERY_PITCH=1 in the environment plays them all.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from m2l2_mir.dataset.labels import canonical
from m2l2_mir.dataset.rendered.instruments import FAMILIES, INSTRUMENTS, Instrument, covering, instrument
from m2l2_mir.dataset.rendered.soundfont import Soundfont, probe_soundfonts
from m2l2_mir.dataset.rendered.synthesizer import SYNTHESIZER_RATE, Note, render
from m2l2_mir.errors import InputError

HELD, SPACING = 1.6, 2.2
END_CENTS, INSIDE_CENTS = 10, 14  # as the module promises


def period_ratios(waveform: np.ndarray, lag: float, window: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the normalised autocorrelation peaks near `lag`, over `lag`, and how high: one value a window."""
    low, high = max(1, int(lag * (1 - width)) - 1), int(lag * (1 + width)) + 2
    ratios, heights = [], []
    for start in range(0, len(waveform) - window - high, window // 2):
        reference = waveform[start : start + window]
        shifted = waveform[start + low : start + high + window]
        energy = np.concatenate([[0.0], np.cumsum(shifted**2)])
        energy = energy[window:] - energy[:-window] + reference @ reference
        similarity = 2 * np.correlate(shifted, reference, "valid") / np.maximum(energy, 1e-9)
        best = int(np.clip(similarity.argmax(), 1, len(similarity) - 2))
        before, peak, after = similarity[best - 1 : best + 2]
        bend = before - 2 * peak + after
        ratios.append((low + best + (0.5 * (before - after) / bend if bend else 0.0)) / lag)
        heights.append(peak * np.sqrt(reference @ reference))
    return np.array(ratios), np.array(heights)


def cents_off(waveform: np.ndarray, sample_rate: int, pitch: int) -> float:
    """Deviation from equal temperament, averaged over time by level; infinite where the octave is not clear."""
    period = sample_rate / (440 * 2 ** ((pitch - 69) / 12))
    window = int(max(0.05 * sample_rate, 4 * period))
    several = int(np.clip(np.ceil(0.012 * sample_rate / period), 1, 8))  # a longer lag resolves more finely
    ratios, weights = period_ratios(waveform, several * period, window, 0.03)
    if not weights.sum() > 0:
        return np.inf
    height = {part: period_ratios(waveform, part * period, window, 0.02)[1].mean() for part in (0.5, 1, 2)}
    octave_higher = height[0.5] > 0.95 * height[1]
    octave_lower = height[2] > 1.15 * height[1]
    cents = -1200 * np.log2(np.average(ratios, weights=np.maximum(weights, 0)))
    return np.inf if octave_higher or octave_lower else float(cents)


def played(soundfont: Soundfont, found: Instrument, pitches: list[int]) -> list[float]:
    notes = [Note(0.1 + index * SPACING, HELD, pitch, 90, found.program) for index, pitch in enumerate(pitches)]
    duration = len(pitches) * SPACING
    waveform = render(notes, soundfont.path, sample_rate=SYNTHESIZER_RATE, duration=duration).mean(axis=0, dtype=float)
    cents = []
    for index, pitch in enumerate(pitches):
        start, end = (round((0.18 + index * SPACING + late) * SYNTHESIZER_RATE) for late in (0, 1.5))
        cents.append(cents_off(waveform[start:end], SYNTHESIZER_RATE, pitch))
    return cents


@pytest.mark.parametrize("pitch", [28, 69, 96])
def test_estimator_is_right_to_a_cent_and_knows_the_octave(pitch: int) -> None:
    time = np.arange(SYNTHESIZER_RATE) / SYNTHESIZER_RATE
    frequency = 440 * 2 ** ((pitch - 69 + 0.07) / 12)
    tone = np.sin(2 * np.pi * frequency * time) + 0.5 * np.sin(4 * np.pi * frequency * time + 1)
    assert cents_off(tone, SYNTHESIZER_RATE, pitch) == pytest.approx(7, abs=1)
    assert cents_off(np.sin(4 * np.pi * frequency * time), SYNTHESIZER_RATE, pitch) == np.inf
    assert cents_off(tone, SYNTHESIZER_RATE, pitch + 12) == np.inf
    vibrato = np.sin(2 * np.pi * frequency * (time - 0.02 * np.cos(2 * np.pi * 6 * time) / (2 * np.pi * 6)))
    assert cents_off(vibrato, SYNTHESIZER_RATE, pitch) == pytest.approx(7, abs=1)


@pytest.fixture(scope="module", params=["TimGM6mb", "FluidR3_GM"])
def soundfont(request: pytest.FixtureRequest) -> Soundfont:
    pytest.importorskip("midirenderer")
    pytest.importorskip("pretty_midi")
    fonts = {font.name: font for font in probe_soundfonts()}
    if request.param not in fonts:
        pytest.skip(f"{request.param} is not installed")
    return fonts[request.param]


@pytest.mark.parametrize("found", INSTRUMENTS, ids=lambda found: found.name)
def test_in_tune(soundfont: Soundfont, found: Instrument) -> None:
    ends = [found.low, min(max(69, found.low), found.high), found.high]
    draw = np.random.default_rng(found.program)
    inside = draw.integers(found.low, found.high + 1, 1).tolist()
    if os.environ.get("M2L2_EVERY_PITCH"):
        inside = list(range(found.low, found.high + 1))
    cents = np.abs(played(soundfont, found, ends + inside))
    assert cents[:3].max() < END_CENTS, dict(zip(ends, cents, strict=False))
    assert cents.max() < INSIDE_CENTS, dict(zip(ends + inside, cents, strict=True))


def test_table_has_no_doubles_and_spans_families() -> None:
    for attribute in ("program", "name"):
        values = [getattr(found, attribute) for found in INSTRUMENTS]
        assert len(set(values)) == len(values)
    assert len(FAMILIES) == 10
    assert all(found.name == canonical("instrument", found.name) for found in INSTRUMENTS)
    assert all(found.low <= 52 or found.family == "mallet" for found in INSTRUMENTS)
    assert {found.family for found in covering(41, 83)} == set(FAMILIES) - {"mallet"}


def test_unknown_instrument_names_the_near_one() -> None:
    with pytest.raises(InputError, match="did you mean 'clarinet'"):
        instrument("clarinett")
