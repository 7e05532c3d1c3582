"""What sounds worse must measure worse, by every metric."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.quality.baseline import shaped_noise
from m2l2_mir.quality.log_spectral import log_spectral_distance
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.reconstruction import set_figures
from m2l2_mir.quality.si_sdr import si_sdr
from m2l2_mir.quality.visqol import visqol

RATE = 32_000
DISTANCES = ("fad", "kad")


def _distance(metric: str, reference, estimated) -> np.ndarray | float:
    """Larger is worse; of each clip or of the set."""
    if metric == "si_sdr":
        return -si_sdr(reference, estimated)
    if metric.startswith("lsd"):
        return log_spectral_distance(reference, estimated, sample_rate=RATE, align_level=metric.endswith("aligned"))
    if metric == "visqol":
        pytest.importorskip("visqol", exc_type=ImportError)
        return -np.mean([visqol(*pair, sample_rate=RATE) for pair in zip(reference[:3], estimated, strict=False)])
    sets = ([logmel_embeddings(clip, sample_rate=RATE) for clip in clips] for clips in (reference, estimated))
    return set_figures(*sets, range(len(reference)))[metric]


@pytest.mark.parametrize("metric", ["si_sdr", "lsd", "lsd aligned", "visqol", *DISTANCES])
def test_order_of_degradations(music, worse_and_worse, metric: str) -> None:
    steps = [[clip.copy() for clip in music]]
    steps += [[degrade(clip) for clip in music] for degrade in worse_and_worse]
    if metric == "visqol":
        steps.pop()  # near the bottom of its scale ViSQOL tells bad from worse no longer
    values = np.array([_distance(metric, music, step) for step in steps])
    assert (np.diff(values, axis=0) > 0).all()


@pytest.mark.parametrize("metric", ["si_sdr", "lsd", *DISTANCES])
def test_shaped_noise_is_worse_than_a_fair_copy(music, noisy, metric: str) -> None:
    fair = _distance(metric, music, [noisy(40)(clip) for clip in music])
    noise = _distance(metric, music, [shaped_noise(clip, sample_rate=RATE, seed=0) for clip in music])
    assert (np.asarray(noise) > fair).all()
