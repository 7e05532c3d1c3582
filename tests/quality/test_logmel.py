"""Log-mel embeddings of sounds whose spectrum is known, and the distances on them."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.logmel import BANDS, FLOOR, logmel_embeddings
from m2l2_mir.quality.reconstruction import set_figures


def _band(hertz: float) -> float:
    """Number of the band around a frequency, counted in bands of the Slaney mel scale."""

    def mel(f: float) -> float:
        return 3 * f / 200 if f < 1000 else 15 + np.log(f / 1000) / (np.log(6.4) / 27)

    return (BANDS + 1) * (mel(hertz) - mel(20)) / (mel(16_000) - mel(20)) - 1


@pytest.mark.parametrize("hertz", [500, 4000, 12000])
@pytest.mark.parametrize("rate", [32000, 44100])
def test_a_tone_is_loud_in_its_band(hertz: float, rate: int) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate)
    embeddings = logmel_embeddings(0.1 * tone, sample_rate=rate)
    means, deviations = embeddings[0, :BANDS], embeddings[0, BANDS:]
    assert abs(means.argmax() - _band(hertz)) <= 0.6
    assert -22 < means.max() < -16  # a tenth of full scale, over the bins that the window spreads it to
    assert means.min() == FLOOR
    assert deviations[means.argmax()] < 0.1
    quieter = logmel_embeddings(0.05 * tone, sample_rate=rate)
    assert means.max() - quieter[0, :BANDS].max() == pytest.approx(6.02, abs=0.01)
    stereo = np.stack([0.2 * tone, 0 * tone])
    np.testing.assert_allclose(logmel_embeddings(stereo, sample_rate=rate), embeddings, atol=1e-3)


@pytest.mark.parametrize(("seconds", "expected"), [(0.01, 1), (0.7, 1), (1.0, 1), (1.49, 1), (1.5, 2), (60, 119)])
def test_windows(seconds: float, expected: int) -> None:
    noise = np.random.default_rng(0).normal(size=round(seconds * 32000)).astype(np.float32)
    embeddings = logmel_embeddings(noise, sample_rate=32000)
    assert embeddings.shape == (expected, 2 * BANDS)
    assert np.isfinite(embeddings).all()


def test_statistics_are_those_of_their_second() -> None:
    # Loud for 1 s, then 40 dB down: the middle window holds both halves, 20 dB from their mean.
    noise = np.random.default_rng(0).normal(size=2 * 32000) * np.repeat([0.1, 0.001], 32000)
    first, middle, last = logmel_embeddings(noise, sample_rate=32000)
    loud = slice(20, BANDS)
    np.testing.assert_allclose((first - last)[loud], 40, atol=3)
    np.testing.assert_allclose(middle[BANDS:][loud], 20, atol=2)


def test_distances_on_them(music) -> None:
    def distances(estimated) -> dict[str, float]:
        sets = ([logmel_embeddings(clip, sample_rate=32000) for clip in clips] for clips in (music, estimated))
        return set_figures(*sets, range(len(music)))

    copies = distances([clip.copy() for clip in music])
    assert (copies["fad"], copies["kad"]) == pytest.approx((0, 0), abs=1e-4)
    louder = distances([2 * clip for clip in music])
    assert louder["low"] < louder["fad"] < louder["high"]
    # A gain of 6.02 dB moves what is above the floor; all of it would be 64 squares of that.
    assert 0.5 * 64 * 6.02**2 < louder["fad"] < 64 * 6.02**2


def test_bad_input() -> None:
    with pytest.raises(InputError, match="no samples"):
        logmel_embeddings(np.zeros(0), sample_rate=32000)
    with pytest.raises(InputError, match="NaN"):
        logmel_embeddings(np.full(3, np.nan), sample_rate=32000)
