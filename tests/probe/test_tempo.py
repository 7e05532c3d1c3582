"""Tempo metrics against mir_eval, scikit-learn and worked cases; the way of a tempo through bins and back."""

from __future__ import annotations

import math

import mir_eval
import numpy as np
import pytest
from sklearn.metrics import r2_score

from m2l2_mir.errors import InputError
from m2l2_mir.probe import tempo


def _hit(reference: float, estimated: float) -> bool:
    return mir_eval.tempo.detection(np.array([reference, 0]), 1.0, np.array([estimated, 0]), tol=0.04)[1]


def test_against_mir_eval(rng: np.random.Generator) -> None:
    reference = rng.uniform(50, 210, 300)
    estimated = reference * rng.choice(tempo.FACTORS, 300) * rng.uniform(0.93, 1.07, 300)
    scores = tempo.per_item(reference, estimated)
    pairs = list(zip(reference, estimated, strict=True))
    assert scores["acc1"].tolist() == [_hit(ours, theirs) for ours, theirs in pairs]
    assert scores["acc2"].tolist() == [any(_hit(ours * f, theirs) for f in tempo.FACTORS) for ours, theirs in pairs]
    assert 0.1 < scores["acc1"].mean() < scores["acc2"].mean() < 0.8
    expected = r2_score(np.log2(reference), np.log2(estimated))
    assert tempo.evaluate(reference, estimated)["r2"] == pytest.approx(expected)


def test_worked_case() -> None:
    scores = tempo.per_item([100, 100, 100, 100, 100], [104, 96, 104.1, 51, 310])
    assert scores["acc1"].tolist() == [1, 1, 0, 0, 0]
    assert scores["acc2"].tolist() == [1, 1, 0, 1, 1]
    assert scores["oe1"].tolist() == pytest.approx(np.log2([1.04, 0.96, 1.041, 0.51, 3.1]))
    assert scores["oe2"].tolist() == pytest.approx(np.log2([1.04, 0.96, 1.041, 1.02, 3.1 / 3]))
    means = tempo.evaluate([100, 100], [200, 50])
    assert (means["oe1"], means["aoe1"], means["oe2"], means["acc1"], means["acc2"]) == (0, 1, 0, 0, 1)
    assert math.isnan(means["r2"])
    assert tempo.PRIMARY in means


def test_bins_of_bpm() -> None:
    numbers, names = tempo.bins_of([99, 100, 120, 50], edges=[100, 120])
    assert (numbers.tolist(), names) == ([0, 1, 2, 0], {0: "< 100", 1: "100-120", 2: ">= 120"})
    with pytest.raises(InputError, match="edges are"):
        tempo.bins_of([100], edges=[120, 100])


def test_bins_are_finer_than_the_tolerance(rng: np.random.Generator) -> None:
    bpm = rng.uniform(20, 400, 1000)
    assert tempo.evaluate(bpm, tempo.from_bins(tempo.to_bins(bpm)))["acc1"] == 1
    np.testing.assert_allclose(tempo.from_octaves(tempo.to_octaves(bpm)), bpm)
    fine = tempo.from_bins(tempo.to_bins(bpm, bins_per_octave=100), bins_per_octave=100)
    np.testing.assert_allclose(fine, bpm, rtol=2 ** (1 / 200) - 1 + 1e-9)


def test_reach_of_probabilities() -> None:
    bins = [96, 71, 83, 84, 85]  # of 12 in an octave: a class far off, one an octave below, three neighbours
    probabilities = np.array([[0.1, 0.25, 0.2, 0.3, 0.15]])
    octaves = np.array(bins) / 12

    def read(reach: float) -> float:
        return np.log2(tempo.from_probabilities(probabilities, bins, reach=reach)).item()

    assert read(0) == pytest.approx(7)
    assert read(1 / 12) == pytest.approx((0.2 * 83 + 0.3 * 84 + 0.15 * 85) / 0.65 / 12)
    assert read(math.inf) == pytest.approx((probabilities @ octaves).item())


@pytest.mark.parametrize(
    ("probabilities", "reach", "message"),
    [
        ([[0.5, 0.5, 0.0]], 0, r"\[1, 3\] for 2 bins"),
        ([[np.nan, 1.0]], 0, "nan, negative or all zero"),
        ([[0.0, 0.0]], 0, "nan, negative or all zero"),
        ([[0.5, 0.5]], -1, "reach is -1"),
    ],
)
def test_bad_probabilities(probabilities: list, reach: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tempo.from_probabilities(probabilities, [80, 81], reach=reach)


@pytest.mark.parametrize(("reference", "estimated"), [([100], [0]), ([-1], [100])])
def test_tempi_are_positive(reference: list, estimated: list) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        tempo.evaluate(reference, estimated)
