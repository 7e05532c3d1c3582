"""Nearest neighbours against scikit-learn's own and worked cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.utils.estimator_checks import check_estimator

from m2l2_mir.errors import InputError
from m2l2_mir.probe.neighbours import NearestNeighbourClassifier, NearestNeighbourRegressor
from m2l2_mir.probe.selection import ReadoutWarning, inner_folds

pytestmark = pytest.mark.filterwarnings("ignore::m2l2_mir.probe.selection.ReadoutWarning")


@pytest.mark.parametrize("readout", [NearestNeighbourClassifier(), NearestNeighbourRegressor()])
def test_is_a_scikit_learn_estimator(readout) -> None:
    check_estimator(readout, on_skip=None)


def test_neighbours_of_scikit_learn(rng) -> None:
    labels = np.arange(150) % 3
    X = rng.normal(size=(150, 6)) * 20 + 30 * rng.normal(size=(3, 6))[labels]
    target = X[:, 0] + rng.normal(size=150)
    readout = NearestNeighbourClassifier().fit(X, labels)
    standard = readout.scaler_.transform(X)
    peer = KNeighborsClassifier(readout.n_neighbours_, metric="cosine").fit(standard, labels)
    np.testing.assert_allclose(readout.predict_proba(X), peer.predict_proba(standard))
    hits = [0, 0]
    for training, held_out in inner_folds(labels, None, 3, np.random.RandomState(0)):
        for i, number in enumerate((45, 9)):
            peer = KNeighborsClassifier(number, metric="cosine").fit(standard[training], labels[training])
            hits[i] += np.sum(peer.predict(standard[held_out]) == labels[held_out])
    scores = dict(zip(readout.neighbours_.tolist(), readout.inner_scores_, strict=True))
    assert [scores[45], scores[9]] == pytest.approx([hits[0] / 150, hits[1] / 150])
    assert scores[readout.n_neighbours_] == max(scores.values())
    numbers = NearestNeighbourRegressor().fit(X, target)
    peer = KNeighborsRegressor(numbers.n_neighbours_, metric="cosine").fit(standard, target)
    np.testing.assert_allclose(numbers.predict(X), peer.predict(standard))
    assert numbers.inner_scores_.max() == pytest.approx(numbers.score(X, target), abs=0.3)


def test_takes_of_a_piece_do_not_choose_k(rng) -> None:
    pieces = np.repeat(np.arange(150), 3)
    X = rng.normal(size=(150, 10))[pieces] + 0.01 * rng.normal(size=(450, 10))
    bpm = 90 + 60 * rng.random(150)[pieces]
    assert NearestNeighbourRegressor().fit(X, bpm).n_neighbours_ <= 3
    assert NearestNeighbourRegressor().fit(X, bpm, pieces).n_neighbours_ >= 25


def test_little_to_learn_from(rng) -> None:
    X = rng.normal(size=(12, 3))
    few = NearestNeighbourRegressor().fit(X, rng.normal(size=12))
    assert few.neighbours_.tolist() == [8, 5, 3, 1]  # 45 and the like become all 8 of an inner fold
    assert (few.n_neighbours_, few.edge_) == (8, None)  # there are no more to offer
    with pytest.warns(ReadoutWarning, match="one group"):
        assert NearestNeighbourClassifier().fit(X, np.arange(12) % 2, np.zeros(12)).n_neighbours_ == 5
    with pytest.warns(ReadoutWarning, match="of one class"):
        assert set(NearestNeighbourClassifier().fit(X, ["A minor"] * 12).predict(X)) == {"A minor"}
    with pytest.warns(ReadoutWarning, match="targets are equal"):
        assert NearestNeighbourRegressor().fit(X, np.full(12, 97.5)).predict(X).tolist() == [97.5] * 12
    with pytest.warns(ReadoutWarning, match="largest number of neighbours"):
        NearestNeighbourRegressor([1, 2]).fit(rng.normal(size=(60, 3)), rng.normal(size=60))
    for neighbours in ([], [0, 3], [1.5]):
        with pytest.raises(InputError, match="neighbours are"):
            NearestNeighbourClassifier(neighbours).fit(X, np.arange(12) % 2)
