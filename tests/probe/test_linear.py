"""Linear read-outs against scikit-learn's own at the same penalty, and what they do with little to learn from."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import check_estimator

from m2l2_mir.dataset.split import strata
from m2l2_mir.errors import InputError
from m2l2_mir.probe import softmax
from m2l2_mir.probe.linear import LinearClassifier, LinearRegressor
from m2l2_mir.probe.selection import ReadoutWarning, inner_folds

pytestmark = pytest.mark.filterwarnings("ignore::m2l2_mir.probe.selection.ReadoutWarning")


@pytest.fixture
def music(rng):
    """Build clips [n, d] of correlated columns in their own units, classes, and groups of four clips in one class."""

    def build(n: int, d: int, classes: int):
        groups = np.repeat(np.arange(n // 4), 4)
        labels = groups % classes
        hidden = rng.normal(size=(n, d)) / np.sqrt(1 + np.arange(d)) + 0.2 * rng.normal(size=(classes, d))[labels]
        return hidden @ rng.normal(size=(d, d)) * 10 ** rng.uniform(-2, 2, size=d) + 5, labels, groups

    return build


@pytest.mark.parametrize("readout", [LinearClassifier(), LinearRegressor()])
def test_is_a_scikit_learn_estimator(readout) -> None:
    check_estimator(readout, on_skip=None)


@pytest.mark.parametrize(("n", "d", "classes"), [(240, 20, 6), (240, 20, 2), (60, 150, 3)])
@pytest.mark.parametrize("penalty", [0.3, 1e-3])
def test_logistic_regression_of_scikit_learn(music, penalty: float, n: int, d: int, classes: int) -> None:
    X, labels, groups = music(n, d, classes)
    readout = LinearClassifier([penalty]).fit(X, labels, groups)
    standard = readout.scaler_.transform(X)
    assert readout.penalty_ == penalty
    strength = (2 if classes == 2 else 1) / (n * readout.penalty_)
    expected = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(standard, labels)
    np.testing.assert_allclose(readout.coef_, expected.coef_, atol=1e-3 * np.abs(expected.coef_).max())
    np.testing.assert_allclose(readout.predict_proba(X), expected.predict_proba(standard), atol=1e-3)
    np.testing.assert_allclose(readout.decision_function(X), expected.decision_function(standard), atol=1e-2)
    assert (readout.predict(X) == expected.predict(standard)).all()


def test_inner_scores_of_the_classifier(music) -> None:
    X, labels, groups = music(240, 20, 6)
    readout = LinearClassifier(random_state=3).fit(X, labels, groups)
    standard = readout.scaler_.transform(X)
    for i in (0, 3, 5):
        total = 0.0
        for training, held_out in inner_folds(labels, groups, 3, np.random.RandomState(3)):
            strength = 1 / (len(training) * readout.penalties_[i])
            peer = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(standard[training], labels[training])
            total += peer.predict_log_proba(standard[held_out])[np.arange(len(held_out)), labels[held_out]].sum()
        assert readout.inner_scores_[i] == pytest.approx(total / 240, abs=2e-3)
    assert readout.penalty_ == readout.penalties_[np.nanargmax(readout.inner_scores_)]


def test_weak_penalties_are_solved_before_they_are_judged(rng) -> None:
    """Clear classes in many columns: the best penalty is weak, and the ones beyond it must be seen to be worse."""
    labels = np.arange(600) % 5
    columns = rng.normal(size=(600, 100)) + 0.4 * rng.normal(size=(5, 100))[labels]
    X = columns / np.sqrt(1 + np.arange(100)) @ rng.normal(size=(100, 100))
    readout = LinearClassifier(random_state=3).fit(X, labels)
    standard = readout.scaler_.transform(X)
    assert readout.edge_ is None
    best = int(np.nanargmax(readout.inner_scores_))
    for i in (best - 1, best, best + 1):
        total = 0.0
        for training, held_out in inner_folds(labels, None, 3, np.random.RandomState(3)):
            strength = 1 / (len(training) * readout.penalties_[i])
            peer = LogisticRegression(C=strength, tol=1e-6, max_iter=10_000).fit(standard[training], labels[training])
            total += peer.predict_log_proba(standard[held_out])[np.arange(len(held_out)), labels[held_out]].sum()
        assert readout.inner_scores_[i] == pytest.approx(total / 600, abs=2e-3)


@pytest.mark.parametrize("d", [20, 150])
def test_ridge_of_scikit_learn(music, rng, d: int) -> None:
    X, labels, groups = music(120, d, 6)
    target = 120 + 10 * labels + rng.normal(size=120)
    readout = LinearRegressor(random_state=3).fit(X, target, groups)
    standard = readout.scaler_.transform(X)
    expected = Ridge(alpha=120 * readout.penalty_).fit(standard, target)
    np.testing.assert_allclose(readout.coef_, expected.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(readout.predict(X), expected.predict(standard), rtol=1e-9)
    error = 0.0
    for training, held_out in inner_folds(strata(pd.Series(target), 3), groups, 3, np.random.RandomState(3)):
        peer = Ridge(alpha=len(training) * readout.penalties_[4]).fit(standard[training], target[training])
        error += np.sum((target[held_out] - peer.predict(standard[held_out])) ** 2)
    assert readout.inner_scores_[4] == pytest.approx(1 - error / (120 * target.var()), abs=1e-6)
    assert readout.penalty_ == readout.penalties_[np.nanargmax(readout.inner_scores_)]


def test_penalty_is_per_item(music) -> None:
    X, labels, _ = music(120, 10, 3)
    for readout, target in ((LinearClassifier([0.03]), labels), (LinearRegressor([0.03]), labels * 2.5)):
        once = readout.fit(X, target).coef_
        twice = readout.fit(np.vstack([X, X]), np.hstack([target, target])).coef_
        np.testing.assert_allclose(twice, once, atol=1e-3 * np.abs(once).max())


def test_groups_are_held_out_whole(rng) -> None:
    # Takes of a piece are alike and carry its label, which says nothing of other pieces.
    pieces = np.repeat(np.arange(40), 6)
    X = rng.normal(size=(40, 30))[pieces] + 0.1 * rng.normal(size=(240, 30))
    labels, target = rng.permutation(np.arange(40) % 2)[pieces], rng.normal(size=40)[pieces]
    for readout, y in ((LinearClassifier(), labels), (LinearRegressor(), target)):
        blind = readout.fit(X, y).penalty_
        assert readout.fit(X, y, pieces).penalty_ > 30 * blind


def test_same_seed_same_result(music) -> None:
    X, labels, _ = music(120, 10, 3)
    first, second, other = (LinearClassifier(random_state=seed).fit(X, labels) for seed in (1, 1, 2))
    assert (first.inner_scores_[:5] == second.inner_scores_[:5]).all()
    assert (first.coef_ == second.coef_).all()
    assert (first.inner_scores_[:5] != other.inner_scores_[:5]).any()


@pytest.mark.parametrize(("items", "scatter"), [(400, 30.0), (200, 20.0)])
def test_weak_directions_behind_strong_ones_of_groups(rng, items: int, scatter: float) -> None:
    """Timbre varies by group, far more than what carries the label: held-out scores fall before they rise."""
    groups = np.repeat(np.arange(40), items // 40)
    labels = rng.integers(8, size=items)
    timbre = scatter * rng.normal(size=(40, 20))[groups]
    sound = rng.normal(size=(8, 20))[labels] + 0.3 * rng.normal(size=(items, 20))
    mixed = np.hstack([timbre, sound]) @ rng.normal(size=(40, 256)) + 0.2 * rng.normal(size=(items, 256))
    test = groups >= 32
    for readout in (LinearClassifier(), LinearRegressor()):
        readout.fit(mixed[~test], labels[~test], groups[~test])
        scores = readout.inner_scores_
        dip = next(i for i in range(2, len(scores)) if max(scores[i - 1 : i + 1]) < max(scores[: i - 1]))
        assert readout.penalty_ < readout.penalties_[dip]  # past where two in a row were below the best
        assert readout.score(mixed[test], labels[test]) > 0.6


def test_a_search_ends_where_items_are_explained(rng) -> None:
    labels = rng.integers(4, size=400)  # nothing to learn
    scores = LinearClassifier().fit(rng.normal(size=(400, 150)), labels).inner_scores_
    assert np.isnan(scores[-1])
    assert not np.isnan(scores[6])
    # Fewer items than columns are explained by anything, and more than columns can explain are never.
    for columns in (300, 5):
        assert not np.isnan(LinearClassifier().fit(rng.normal(size=(400, columns)), labels).inner_scores_).any()


def test_a_solver_that_did_not_converge_is_told(music, monkeypatch) -> None:
    X, labels, groups = music(240, 20, 6)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the solver ended")
        LinearClassifier([1e-3]).fit(X, labels, groups)
    monkeypatch.setattr(softmax, "_STEPS", 3)
    with pytest.warns(ReadoutWarning, match="the solver ended before it converged"):
        LinearClassifier([1e-3]).fit(X, labels, groups)


def test_edge_of_the_penalties_is_told(music) -> None:
    X, labels, groups = music(240, 20, 6)
    assert LinearClassifier().fit(X, labels, groups).edge_ is None
    for readout in (LinearClassifier([100, 30]), LinearRegressor([100, 30])):
        with pytest.warns(ReadoutWarning, match="weakest penalty offered"):
            assert readout.fit(X, labels, groups).edge_ == "weakest penalty"


def test_little_to_learn_from(music) -> None:
    X, labels, _ = music(40, 5, 2)
    X[:, 2] = 7.0
    names = np.array(["A minor", "C major"])[labels]
    assert LinearClassifier().fit(X, names).coef_[:, 2] == pytest.approx(0, abs=1e-9)
    with pytest.warns(ReadoutWarning, match="of one class"):
        single = LinearClassifier().fit(X, np.full(40, "C major"))
    assert set(single.predict(X)) == {"C major"}
    assert single.predict_proba(X).tolist() == [[1.0]] * 40
    with pytest.warns(ReadoutWarning, match="targets are equal"):
        constant = LinearRegressor().fit(X, np.full(40, 128.0))
    assert constant.predict(X * 3).tolist() == [128.0] * 40
    for readout in (LinearClassifier(), LinearRegressor()):
        with pytest.warns(ReadoutWarning, match="one group"):
            alone = readout.fit(X, labels, np.zeros(40))
        assert alone.penalty_ == 0.1
        assert np.isnan(alone.inner_scores_).all()
        two = readout.fit(X[:5:4], labels[:5:4]).predict(X[:5:4])
        assert two[0] < 0.5 < two[1]


def test_class_of_one_group_is_learnt_though_not_selected_for(music) -> None:
    X, labels, groups = music(60, 5, 3)
    labels[groups == groups[-1]] = 9
    with pytest.warns(ReadoutWarning, match="a class lies in a single"):
        readout = LinearClassifier().fit(X, labels, groups)
    assert readout.classes_.tolist() == [0, 1, 2, 9]
    assert readout.predict_proba(X).shape == (60, 4)
    assert readout.inner_scores_[0] == pytest.approx(-np.log(3), abs=0.15)  # of the three that can be scored


@pytest.mark.parametrize("readout", [LinearClassifier, LinearRegressor])
def test_bad_input(readout) -> None:
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    broken = X.copy()
    broken[[3, 7], 1] = np.nan, np.inf
    with pytest.raises(InputError, match=r"^2 of 20 items hold NaN or infinity, first item 3; leave them out"):
        readout().fit(broken, y)
    with pytest.raises(InputError, match="first item 3"):
        readout().fit(X, y).predict(broken)
    with pytest.raises(InputError, match=r"shape \[3\] for 20 items"):
        readout().fit(X, y, groups=["a", "b", "c"])
    with pytest.raises(InputError, match="1 of 20 items have no group"):
        readout().fit(X, y, groups=[None, *"abcdefghijklmnopqrs"])
    with pytest.raises(InputError, match=r"penalties are \[1, 0\]"):
        readout([1, 0]).fit(X, y)
    with pytest.raises(InputError, match="folds is 1"):
        readout(folds=1).fit(X, y)
