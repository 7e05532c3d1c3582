"""Log-spectral distance where it can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import AudioWarning, InputError
from m2l2_mir.quality.log_spectral import log_spectral_distance
from m2l2_mir.quality.spectra import fft_size, power_spectra

RATE = 22050


@pytest.fixture
def noise(rng) -> np.ndarray:
    return 0.1 * rng.normal(size=(2, RATE))


@pytest.mark.parametrize("gain", [-20.0, 6.0206])
def test_gain_is_its_distance_unless_levels_are_aligned(noise: np.ndarray, gain: float) -> None:
    louder = noise * 10 ** (gain / 20)
    assert log_spectral_distance(noise, louder, sample_rate=RATE) == pytest.approx(abs(gain), abs=1e-3)
    assert log_spectral_distance(noise, louder, sample_rate=RATE, align_level=True) == pytest.approx(0, abs=1e-9)


def test_identity_and_polarity(noise: np.ndarray) -> None:
    assert log_spectral_distance(noise, noise, sample_rate=RATE) == 0
    assert log_spectral_distance(noise, -noise, sample_rate=RATE) == 0


def test_root_mean_square_over_frequency_then_mean_over_channels(noise: np.ndarray) -> None:
    # Half of the band is 20 dB down in one channel: sqrt(20^2 / 2) there, 0 in the other.
    spectrum = np.fft.rfft(noise[0])
    spectrum[len(spectrum) // 2 :] *= 0.1
    other = np.stack([np.fft.irfft(spectrum, n=RATE), noise[1]])
    assert log_spectral_distance(noise, other, sample_rate=RATE) == pytest.approx(20 / np.sqrt(2) / 2, rel=0.02)


def test_floor(noise: np.ndarray) -> None:
    # Against silence each bin differs by its height above the floor, so 20 dB of floor are 20 dB of distance.
    near, far = (
        log_spectral_distance(noise, 0 * noise, sample_rate=RATE, floor=floor, align_level=True) for floor in (-60, -80)
    )
    assert far - near == pytest.approx(20, abs=0.3)
    # What lies under the floor of the reference is not heard.
    hidden = noise + 1e-6 * np.roll(noise, 7)
    assert log_spectral_distance(noise, hidden, sample_rate=RATE) < 1e-3
    assert log_spectral_distance(1e-6 * noise, 1e-6 * noise + 1e-12, sample_rate=RATE) < 1e-2


def test_frames_silent_in_both_do_not_dilute(noise: np.ndarray) -> None:
    pause = np.zeros((2, 5 * RATE))
    long, louder = (np.concatenate([part, pause], axis=1) for part in (noise, 2 * noise))
    assert log_spectral_distance(long, louder, sample_rate=RATE) == pytest.approx(6.02, abs=0.1)


def test_several_clips_of_which_one_is_silent(noise: np.ndarray) -> None:
    with pytest.warns(AudioWarning, match="1 of 2"):
        values = log_spectral_distance([noise, 0 * noise], [2 * noise, noise], sample_rate=RATE)
    np.testing.assert_allclose(values, [6.0206, np.nan], atol=1e-3)


@pytest.mark.parametrize("samples", [2, 700])
def test_shorter_than_a_window_is_measured(noise: np.ndarray, samples: int) -> None:
    clip = noise[:, :samples]
    assert log_spectral_distance(clip, 2 * clip, sample_rate=RATE) == pytest.approx(6.02, abs=0.5)


def test_sound_that_no_frame_reaches_counts_as_silence() -> None:
    with pytest.warns(AudioWarning) as record:
        assert np.isnan(log_spectral_distance(np.ones(1), np.ones(1), sample_rate=RATE))
    assert len(record) == 1


def test_bad_options(noise: np.ndarray) -> None:
    for options, message in [({"floor": 3.0}, "floor"), ({"sample_rate": 20}, "20 Hz")]:
        with pytest.raises(InputError, match=message):
            log_spectral_distance(noise, noise, **{"sample_rate": RATE, **options})


def test_spectra_are_calibrated_and_complete() -> None:
    window = fft_size(44100)
    sine = np.sin(2 * np.pi * 100 / window * np.arange(600 * window // 4 + window))
    blocks = list(power_spectra(sine, window=window, hop=window // 4))
    assert [len(block) for block in blocks] == [512, 89]
    for block in blocks:
        np.testing.assert_allclose(block[:, 100], 1, rtol=1e-9)
