"""Fréchet distance against closed forms, FAD and its interval against what they estimate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from m2l2_mir.errors import InputError
from m2l2_mir.quality.frechet import fad, fad_difference, fad_interval, frechet_distance


def test_covariances_that_commute(rng) -> None:
    axes = ortho_group.rvs(6, random_state=0)
    first, second = rng.uniform(0.1, 3, (2, 6))
    covs = [axes * values @ axes.T for values in (first, second)]
    means = rng.normal(size=(2, 6))
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((np.sqrt(first) - np.sqrt(second)) ** 2)
    assert frechet_distance(means[0], covs[0], means[1], covs[1]) == pytest.approx(expected, rel=1e-9)


def test_covariances_that_do_not_commute(rng) -> None:
    factors = rng.normal(size=(2, 9, 5))
    covs = [factor.T @ factor for factor in factors]
    root = sqrtm(covs[0] @ covs[1])
    expected = np.trace(covs[0] + covs[1] - 2 * root.real)
    for order in (covs, covs[::-1]):
        assert frechet_distance(np.zeros(5), order[0], np.zeros(5), order[1]) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances(rng) -> None:
    # Two lines through the origin at 60 degrees: the singular value is 2 * 3 * cos(60).
    line = np.array([[4.0, 0.0], [0.0, 0.0]])
    tilted = 9 * np.outer([0.5, np.sqrt(0.75)], [0.5, np.sqrt(0.75)])
    assert frechet_distance([0, 0], line, [0, 0], tilted) == pytest.approx(4 + 9 - 2 * 3, abs=1e-9)
    assert frechet_distance([0, 0], np.zeros((2, 2)), [0, 1], np.zeros((2, 2))) == 1
    few = rng.normal(size=(10, 64))  # fewer embeddings than dimensions
    assert fad(few, few) == pytest.approx(0, abs=1e-6)
    assert fad(few, few + 2) == pytest.approx(4 * 64, rel=1e-9)


@pytest.mark.parametrize(
    ("cov", "message"),
    [([[1, 2], [2, 1]], "eigenvalue of -1"), ([[1, 1], [0, 1]], "symm"), ([[np.nan, 0], [0, 1]], "NaN")],
)
def test_what_is_no_covariance(cov, message: str) -> None:
    with pytest.raises(InputError, match=message):
        frechet_distance([0, 0], cov, [0, 0], np.eye(2))


def test_every_frame_counts_however_it_is_grouped(rng) -> None:
    reference, estimated = rng.normal(size=(2, 60, 4))
    grouped = [estimated[:7], estimated[7:8], estimated[8:]]
    assert fad(reference.reshape(20, 3, 4), grouped) == pytest.approx(fad(reference, estimated), rel=1e-12)
    by_hand = frechet_distance(reference.mean(axis=0), np.cov(reference.T), estimated.mean(axis=0), np.cov(estimated.T))
    assert fad(reference, estimated) == pytest.approx(by_hand, rel=1e-12)


def test_interval_is_the_jackknife_over_whole_clips(rng) -> None:
    far = 1e5  # from the origin, where sums lose digits
    reference = rng.normal(size=(12, 3, 2)) + far
    estimated = (reference - far) * 0.9 + rng.normal(size=reference.shape) + far
    result = fad_interval(reference, estimated, paired=True)
    left_out = np.array([fad(np.delete(reference, i, 0), np.delete(estimated, i, 0)) for i in range(12)])
    assert result["fad"] == pytest.approx(fad(reference, estimated), rel=1e-6)
    assert result["standard_error"] == pytest.approx(
        np.sqrt(11 / 12 * np.sum((left_out - left_out.mean()) ** 2)), rel=1e-6
    )
    assert result["unbiased"] == pytest.approx(12 * result["fad"] - 11 * left_out.mean(), rel=1e-6)
    assert result["low"] == 0  # a distance is not negative
    distant = fad_interval(reference, estimated + 5, paired=True)
    assert distant["high"] + distant["low"] == pytest.approx(2 * distant["fad"], rel=1e-6)
    assert fad_interval(reference, estimated)["standard_error"] > result["standard_error"]


@pytest.mark.parametrize("change", [0.0, 1e-3])
def test_a_reconstruction_that_is_silent_or_nearly(rng, change: float) -> None:
    reference = 10 * rng.normal(size=(6, 19, 40)) - 35.3
    silent = np.full(reference.shape, -80.0)
    silent[0, 0, 0] += change
    result = fad_interval(reference, silent, paired=True)
    assert result["fad"] == pytest.approx(fad(reference, silent), rel=1e-6)
    assert result["low"] < result["fad"] < result["high"]
    assert fad_interval(silent, silent, paired=True)["fad"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("paired", [False, True])
def test_interval_holds_the_truth_and_has_no_bias(paired: bool) -> None:
    clips, width, shift = 150, 8, 0.2  # more clips than are left out one by one
    results = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        reference = generator.normal(size=(clips, width))
        estimated = (reference if paired else generator.normal(size=(clips, width))) + shift
        results.append(fad_interval(reference, estimated, paired=paired))
    truth = width * shift**2
    assert np.mean([result["unbiased"] for result in results]) == pytest.approx(truth, abs=0.05)
    if paired:  # a mere shift leaves nothing to chance
        assert results[0]["fad"] == pytest.approx(truth, rel=1e-9)
        return
    assert np.mean([result["fad"] for result in results]) > truth * 1.4
    held = sum(result["unbiased_low"] <= truth <= result["unbiased_high"] for result in results)
    assert 35 <= held <= 40
    assert np.std([result["fad"] for result in results]) == pytest.approx(
        np.mean([result["standard_error"] for result in results]), rel=0.35
    )


@pytest.mark.parametrize(
    ("reference", "estimated", "paired", "message"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), False, "3 dimensions, estimated 4"),
        (np.zeros((5, 3)), np.zeros((6, 3)), True, "5 reference and 6 estimated"),
        (np.zeros((5, 3)), [np.zeros((2, 3)), np.zeros((0, 3)), np.zeros((2, 3))], False, "clip 1"),
        (np.zeros((5, 3)), [np.zeros((2, 3)), np.zeros((2, 2)), np.zeros((2, 3))], False, "clip 1"),
        (np.zeros((5, 3)), np.full((5, 3), np.inf), False, "leave those clips out"),
        (np.zeros((5, 3)), [], False, "empty"),
        (np.zeros((5, 3)), np.zeros((1, 3)), False, "1 embedding"),
        (np.zeros((5, 3)), np.zeros((2, 3)), False, "at least 3 clips"),
    ],
)
def test_bad_input(reference, estimated, paired: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fad_interval(reference, estimated, paired=paired)


def test_difference_of_two_reconstructions(rng) -> None:
    reference = list(rng.normal(size=(40, 3, 4)))
    shared = [clip + rng.normal(size=clip.shape) for clip in reference]  # what both have in common
    near = [clip + 0.02 * rng.normal(size=clip.shape) for clip in shared]
    far = [clip + 0.2 + 0.02 * rng.normal(size=clip.shape) for clip in shared]
    found = fad_difference(reference, far, near)
    expected = fad(np.concatenate(reference), np.concatenate(far)) - fad(
        np.concatenate(reference), np.concatenate(near)
    )
    assert found["difference"] == pytest.approx(expected, rel=1e-9)
    assert 0 < found["low"] < found["difference"] < found["high"]
    apart = [fad_interval(reference, one, paired=True) for one in (far, near)]
    assert found["standard_error"] < min(one["standard_error"] for one in apart)
    back = fad_difference(reference, near, far)
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))
    alike = fad_difference(reference, near, [clip + 0.02 * rng.normal(size=clip.shape) for clip in shared])
    assert alike["low"] < 0 < alike["high"]
    with pytest.raises(InputError, match="at least 3"):
        fad_difference(reference[:2], near[:2], far[:2])
