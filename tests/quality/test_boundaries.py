"""Clicks and gaps put where chunks meet, or elsewhere, are found there and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality.boundaries import boundary_figures

RATE, CHUNK, OVERLAP = 44_100, 32_768, 1024
SIZES = {"sample_rate": RATE, "chunk_samples": CHUNK, "overlap": OVERLAP}


def test_clicks_at_boundaries(rng) -> None:
    clip = 0.1 * rng.normal(size=(2, 6 * CHUNK + 5))
    noisy = clip + 0.01 * rng.normal(size=clip.shape)
    clicks = noisy.copy()
    clicks[:, np.arange(1, 6) * CHUNK - OVERLAP // 2] += 20
    found = boundary_figures(clip, clicks, **SIZES)
    assert all(found[name].shape == (5, 2) for name in ("si_sdr", "log_spectral_distance", "excess_flux"))
    np.testing.assert_allclose(found["seconds"], (np.arange(1, 6) * CHUNK - OVERLAP / 2) / RATE)
    assert (found["si_sdr"][:, 0] < 0).all()
    np.testing.assert_allclose(found["si_sdr"][:, 1], 20, atol=1)
    at, inside = found["log_spectral_distance"].T
    assert (at > 3 * inside).all()
    assert (found["excess_flux"][:, 0] > found["excess_flux"][:, 1]).all()


def test_clicks_inside_and_a_softer_end(rng) -> None:
    clip = 0.1 * rng.normal(size=(1, 6 * CHUNK))
    other = clip * np.linspace(1, 0.1, clip.shape[1])
    other[:, np.arange(6) * CHUNK + CHUNK // 2 - OVERLAP // 2] += 20
    found = boundary_figures(clip, other, **SIZES)
    assert (found["log_spectral_distance"][:, 0] < found["log_spectral_distance"][:, 1]).all()
    soft = boundary_figures(clip, clip * np.linspace(1, 0.1, clip.shape[1]), **SIZES)
    assert (np.diff(soft["level"]) < 0).all()
    expected = 20 * np.log10(np.linspace(1, 0.1, clip.shape[1])[np.round(soft["seconds"] * RATE).astype(int)])
    np.testing.assert_allclose(soft["level"], expected, atol=0.5)


def test_copies_silence_and_bad_input(rng) -> None:
    clip = rng.normal(size=(1, 3 * CHUNK))
    copy = boundary_figures(clip, clip, **SIZES)
    assert (copy["si_sdr"] == 100).all()
    assert not copy["log_spectral_distance"].any()
    assert not copy["excess_flux"].any()
    silent = boundary_figures(0 * clip, 0 * clip, **SIZES)
    assert np.isnan(silent["si_sdr"]).all()
    with pytest.raises(InputError, match="no boundary"):
        boundary_figures(clip[:, :CHUNK], clip[:, :CHUNK], **SIZES)
    with pytest.raises(InputError, match="cut or pad"):
        boundary_figures(clip, clip[:, 1:], **SIZES)
