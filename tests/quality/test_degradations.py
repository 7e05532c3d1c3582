"""Degradations do what their numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.degradations import add_noise, low_pass, opus
from m2l2_mir.quality.si_sdr import si_sdr

RATE = 32_000


def test_opus_takes_about_what_it_is_given_and_stays_aligned(music) -> None:
    taken, ratios = [], []
    for kbps in (16, 32, 64):
        decoded, found = opus(music[0], kbps, sample_rate=RATE)
        assert decoded.shape == music[0].shape
        taken.append(found / kbps)
        ratios.append(si_sdr(music[0], decoded.astype(np.float64)))
    assert all(0.5 < share < 1.6 for share in taken)
    assert ratios == sorted(ratios)
    assert ratios[-1] > 5  # a delay of a few samples would leave nothing of it
    with pytest.raises(InputError, match="6 to 256"):
        opus(music[0], 8, sample_rate=RATE)
    with pytest.raises(InputError, match="3 channels"):
        opus(np.ones((3, 900)), 64, sample_rate=RATE)


def test_noise_and_low_pass(music, rng) -> None:
    assert si_sdr(music[0], add_noise(music[0], 7.5)) == pytest.approx(7.5)
    with pytest.raises(InputError, match="silent"):
        add_noise(np.zeros((1, 9)), 3)
    noise = rng.normal(size=(1, RATE))
    spectrum = np.abs(np.fft.rfft(low_pass(noise, 4000, sample_rate=RATE)[0])) ** 2  # 1 Hz a bin
    assert spectrum[:3000].mean() > 1e4 * spectrum[9000:].mean()
    with pytest.raises(InputError, match="16000 Hz"):
        low_pass(noise, 16_000, sample_rate=RATE)
