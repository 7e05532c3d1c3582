"""The probe against its definition in plain loops, and against logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

from m2l2_mir.disentangle.factors import Factor, read_factors
from m2l2_mir.disentangle.information import PENALTIES, Probes, dealt, information
from m2l2_mir.probe.selection import inner_folds


def plain_losses(X: np.ndarray, y: np.ndarray, groups: np.ndarray, folds: int) -> np.ndarray:
    """Penalised discriminant analysis with everything recomputed from the items."""
    X = (X - X.mean(axis=0)) / np.sqrt((X - X.mean(axis=0)).var(axis=0).mean())
    parts = [part for _, part in inner_folds(np.zeros(len(y), dtype=int), groups, folds, np.random.RandomState(0))]
    classes = y.max() + 1
    one_hot = np.eye(classes)[y]

    def ridge_error(training, held_out, penalty):
        mean, share = X[training].mean(axis=0), one_hot[training].mean(axis=0)
        A = X[training] - mean
        W = np.linalg.solve(A.T @ A / len(A) + penalty * np.eye(X.shape[1]), A.T @ (one_hot[training] - share) / len(A))
        return np.sum((one_hot[held_out] - share - (X[held_out] - mean) @ W) ** 2)

    def log_odds(training, held_out, penalty):
        mean = X[training].mean(axis=0)
        within = penalty * np.eye(X.shape[1])
        means = np.zeros((classes, X.shape[1]))
        for c in range(classes):
            of = X[training][y[training] == c]
            means[c] = of.mean(axis=0) - mean
            within += (of - of.mean(axis=0)).T @ (of - of.mean(axis=0)) / len(training)
        back = np.linalg.inv(within)
        return np.array([[(x - mean) @ back @ m - m @ back @ m / 2 for m in means] for x in X[held_out]])

    def loss(odds, items, prior, scale):
        scores = scale * odds + prior
        return (
            np.log(np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1))
            + scores.max(axis=1)
            - scores[np.arange(len(items)), y[items]]
        )

    def mean_loss(scale, odds, items, prior):
        return loss(odds, items, prior, scale).mean()

    losses = np.empty(len(y))
    for outer in range(folds):
        inner = [f for f in range(folds) if f != outer]
        splits = [(np.concatenate([parts[f] for f in inner if f != g]), parts[g]) for g in inner]
        errors = [sum(ridge_error(*split, penalty) for split in splits) for penalty in PENALTIES]
        penalty = PENALTIES[int(np.argmin(errors))]
        training = np.concatenate([parts[f] for f in inner])
        odds = np.concatenate([log_odds(*split, penalty) for split in splits])
        items = np.concatenate([held_out for _, held_out in splits])
        counts = np.bincount(y[training], minlength=classes) + 0.5
        prior = np.log(counts / counts.sum())
        scale = minimize_scalar(mean_loss, bounds=(0, 10), args=(odds, items, prior), options={"xatol": 1e-6}).x
        losses[parts[outer]] = loss(log_odds(training, parts[outer], penalty), parts[outer], prior, scale)
    return losses


@pytest.mark.parametrize(("width", "number"), [(3, 40), (60, 40), (25, 4)])
def test_probe_is_its_definition(rng, width: int, number: int) -> None:
    groups = np.arange(160) // 4 % number
    y = (3 * rng.random(160) ** (0.5 + groups % 4)).astype(int)  # groups differ in what they hold, and in their place
    X = rng.normal(size=(160, width)) * 3.0 ** -(np.arange(width) % 10) + rng.normal(size=(number, width))[groups] + 7
    X[:, 0] += 0.8 * y
    [column] = read_factors(y[:, None], items=160)
    losses, baseline = Probes(X[None], dealt(groups, 4)).losses(column)
    np.testing.assert_allclose(losses[0, 0], plain_losses(X, y, groups, 4), atol=5e-3)
    shares = np.bincount(y) / 160
    assert baseline.mean() == pytest.approx(-np.sum(shares * np.log(shares)), abs=0.2)


def test_permutations_and_codes_are_as_if_alone(rng) -> None:
    groups = np.arange(120) // 4
    y = rng.integers(0, 3, size=120)
    codes = rng.normal(size=(3, 120, 5)) + 0.7 * y[:, None]
    rows = np.stack([np.arange(120), rng.permutation(120)])
    [column] = read_factors(y[:, None], items=120)
    together, _ = Probes(codes, dealt(groups, 3)).losses(column, rows)
    for k in range(3):
        for p in range(2):
            [alone] = read_factors(y[rows[p], None], items=120)
            expected, _ = Probes(codes[k][None], dealt(groups, 3)).losses(alone)
            np.testing.assert_allclose(together[k, p], expected[0, 0], atol=1e-3)


def test_nothing_is_learnt_from_items_that_are_predicted_only(rng) -> None:
    groups, training = np.arange(160) // 4, rng.random(160) < 0.6
    y = rng.integers(0, 3, size=160)
    X = rng.normal(size=(1, 160, 4)) + y[:, None]
    other = np.where(training, y, rng.permutation(y))
    probes = Probes(X, dealt(groups, 3), training)
    (own, prior), (changed, _) = (probes.losses(read_factors(of[:, None], items=160)[0]) for of in (y, other))
    np.testing.assert_array_equal(own[..., training], changed[..., training])
    same = ~training & (other == y)
    np.testing.assert_array_equal(own[..., same], changed[..., same])
    assert own[..., ~training].mean() < prior[..., ~training].mean() < changed[..., ~training].mean()
    everything = Probes(X, dealt(groups, 3)).losses(read_factors(y[:, None], items=160)[0])[0]
    assert np.abs(everything - own).max() > 0.01


@pytest.mark.parametrize("name", ["aligned", "noisy", "scalar", "rotated across", "shuffled"])
def test_logistic_regression_reads_about_as_much(slots, labels, groups, name: str) -> None:
    code, y = slots(name)[:, 1], labels[:, 1]
    [column] = read_factors(y[:, None], items=len(y))
    ours = information(*Probes(code[None], dealt(groups)).losses(column)).item()
    losses = []
    for training, held_out in GroupKFold(5).split(code, y, groups):
        peer = LogisticRegressionCV(
            Cs=np.logspace(-3, 4, 8),
            l1_ratios=(0,),
            scoring="neg_log_loss",
            cv=3,
            max_iter=500,
            use_legacy_attributes=False,
        ).fit(code[training], y[training])
        losses.extend(-peer.predict_log_proba(code[held_out])[np.arange(len(held_out)), y[held_out]])
    assert ours == pytest.approx(1 - np.mean(losses) / np.log(5), abs=0.03)


def test_noise_is_worth_nothing_and_is_not_below_its_prior(rng) -> None:
    values = np.stack([rng.integers(0, 4, size=400), rng.normal(size=400), rng.uniform(size=400)], axis=1)
    schema = [Factor(name="a"), Factor(name="b", kind="continuous"), Factor(name="c", kind="cyclic", period=1.0)]
    probes = Probes(rng.normal(size=(1, 400, 100)), dealt(np.arange(400)))
    for column in read_factors(values, schema, items=400):
        losses, baseline = probes.losses(column)
        assert abs(1 - losses.mean() / baseline.mean()) < 0.02
