"""Metrics of single dimensions: codes whose answer is known, and the formulas in plain loops."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.svm import LinearSVC

from m2l2_mir.disentangle import (
    Factor,
    Nulls,
    dci,
    dci_es,
    factor_vae,
    infomec,
    irs,
    lasso,
    mig,
    modularity_explicitness,
    sap,
)
from m2l2_mir.disentangle.dimensions import halves
from m2l2_mir.disentangle.entropies import disentanglement_completeness
from m2l2_mir.disentangle.factors import read_factors
from m2l2_mir.errors import InputError

# Of each metric: what it is called, and its value for each code. Some perfect codes are misjudged, each in the way that
# the metric's module tells: lines (SAP) tell five values apart in part only; IRS is alike for one factor and for four;
# of what is there several times a tree loses nothing when it is permuted; in many dimensions FactorVAE finds chance
# alignments; nothing is explicit (DCI-ES).
KNOWN = {
    "perfect": {
        "trees": 1, "l1": 1, "permutation": 1, "mig": 0.95, "sap": 0.28, "modularity": 1, "explicitness": 1,
        "infom": 1, "infoe": 1, "infoc": 1, "irs": 0.98, "factor_vae": 1, "E": 1,
    },
    "duplicated": {
        "trees": 1, "l1": 1, "permutation": 1, "mig": 0, "sap": 0, "modularity": 1, "explicitness": 1,
        "infom": 1, "infoe": 1, "infoc": 0.43, "irs": 0.98, "factor_vae": 1, "E": 1,
    },
    "one factor": {
        "trees": 1, "l1": 1, "permutation": 0, "mig": 0, "sap": 0, "modularity": 1,
        "infom": 1, "infoe": 0.25, "irs": 0.98, "factor_vae": 0.25,
    },
    "plus noise": {
        "trees": 1, "l1": 1, "permutation": 1, "mig": 0.97, "sap": 0.28, "modularity": 1, "explicitness": 1,
        "infom": 1, "infoe": 1, "infoc": 1, "irs": 0.46, "factor_vae": 1, "E": 1,
    },
    "none": {
        **dict.fromkeys(
            ["trees", "l1", "permutation", "mig", "sap", "modularity", "explicitness", "infom", "infoe", "infoc"], 0
        ),
        "irs": 0.25, "factor_vae": 0.25, "E": 1,
    },
    "rotated": {
        "trees": 0.3, "l1": 0.3, "permutation": 0.3, "sap": 0.1, "explicitness": 1, "infoe": 1, "irs": 0.5, "E": 1,
    },
    "wide mixture": {
        "l1": 0.9, "permutation": 1, "sap": 0, "infoe": 1, "explicitness": 1, "irs": 0.5, "factor_vae": 1, "E": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_codes(codes, labels, groups, monkeypatch, name: str) -> None:
    monkeypatch.setattr(sys.modules[dci_es.__module__], "_WIDTHS", (0, 16, 64))
    code, options = codes(name), {"groups": groups, "nulls": None}
    found = {"E": dci_es(code, labels, **options)["explicitness"]}
    for metric in (mig, sap, modularity_explicitness, infomec, irs, factor_vae):
        found |= metric(code, labels, **options)
    for importance in ("trees", "l1", "permutation"):
        found[importance] = dci(code, labels, importance, **options)["disentanglement"]
    for metric, expected in KNOWN[name].items():
        assert found[metric] == pytest.approx(expected, abs=0.15 if 0 < expected < 1 else 0.05), metric


def test_noise_costs_what_the_channel_loses(codes, labels, groups) -> None:
    """Classes 0 to 4 heard with noise of half a step: information of the channel by integration over what is heard."""
    heard = np.linspace(-4, 8, 4001)
    density = stats.norm.pdf(heard, np.arange(5)[:, None], 0.5)
    chances = density / density.sum(axis=0)
    left = np.trapezoid(density.mean(axis=0) * stats.entropy(chances, axis=0), heard)
    told = 1 - left / np.log(5)
    code, options = codes("noisy"), {"groups": groups, "nulls": None}
    found = infomec(code, labels, **options)
    assert found["infoe"] == pytest.approx(told, abs=0.04)
    assert found["infom"] == pytest.approx(1, abs=0.05)
    assert mig(code, labels, **options)["mig"] == pytest.approx(told, abs=0.06)
    assert modularity_explicitness(code, labels, **options)["modularity"] == pytest.approx(1, abs=0.05)
    assert dci(code, labels, "l1", **options)["disentanglement"] > 0.75


def test_a_linear_mixture_is_explicit_and_not_pure(codes, labels, groups) -> None:
    code, options = codes("mixture"), {"groups": groups, "nulls": None}
    for importance in ("trees", "l1"):
        assert dci(code, labels, importance, **options)["disentanglement"] < 0.3
    assert mig(code, labels, **options)["mig"] < 0.3
    assert infomec(code, labels, **options)["infoe"] > 0.97
    assert modularity_explicitness(code, labels, **options)["explicitness"] > 0.97


def test_width_is_taken_for_disentanglement_and_the_null_shows_it(codes, labels, groups) -> None:
    found = dci(codes("wide mixture"), labels, "l1", groups=groups, nulls=Nulls(rotations=3, permutations=2))
    null = found["nulls"]["disentanglement"]["rotation"]
    assert found["disentanglement"] > 0.85
    assert null["mean"] == pytest.approx(found["disentanglement"], abs=0.08)
    assert found["nulls"]["disentanglement"]["permutation"]["mean"] == 0
    assert set(found["intervals"]) == {"disentanglement", "completeness", "informativeness"}
    low, high = found["intervals"]["informativeness"]
    assert low <= found["informativeness"] <= high
    assert found["nulls"]["informativeness"]["permutation"]["mean"] < 0.1


def test_entropies_in_plain_loops(rng) -> None:
    R = rng.random((5, 3)) ** 3
    D = sum(R[j].sum() / R.sum() * (1 - stats.entropy(R[j], base=3)) for j in range(5))
    C = sum(R[:, f].sum() / R.sum() * (1 - stats.entropy(R[:, f], base=5)) for f in range(3))
    found = disentanglement_completeness(np.stack([R, 7 * R]))
    np.testing.assert_allclose(found["D"], D)
    np.testing.assert_allclose(found["C"], C)
    assert np.isnan(disentanglement_completeness(R[:, :1])["D"])


def plain_information(code: np.ndarray, labels: np.ndarray) -> np.ndarray:
    cut = [pd.qcut(values, 20, labels=False, duplicates="drop") for values in code.T]
    return np.array([[mutual_info_score(of, labels[:, f]) for f in range(labels.shape[1])] for of in cut])


@pytest.mark.parametrize("name", ["noisy", "rotated"])
def test_mig_modularity_and_infomec_in_plain_loops(codes, labels, name: str) -> None:
    code = codes(name)
    mutual = plain_information(code, labels)
    entropy = np.array([stats.entropy(np.bincount(of)) for of in labels.T])
    gaps = [(np.sort(mutual[:, f])[-1] - np.sort(mutual[:, f])[-2]) / entropy[f] for f in range(4)]
    assert mig(code, labels, nulls=None)["mig"] == pytest.approx(np.mean(gaps), abs=0.01)
    modularity = []
    for j in range(4):
        best = mutual[j].max()
        modularity.append(1 - sum(mutual[j, f] ** 2 for f in range(4) if mutual[j, f] != best) / (best**2 * 3))
    found = modularity_explicitness(code, labels, nulls=None)
    assert found["modularity"] == pytest.approx(np.mean(modularity), abs=0.01)
    shares = np.maximum(mutual - 19 * 4 / (2 * len(code)), 0) / entropy
    found = infomec(code, labels, nulls=None)
    expected = np.mean([max(row) / sum(row) for row in shares])
    assert found["infom"] == pytest.approx((expected - 0.25) / 0.75, abs=0.02)
    expected = np.mean([max(column) / sum(column) for column in shares.T])
    assert found["infoc"] == pytest.approx((expected - 0.25) / 0.75, abs=0.02)


def test_binning(rng) -> None:
    labels = rng.integers(0, 4, size=(800, 2))
    stretched = np.exp(3.0 * labels + 0.1 * rng.normal(size=labels.shape))
    assert mig(stretched, labels, nulls=None)["mig"] == pytest.approx(mig(np.log(stretched), labels, nulls=None)["mig"])
    assert mig(stretched, labels, binning="width", nulls=None)["mig"] < 0.6
    with pytest.raises(InputError, match="'equal'"):
        mig(stretched, labels, binning="equal", nulls=None)


def test_explicitness_is_an_area_under_the_curve(codes, labels, groups) -> None:
    code = codes("noisy")
    training, testing = halves(groups)
    areas = []
    for f in range(4):
        peer = LogisticRegression(C=100, max_iter=1000).fit(code[training], labels[training, f])
        chances = peer.predict_proba(code[testing])
        areas.extend(2 * roc_auc_score(labels[testing, f] == c, chances[:, c]) - 1 for c in range(5))
    found = modularity_explicitness(code, labels, groups=groups, nulls=None)
    assert found["explicitness"] == pytest.approx(np.mean(areas), abs=0.03)


@pytest.mark.parametrize("classes", [2, 5])
def test_sap_with_support_vector_machines_of_scikit_learn(codes, labels, groups, classes: int) -> None:
    code, labels = codes("noisy"), labels % classes
    training, testing = halves(groups)
    standard = (code - code[training].mean(axis=0)) / code[training].std(axis=0)
    scores = np.empty((4, 4))
    for j in range(4):
        for f in range(4):
            peer = LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-8, max_iter=10_000)
            peer.fit(standard[training, j : j + 1], labels[training, f])
            scores[j, f] = peer.score(standard[testing, j : j + 1], labels[testing, f])
    found = sap(code, labels, groups=groups, nulls=None)
    np.testing.assert_allclose(found["predictability"], scores, atol=0.011)
    ordered = np.sort(scores, axis=0)
    assert found["sap"] == pytest.approx((ordered[-1] - ordered[-2]).mean(), abs=0.01)


def test_irs_in_plain_loops(codes, labels) -> None:
    code = codes("rotated")
    matrix, largest = np.empty((4, 4)), np.empty(4)
    for j in range(4):
        z = code[:, j]
        largest[j] = max(abs(z - z.mean()))
        for f in range(4):
            moved = [np.percentile(abs(z[labels[:, f] == v] - z[labels[:, f] == v].mean()), 99) for v in range(5)]
            matrix[j, f] = 1 - np.mean(moved) / largest[j]
    found = irs(code, labels, nulls=None)
    np.testing.assert_allclose(found["robustness"], matrix)
    assert found["irs"] == pytest.approx(np.average(matrix.max(axis=1), weights=largest))


def test_factor_vae_in_plain_loops(codes, labels) -> None:
    code, rng = codes("mixture"), np.random.default_rng(5)
    ballots = []
    for _ in range(6000):
        factor, value = int(rng.integers(4)), int(rng.integers(5))
        rows = [row for row in range(len(code)) if labels[row, factor] == value]
        batch = code[rng.choice(rows, size=64)]
        ballots.append((int(np.argmin([batch[:, j].var() / code[:, j].var() for j in range(4)])), factor))
    voted, tested = ballots[:3000], ballots[3000:]
    winner = {j: Counter(factor for best, factor in voted if best == j).most_common(1)[0][0] for j in range(4)}
    score = np.mean([winner[best] == factor for best, factor in tested])
    found = factor_vae(code, labels, nulls=None, votes=3000)
    assert found["factor_vae"] == pytest.approx(score, abs=0.04)
    assert 0.5 < score < 0.9
    counted = np.array([[voted.count((j, factor)) for factor in range(4)] for j in range(4)])
    np.testing.assert_allclose(found["votes"] / 3000, counted / 3000, atol=0.03)


def test_factor_vae_does_not_see_units_nor_dimensions_that_do_not_vary(codes, labels) -> None:
    uneven = codes("noisy") * [1, 10, 100, 1000]
    assert factor_vae(uneven, labels, nulls=None)["factor_vae"] > 0.9
    dead = np.hstack([codes("perfect"), np.full((len(labels), 1), 3.0)])
    found = factor_vae(dead, labels, nulls=None)
    assert found["factor_vae"] > 0.99
    assert found["votes"][-1].sum() == 0
    assert found["votes"].sum() == 800


@pytest.mark.parametrize("classes", [2, 4])
def test_sparse_weights_of_scikit_learn(rng, monkeypatch, classes: int) -> None:
    monkeypatch.setattr(lasso, "_PATH", (0.1,))
    monkeypatch.setattr(lasso, "_STEPS", 3000)
    monkeypatch.setattr(lasso, "_TOLERANCE", 0.0)
    labels = rng.integers(0, classes, size=300)
    code = rng.normal(size=(300, 8)) + labels[:, None] * [1, 0.5, 0, 0, 0, 0, 0, 0]
    training, testing = np.arange(200), np.arange(200, 300)
    columns = read_factors(labels[:, None], items=300)
    [weights], [scores] = lasso.sparse_weights(code, columns, training[:120], training[120:], testing)
    standard = (code - code[training].mean(axis=0)) / code[training].std(axis=0)
    one_hot = np.eye(classes)[labels[training]]
    penalty = 0.1 * np.abs(standard[training].T @ (one_hot - one_hot.mean(axis=0))).max() / 200
    peer = LogisticRegression(l1_ratio=1, C=1 / (200 * penalty), solver="saga", tol=1e-9, max_iter=20_000)
    peer.fit(standard[training], labels[training])
    expected = peer.predict_log_proba(standard[testing])
    ours = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, expected, atol=0.02)
    # Weights of an even number of classes may shift together; the sum of their sizes may not.
    np.testing.assert_allclose(np.abs(weights).sum(axis=1), np.abs(peer.coef_).sum(axis=0), atol=0.01)


def test_the_sparse_penalty_is_selected_without_the_items_that_are_predicted(rng) -> None:
    labels = rng.integers(0, 3, size=240)
    code = rng.normal(size=(240, 5)) + labels[:, None] * [1, 0, 0, 0, 0]
    fitting, selecting, testing = np.arange(80), np.arange(80, 160), np.arange(160, 240)
    other = np.where(np.arange(240) < 160, labels, rng.integers(0, 3, size=240))
    shuffled = np.concatenate([labels[:80], rng.permutation(labels[80:160]), labels[160:]])
    weights = [
        lasso.sparse_weights(code, read_factors(of[:, None], items=240), fitting, selecting, testing)[0][0]
        for of in (labels, other, shuffled)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0]).sum() > np.abs(weights[2]).sum()


def test_dci_of_numbers_and_circles(rng) -> None:
    values = np.stack([rng.normal(size=500), rng.uniform(0, 12, size=500), rng.integers(0, 3, size=500)], axis=1)
    angle = 2 * np.pi * values[:, 1] / 12
    code = np.stack([values[:, 0], np.cos(angle), np.sin(angle), values[:, 2]], axis=1) + 0.05 * rng.normal(
        size=(500, 4)
    )
    schema = [Factor(name="a", kind="continuous"), Factor(name="b", kind="cyclic", period=12), Factor(name="c")]
    for importance in ("trees", "l1", "permutation"):
        found = dci(code, values, importance, schema=schema, nulls=None)
        assert found["disentanglement"] > 0.9
        assert (found["accuracy"] > 0.8).all()
    for metric in (mig, sap, irs, factor_vae, modularity_explicitness, infomec):
        assert metric(code, values, schema=schema, nulls=None)
    with pytest.raises(InputError, match="'gini'"):
        dci(code, values, "gini", schema=schema)


def test_explicitness_of_dci_es(rng, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[dci_es.__module__], "_WIDTHS", (0, 16, 64))
    labels = rng.integers(0, 2, size=(500, 1))
    sign = rng.choice([-1.0, 1.0], size=(500, 1))
    hidden = np.hstack([sign, sign * (2 * labels - 1.0)]) + 0.1 * rng.normal(size=(500, 2))  # exclusive or
    curved = dci_es(hidden, labels, nulls=Nulls(rotations=0, permutations=2))
    losses = np.minimum.accumulate(curved["losses"][:, 0])
    area = np.trapezoid(losses - losses[-1], np.arange(len(losses)))
    assert curved["explicitness"] == pytest.approx(1 - area / (0.5 * (len(losses) - 1)))
    assert losses[0] > 0.95 > 0.3 > losses[-1]
    assert (
        curved["explicitness"]
        < 0.75
        < 0.98
        < dci_es(labels + 0.1 * rng.normal(size=(500, 3)), labels, nulls=None)["explicitness"]
    )
    assert curved["size"] == 0.5
    assert curved["nulls"]["explicitness"]["permutation"]["mean"] > 0.95  # its known failure: nothing is explicit


def test_broken_codes(labels) -> None:
    with pytest.raises(InputError, match=r"give \[n, D\]"):
        mig(np.zeros(600), labels)
    with pytest.raises(InputError, match="600 of 600 items hold NaN"):
        mig(np.full((600, 2), np.nan), labels)
    with pytest.raises(InputError, match="2 items"):
        factor_vae(np.zeros((600, 2)), labels, batch=1)
