"""Shaped noise keeps the mean spectrum and the level, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch

from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.si_sdr import si_sdr

RATE = 32_000


def test_spectrum_and_level_stay_the_waveform_does_not(music) -> None:
    clip = np.concatenate(music, axis=1)
    noise = shaped_noise(clip, sample_rate=RATE, seed=3)
    assert noise.shape == clip.shape
    np.testing.assert_allclose(np.sqrt(np.mean(noise**2, axis=1)), np.sqrt(np.mean(clip**2, axis=1)), rtol=1e-9)
    spectra = [10 * np.log10(welch(x, nperseg=256)[1][:, 2:-2]) for x in (clip, noise)]
    assert np.abs(spectra[0] - spectra[1]).max() < 2
    assert np.ptp(spectra[0]) > 20
    assert si_sdr(clip, noise) < -25
    assert abs(np.corrcoef(noise)[0, 1]) < 0.02
    np.testing.assert_array_equal(shaped_noise(clip, sample_rate=RATE, seed=3), noise)
    assert not np.allclose(shaped_noise(clip, sample_rate=RATE, seed=4), noise)


@pytest.mark.parametrize("samples", [1, 50, 3000])
def test_silence_and_short_clips(samples: int) -> None:
    clip = np.zeros((2, samples))
    clip[0, samples // 2] = 0.5
    noise = shaped_noise(clip, sample_rate=RATE, seed=0)
    assert np.linalg.norm(noise[0]) == pytest.approx(0.5)
    assert not noise[1].any()
    assert shaped_noise(clip[0], sample_rate=RATE, seed=0).shape == (samples,)
