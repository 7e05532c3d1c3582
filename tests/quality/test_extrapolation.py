"""FAD-inf: truth 0 comes out as 0; with replacement it is what the published procedure gives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from m2l2_mir.errors import InputError
from m2l2_mir.quality.extrapolation import fad_inf


def test_truth_zero(rng) -> None:
    reference, estimated = rng.normal(size=(2, 600, 32))
    result = fad_inf(reference, estimated)
    assert result["fad"] > 0.7
    assert abs(result["fad_inf"]) < 0.1
    assert result["r2"] > 0.8
    assert result["slope"] == pytest.approx(600 * result["fad"], rel=0.15)
    assert fad_inf(reference, estimated) == result
    assert fad_inf(reference, estimated, seed=1) != result
    # A reference that is not drawn from keeps its own half of the bias, until it is large.
    assert fad_inf(reference, estimated, fixed_reference=True)["fad_inf"] == pytest.approx(result["fad"] / 2, rel=0.2)
    large = rng.normal(size=(20_000, 32))
    assert abs(fad_inf(large, estimated, fixed_reference=True)["fad_inf"]) < 0.1


def test_with_replacement_is_the_published_procedure(rng) -> None:
    """Gui et al.'s toolkit, written out: sizes even from 500, single embeddings drawn, against all of the reference."""
    reference, estimated = rng.normal(size=(700, 8)), 1.5 * rng.normal(size=(600, 8))
    draws = np.random.default_rng(3)
    points = []
    for size in [int(n) for n in np.linspace(500, 600, 25)]:
        drawn = estimated[draws.choice(600, size, replace=True)]
        root = scipy.linalg.sqrtm(np.cov(reference, rowvar=False) @ np.cov(drawn, rowvar=False)).real
        spread = np.trace(np.cov(reference, rowvar=False) + np.cov(drawn, rowvar=False) - 2 * root)
        points.append(np.sum((reference.mean(0) - drawn.mean(0)) ** 2) + spread)
    slope, intercept = np.polyfit(1 / np.linspace(500, 600, 25).astype(int), points, 1)
    found = fad_inf(reference, estimated, with_replacement=True, seed=3)
    assert (found["slope"], found["fad_inf"]) == pytest.approx((slope, intercept), rel=1e-6)


def test_known_distance(rng) -> None:
    reference = rng.normal(size=(500, 16))
    estimated = rng.normal(size=(300, 16)) * 2 + 0.5
    assert fad_inf(reference, estimated)["fad_inf"] == pytest.approx(16 * (1 + 0.25), rel=0.06)


def test_pairs_are_drawn_together(rng) -> None:
    clips = [rng.normal(size=(frames, 4)) for frames in rng.integers(1, 6, 50)]
    result = fad_inf(clips, [2 * clip for clip in clips], paired=True)
    shifted = fad_inf(clips, [clip + 1 for clip in clips], paired=True)
    assert shifted["fad_inf"] == pytest.approx(4, rel=1e-9)  # the same in each subset, whatever is drawn
    assert result["clips"] == 50


@pytest.mark.parametrize(
    ("clips", "options", "message"),
    [
        (3, {}, "3 clips are too few"),
        (50, {"paired": True, "fixed_reference": True}, "choose one"),
        (50, {"smallest": 1.0}, "smallest is 1.0"),
        (50, {"steps": 1}, "steps 1"),
        (500, {"with_replacement": True}, "500 embeddings are too few to draw from 500 upwards"),
    ],
)
def test_bad_options(rng, clips: int, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fad_inf(rng.normal(size=(clips, 2)), rng.normal(size=(clips, 2)), **options)
