"""ViSQOL: what reaches the package, and that it orders what is known."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from m2l2_mir.errors import AudioWarning, InputError, MissingExtraError
from m2l2_mir.quality import visqol as public
from m2l2_mir.quality.visqol import RATE, _api, visqol


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch):
    """A stand-in that scores 4 less the distance of the two waveforms, and remembers what it was given."""
    given: list[tuple[np.ndarray, np.ndarray, int]] = []

    class Api:
        def create(self, mode: str) -> None:
            assert mode == "audio"

        def measure_from_arrays(self, reference: np.ndarray, estimated: np.ndarray, rate: int) -> SimpleNamespace:
            given.append((reference, estimated, rate))
            return SimpleNamespace(moslqo=4 - np.abs(reference - estimated).mean())

    module = ModuleType("visqol")
    module.VisqolApi = Api
    monkeypatch.setitem(sys.modules, "visqol", module)
    monkeypatch.setattr(sys.modules["m2l2_mir.quality.visqol"], "has_visqol", lambda: True)
    _api.cache_clear()
    yield given
    _api.cache_clear()


def test_gets_48_khz_mono(package, rng) -> None:
    stereo = rng.normal(size=(2, 44_100))
    assert visqol(stereo, stereo, sample_rate=44_100) == 4
    reference, estimated, rate = package[0]
    assert (rate, reference.shape, reference.dtype, reference.ndim) == (RATE, (RATE,), np.float64, 1)
    assert reference.std() == pytest.approx(stereo.mean(axis=0).std(), rel=0.05)
    assert estimated is not reference
    assert public is visqol


def test_silence_and_what_is_too_short(package, rng) -> None:
    clip = rng.normal(size=(1, RATE))
    with pytest.warns(AudioWarning, match="1 of 3"):
        scores = visqol([clip, clip, 0 * clip], [clip, 0 * clip, clip], sample_rate=RATE)
    assert scores.tolist()[:2] == [4, 1]
    assert np.isnan(scores[2])
    assert len(package) == 1
    with pytest.raises(InputError, match=r"1 s or more; this one has 0\.50 s"):
        visqol(clip[:, :24_000], clip[:, :24_000], sample_rate=RATE)


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["m2l2_mir.quality.visqol"], "has_visqol", lambda: False)
    _api.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install \"m2l2-mir\[quality\]\""):
        visqol(np.ones(RATE), np.ones(RATE), sample_rate=RATE)


def test_the_package_itself(music, noisy) -> None:
    pytest.importorskip("visqol", exc_type=ImportError)
    _api.cache_clear()
    clip = music[0]
    scores = [visqol(clip, degraded, sample_rate=32_000) for degraded in (clip, noisy(20)(clip), noisy(0)(clip))]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(4.732, abs=0.01)  # the highest that the published model gives
    assert 3 > scores[2] > 1
