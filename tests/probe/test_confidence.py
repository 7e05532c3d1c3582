"""A confidence is the share that turns out right, and is the same for all where a read-out cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.probe.confidence import Confidence


def test_an_overconfident_readout_is_set_right(rng) -> None:
    truth = rng.uniform(0.05, 0.95, 6000)
    right = rng.random(6000) < truth
    odds = 3 * np.log(truth / (1 - truth)) + 1  # what the read-out says instead
    said = 1 / (1 + np.exp(-odds))
    confidence = Confidence.learn(said, right, np.arange(6000) % 5, np.arange(6000))
    assert confidence.slope == pytest.approx(1 / 3, abs=0.03)
    assert np.abs(confidence(said) - truth).max() < 0.05
    assert confidence.brier < confidence.brier_constant - 0.03


@pytest.mark.parametrize("flipped", [False, True])
def test_probabilities_that_say_nothing_give_the_share_that_was_right(rng, flipped: bool) -> None:
    right = rng.random(300) < 0.3
    said = 0.9 - 0.5 * right if flipped else np.full(300, 0.7)
    confidence = Confidence.learn(said, right, np.arange(300) % 5, np.arange(300))
    assert confidence.slope == 0
    assert confidence(said) == pytest.approx(right.mean(), abs=0.01)


def test_a_slope_that_does_not_hold_on_other_groups_is_dropped() -> None:
    # High probability means right in 60 predictions of three groups, and wrong in the 40 of the fourth.
    said = np.tile([0.9, 0.4], 50)
    right = np.tile([1, 0], 50)
    right[60:] = 1 - right[60:]
    groups = np.repeat([0, 1, 2, 3], [20, 20, 20, 40])
    assert Confidence.learn(said, right, groups, np.arange(100)).slope == 0
    assert Confidence.learn(said, right, np.arange(100), np.arange(100)).slope > 0


def test_certainty_stays_short_of_one_and_repeated_tracks_count_once() -> None:
    once = Confidence.learn(None, [1] * 8, np.arange(8) % 2, np.arange(8))
    assert once(0.5) == pytest.approx(9 / 10)  # Platt's target, (8 + 1) / (8 + 2)
    five = Confidence.learn(None, [1] * 40, np.arange(40) % 2, np.arange(40) % 8)
    assert five(0.5) == pytest.approx(once(0.5))
