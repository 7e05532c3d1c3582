"""The network learns what no linear read-out can, and its training ends by a fold of other groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from m2l2_mir.errors import InputError
from m2l2_mir.probe.linear import LinearClassifier
from m2l2_mir.probe.nonlinear import MLPClassifier, MLPRegressor
from m2l2_mir.probe.selection import ReadoutWarning, inner_folds

pytestmark = pytest.mark.filterwarnings("ignore::m2l2_mir.probe.selection.ReadoutWarning")


@pytest.mark.parametrize("readout", [MLPClassifier(32, epochs=25), MLPRegressor(32, epochs=30)])
def test_is_a_scikit_learn_estimator(readout) -> None:
    check_estimator(readout, on_skip=None)


def test_learns_what_a_linear_readout_cannot(rng) -> None:
    X = rng.normal(size=(600, 3)) * [1, 100, 0.01] + 7
    signs = np.sign(X - 7)
    same = np.where(signs[:, 0] * signs[:, 1] > 0, "major", "minor")
    network = MLPClassifier(32).fit(X[:400], same[:400])
    assert network.score(X[400:], same[400:]) > 0.9
    assert LinearClassifier().fit(X[:400], same[:400]).score(X[400:], same[400:]) < 0.65
    bpm = 120 + 40 * np.abs(X[:, 0] - 7)
    assert MLPRegressor(32).fit(X[:400], bpm[:400]).score(X[400:], bpm[400:]) > 0.9


def test_same_seed_same_result(rng) -> None:
    X, y = rng.normal(size=(80, 4)), np.arange(80) % 3
    results = [MLPClassifier(8, epochs=5, random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2)]
    assert (results[0] == results[1]).all()
    assert (results[0] != results[2]).any()


def test_training_ends_by_other_groups(rng) -> None:
    # Takes of a piece are alike and carry its label, which says nothing of other pieces.
    pieces = np.repeat(np.arange(40), 6)
    X = rng.normal(size=(40, 30))[pieces] + 0.1 * rng.normal(size=(240, 30))
    labels, target = rng.permutation(np.arange(40) % 2)[pieces], rng.normal(size=40)[pieces]
    for readout, y in ((MLPClassifier(32, epochs=40), labels), (MLPRegressor(32, epochs=40), target)):
        assert readout.fit(X, y).inner_losses_.min() < 0.3
        assert readout.fit(X, y, pieces).inner_losses_.min() > 0.5
        assert len(readout.inner_losses_) == min(readout.epochs_ + 10, 40)
        assert readout.inner_losses_.argmin() == readout.epochs_ - 1


def test_losses_are_those_of_the_held_out_fold(rng) -> None:
    X, y = rng.normal(size=(100, 3)), np.arange(100) % 2
    readout = MLPClassifier(8, epochs=1).fit(X, y)
    readout.network_.coefs_ = [np.zeros_like(layer) for layer in readout.network_.coefs_]
    assert 0.4 < readout.inner_losses_[0] < 1.5  # nats, of two classes
    target = MLPRegressor(8, epochs=1).fit(X, 500 + 100 * rng.normal(size=100))
    assert 0.5 < target.inner_losses_[0] < 2  # variances
    assert (target.target_mean_, target.target_scale_) == pytest.approx((500, 100), rel=0.2)
    assert len(inner_folds(y, None, 5, np.random.RandomState(0))[0][1]) == 20


def test_little_to_learn_from(rng) -> None:
    X = rng.normal(size=(12, 3))
    with pytest.warns(ReadoutWarning, match="of one class"):
        assert set(MLPClassifier(4, epochs=2).fit(X, ["A minor"] * 12).predict(X)) == {"A minor"}
    with pytest.warns(ReadoutWarning, match="targets are equal"):
        assert MLPRegressor(4, epochs=2).fit(X, np.full(12, 97.5)).predict(X).tolist() == [97.5] * 12
    with pytest.warns(ReadoutWarning, match="one group"):
        assert MLPClassifier(4).fit(X, np.arange(12) % 2, np.zeros(12)).epochs_ == 10
    with pytest.warns(ReadoutWarning, match="a class lies in a single"):
        alone = MLPClassifier(4, epochs=3).fit(X, ["A minor"] + ["C major"] * 11)
    assert alone.predict_proba(X).shape == (12, 2)
    with pytest.warns(ReadoutWarning, match="more epochs"):
        MLPRegressor(4, epochs=1).fit(X, X[:, 0])
    with pytest.raises(InputError, match="epochs is 0"):
        MLPClassifier(epochs=0).fit(X, np.arange(12) % 2)
