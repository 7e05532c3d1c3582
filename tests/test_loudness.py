"""Loudness against the figures in the standard and against an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.loudness import integrated_loudness, k_weighting


def _sine(hz: float, rate: int, seconds: float = 2.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def test_weighting_at_48_khz_is_the_table_in_the_standard() -> None:
    expected = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
    np.testing.assert_allclose(k_weighting(48000), expected, atol=1e-7)


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 192000])
def test_full_scale_sine(rate: int) -> None:
    tone = _sine(997, rate)
    assert integrated_loudness([tone[None]], rate) == pytest.approx(-3.01, abs=0.05)
    left_only = np.stack([tone, np.zeros_like(tone)])
    assert integrated_loudness([left_only], rate) == pytest.approx(-3.01, abs=0.05)
    both = np.stack([tone, tone])
    assert integrated_loudness([both], rate) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(("channel", "expected"), [(2, -3.01), (3, -math.inf), (4, -3.01 + 10 * math.log10(1.41))])
def test_surround_channels(channel: int, expected: float) -> None:
    waveform = np.zeros((6, 48000))
    waveform[channel] = _sine(997, 48000, 1.0)
    assert integrated_loudness([waveform], 48000) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_agrees_with_pyloudnorm(rate: int) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    generator = np.random.default_rng(0)
    level = np.repeat([0.5, 0.02, 0.2, 1e-5, 0.1], rate)  # loud, gated, medium, silent: both gates act
    noise = level * generator.standard_normal((2, 5 * rate)) * [[1.0], [0.3]]
    tones = np.stack([0.1 * _sine(60, rate, 5), 0.2 * _sine(5000, rate, 5)])
    for waveform in (noise, tones):
        expected = pyloudnorm.Meter(rate).integrated_loudness(waveform.T)
        assert integrated_loudness([waveform], rate) == pytest.approx(expected, abs=0.1)


def test_gates_leave_out_pauses() -> None:
    tone = 0.1 * _sine(997, 48000, 10)
    alone = integrated_loudness([tone[None]], 48000)
    for pause in (np.zeros(480_000), 0.01 * _sine(997, 48000, 10)):  # below the absolute, the relative gate
        assert integrated_loudness([np.concatenate([tone, pause])[None]], 48000) == pytest.approx(alone, abs=0.2)


@pytest.mark.parametrize("rate", [11025, 44100])
def test_blocks_of_any_size_measure_the_same(rate: int) -> None:
    waveform = np.random.default_rng(0).standard_normal((2, 3 * rate + 17)) * np.linspace(0.01, 0.3, 3 * rate + 17)
    whole = integrated_loudness([waveform], rate)
    for size in (7, 997, rate // 10, 2 * rate):
        pieces = (waveform[:, start : start + size] for start in range(0, waveform.shape[1], size))
        assert integrated_loudness(pieces, rate) == pytest.approx(whole, abs=1e-9)


def test_degenerate_programmes() -> None:
    assert integrated_loudness([], 44100) == -math.inf
    assert integrated_loudness([np.zeros((1, 0))], 44100) == -math.inf
    assert integrated_loudness([np.zeros((2, 44100))], 44100) == -math.inf
    for level, expected in [(-66, -69.01), (-68, -math.inf)]:  # just above, just below the absolute gate
        quiet = 10 ** (level / 20) * _sine(997, 48000)[None]
        assert integrated_loudness([quiet], 48000) == pytest.approx(expected, abs=0.1)
    assert integrated_loudness([_sine(997, 48000, 0.2)[None]], 48000) == pytest.approx(-3.01, abs=0.1)


def test_wrong_input() -> None:
    good = np.zeros((2, 100))
    with pytest.raises(InputError, match="more than 3364 Hz"):
        integrated_loudness([good], 3000)
    with pytest.raises(InputError, match=r"shape \[100\]"):
        integrated_loudness([good[0]], 44100)
    with pytest.raises(InputError, match="4 channels"):
        integrated_loudness([np.zeros((4, 100))], 44100)
    with pytest.raises(InputError, match="1 channels after blocks of 2"):
        integrated_loudness([good, good[:1]], 44100)
    with pytest.raises(InputError, match="NaN"):
        integrated_loudness([good, good + np.nan], 44100)
