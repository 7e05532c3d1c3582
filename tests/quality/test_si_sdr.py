"""SI-SDR where it can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import AudioWarning, InputError
from m2l2_mir.quality.si_sdr import LIMIT, si_sdr


def test_agrees_with_a_published_figure() -> None:
    # The example in the documentation of torchmetrics; its SI-SNR is the same with the mean removed.
    reference, estimated = np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0])
    assert si_sdr(reference, estimated, zero_mean=False) == pytest.approx(18.4030, abs=1e-4)
    assert si_sdr(reference, estimated) == pytest.approx(15.0918, abs=1e-4)


@pytest.mark.parametrize("snr", [40.0, 0.0, -30.0])
def test_orthogonal_noise_gives_its_ratio_at_any_scale(music, noisy, snr: float) -> None:
    clip = music[0]
    for gain in (1.0, -1e-3, 1e4):
        assert si_sdr(clip, gain * noisy(snr)(clip)) == pytest.approx(snr, abs=1e-6)
        assert si_sdr(gain * clip, noisy(snr)(clip)) == pytest.approx(snr, abs=1e-6)


def test_limits(music) -> None:
    clip = music[0]
    time = np.arange(1000) / 1000
    sine, cosine = np.sin(2 * np.pi * 5 * time), np.cos(2 * np.pi * 5 * time)
    for copy in (clip, -0.3 * clip, 1e-200 * clip, (0.1 * clip + 1.0).astype(np.float64)):
        assert si_sdr(clip, copy) == LIMIT
    assert si_sdr(sine, np.zeros(1000)) == -LIMIT
    assert si_sdr(sine, np.full(1000, 0.3)) == -LIMIT
    assert si_sdr(sine, cosine) == -LIMIT
    assert si_sdr(clip, clip + 0.1, zero_mean=False) < 30


@pytest.mark.parametrize("silence", [np.zeros(100), np.full(100, 0.1), np.full((2, 100), -0.7)])
def test_silent_reference_is_nan_and_said(silence: np.ndarray) -> None:
    with pytest.warns(AudioWarning, match="1 of 1"):
        assert np.isnan(si_sdr(silence, silence + np.sin(np.arange(100))))


def test_channels(music, noisy) -> None:
    clip = music[0]
    left, right = noisy(30)(clip)[0], noisy(10)(clip)[1]
    assert si_sdr(clip, np.stack([left, right])) == pytest.approx(20, abs=1e-6)
    rebalanced = clip * [[1.0], [0.1]]
    assert si_sdr(clip, rebalanced) == LIMIT
    assert si_sdr(clip, rebalanced, channels="joint") < 20
    half_silent = np.stack([clip[0], np.zeros(clip.shape[1])])  # the silent channel has no ratio of its own
    assert si_sdr(half_silent, np.stack([left, right])) == pytest.approx(30, abs=1e-6)


def test_several_clips(music, noisy) -> None:
    estimated = [noisy(snr)(clip) for snr, clip in zip((30, 20, 10), music, strict=False)]
    np.testing.assert_allclose(si_sdr(np.stack(music[:3]), np.stack(estimated)), [30, 20, 10], atol=1e-6)
    uneven = [clip[:, : 1000 * (place + 1)] for place, clip in enumerate(music[:2])]
    np.testing.assert_array_equal(si_sdr(uneven, [0.5 * clip for clip in uneven]), [LIMIT, LIMIT])


@pytest.mark.parametrize(
    ("reference", "estimated", "message"),
    [
        (np.ones(5), np.ones(6), r"\[6\], its reference \[5\]"),
        ([np.ones(5)], [np.ones(5), np.ones(5)], "1 reference clips and 2"),
        ([np.ones(5), np.ones(5)], [np.ones(5), np.ones((1, 5))], "clip 1"),
        (np.ones(0), np.ones(0), "no samples"),
        (np.ones(5), np.array([1, 2, np.nan, 3, 4]), "estimated clip holds NaN"),
        (np.ones(5, int), np.ones(5, int), "float"),
    ],
)
def test_bad_input(reference, estimated, message: str) -> None:
    with pytest.raises(InputError, match=message):
        si_sdr(reference, estimated)
