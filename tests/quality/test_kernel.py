"""KAD against its definition, its independence of the number of clips, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.quality import kernel
from m2l2_mir.quality.kernel import kad, kad_interval, median_distance


def _by_definition(reference, estimated, bandwidth: float, paired: bool) -> float:
    """100 times the squared discrepancy, pair by pair; clips are lists of frames."""

    def mean(left, right, other_clips_only: bool) -> float:
        values = [
            np.exp(-np.sum((x - y) ** 2) / (2 * bandwidth**2))
            for i, first in enumerate(left)
            for j, second in enumerate(right)
            if not (other_clips_only and i == j)
            for x in first
            for y in second
        ]
        return float(np.mean(values))

    within = mean(reference, reference, True) + mean(estimated, estimated, True)
    return 100 * (within - 2 * mean(reference, estimated, paired))


@pytest.mark.parametrize("paired", [False, True])
def test_definition_and_leaving_out(rng, monkeypatch, paired: bool) -> None:
    monkeypatch.setattr(kernel, "_BLOCK", 50)  # several blocks
    reference = [rng.normal(size=(frames, 3)) for frames in (2, 1, 4, 3)]
    estimated = [1.5 * rng.normal(size=(frames, 3)) + 0.3 for frames in (3, 1, 2, 3)]
    expected = _by_definition(reference, estimated, 1.3, paired)
    assert kad(reference, estimated, paired=paired, bandwidth=1.3) == pytest.approx(expected, rel=1e-9)

    def without(clips, i: int):
        return clips[:i] + clips[i + 1 :]

    if paired:
        samples = [[_by_definition(without(reference, i), without(estimated, i), 1.3, True) for i in range(4)]]
    else:
        samples = [
            [_by_definition(without(reference, i), estimated, 1.3, False) for i in range(4)],
            [_by_definition(reference, without(estimated, i), 1.3, False) for i in range(4)],
        ]
    variance = sum(9 / 4 * np.var(sample, ddof=1) for sample in samples)
    result = kad_interval(reference, estimated, paired=paired, bandwidth=1.3)
    assert result["standard_error"] == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert result["kad"] == pytest.approx(expected, rel=1e-9)


def test_closed_form_of_two_gaussians(rng) -> None:
    # For N(0, 1) and N(m, 1) in one dimension, E k = s / sqrt(s^2 + 2) times exp(-m^2 / (2 (s^2 + 2))) across.
    s, m = 1.5, 0.8
    expected = 200 * s / np.sqrt(s**2 + 2) * (1 - np.exp(-(m**2) / (2 * (s**2 + 2))))
    reference, estimated = rng.normal(size=(3000, 1)), rng.normal(size=(3000, 1)) + m
    assert kad(reference, estimated, bandwidth=s) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("clips", [5, 50])
def test_no_bias_at_any_number_of_clips(clips: int) -> None:
    generator = np.random.default_rng(0)
    draws = [kad(*generator.normal(size=(2, clips, 16)), bandwidth=4.0) for _ in range(200)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws)) < 3 * error
    assert min(draws) < 0


def test_a_perfect_reconstruction_has_zero(rng) -> None:
    clips = rng.normal(size=(20, 5, 8)) * 3 + 50
    result = kad_interval(clips, clips.copy(), paired=True)
    assert result["kad"] == pytest.approx(0, abs=1e-9)
    assert result["standard_error"] == pytest.approx(0, abs=1e-9)


def test_bandwidth_is_the_median_of_the_reference(rng) -> None:
    reference = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert median_distance(reference) == 3.5
    estimated = 5 * rng.normal(size=(30, 1))
    assert kad(reference, estimated) == kad(reference, estimated, bandwidth=3.5)
    many = rng.normal(size=(5000, 4))
    assert median_distance(many) == pytest.approx(median_distance(many[:1900]), rel=0.05)


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        (np.zeros((5, 2)), {}, "bandwidth is 0.0"),
        (np.eye(2), {"bandwidth": -1.0}, "bandwidth is -1.0"),
        (np.ones((1, 9, 2)), {"bandwidth": 1.0}, "only one"),
    ],
)
def test_bad_input(reference: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kad(reference, np.eye(2), **options)
