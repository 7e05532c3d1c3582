"""Counterfactual scores on codes whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from m2l2_mir.disentangle.counterfactual import counterfactual_evidence, counterfactual_scores
from m2l2_mir.disentangle.equivariance import equivariance
from m2l2_mir.disentangle.nulls import Nulls, rotations
from m2l2_mir.disentangle.paired import spread_of
from m2l2_mir.errors import InputError

K, D, EACH = 4, 6, 60
FACTOR = np.repeat(np.arange(K), EACH)
GROUPS = np.arange(len(FACTOR)) % 24
FEW = Nulls(rotations=8, permutations=40)


@pytest.fixture
def aligned(rng):
    """Reference, before and after: factor f redraws slot f, in an odd basis with a wide spread of variances."""
    basis = rng.standard_normal((D, D)) * np.logspace(0, 1, D)
    reference = rng.standard_normal((800, K, D)) @ basis
    before = rng.standard_normal((len(FACTOR), K, D)) @ basis
    after = before.copy()
    after[np.arange(len(FACTOR)), FACTOR] = (rng.standard_normal((len(FACTOR), D))) @ basis
    return reference, before, after


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_changes_of_one_slot_only_score_two_there_and_zero_elsewhere(aligned):
    reference, before, after = aligned
    found = counterfactual_scores(before, after, FACTOR, reference=reference, groups=GROUPS, nulls=FEW)
    assert np.allclose(np.diag(found["E"]), 2, atol=0.35)  # as far as two clips at random
    assert np.allclose(found["E"] - np.diag(np.diag(found["E"])), 0)
    assert found["D"] == pytest.approx(1)
    assert found["C"] == pytest.approx(1)
    assert found["nulls"]["D"]["rotation"]["mean"] < 0.1
    assert found["nulls"]["D"]["rotation"]["normalised"] == pytest.approx(1)
    assert found["nulls"]["D"]["permutation"]["p"] == pytest.approx(1 / 41)


def test_turning_inside_slots_changes_nothing_and_turning_across_them_takes_all(aligned, rng):
    reference, before, after = aligned
    inside = np.stack([np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(K)])
    across = np.linalg.qr(rng.standard_normal((K * D, K * D)))[0]

    def scores(turn):
        return counterfactual_scores(turn(before), turn(after), FACTOR, reference=turn(reference), nulls=FEW)

    own = scores(lambda x: x)
    turned = scores(lambda x: np.einsum("nkd,kde->nke", x, inside))
    mixed = scores(lambda x: (x.reshape(len(x), -1) @ across).reshape(x.shape))
    assert np.allclose(own["E"], turned["E"])
    assert mixed["D"] < 0.1
    assert abs(mixed["nulls"]["D"]["rotation"]["normalised"]) < 0.1


def test_slots_that_change_places_and_changes_of_no_factor_score_nothing(aligned, rng):
    reference, before, after = aligned

    def shuffled(slots):
        return np.take_along_axis(slots, np.argsort(rng.random(slots.shape[:2]), axis=1)[:, :, None], axis=1)

    blind = before + 0.3 * before.std(axis=0) * rng.standard_normal(before.shape)
    for ours, theirs, other in (
        (shuffled(before), shuffled(after), shuffled(reference)),
        (before, blind, reference),
        (before, before, reference),
    ):
        found = counterfactual_scores(ours, theirs, FACTOR, reference=other, groups=GROUPS, nulls=FEW)
        assert found["D"] < 0.03
        assert found["C"] < 0.03
        assert found["nulls"]["D"]["permutation"]["p"] > 0.02


def test_the_matrix_is_the_plain_formula(aligned):
    reference, before, after = aligned
    found = counterfactual_scores(before, after, FACTOR, reference=reference, nulls=None)
    for slot in range(K):
        values = reference[:, slot] - reference[:, slot].mean(axis=0)
        inverse = np.linalg.inv(values.T @ values / len(values))  # no shrinkage: 800 clips of 6 dimensions need little
        for factor in range(K):
            change = (after - before)[factor == FACTOR, slot]
            plain = np.einsum("nd,de,ne->n", change, inverse, change).mean() / D
            assert found["E"][slot, factor] == pytest.approx(plain, rel=0.05, abs=1e-9)


def test_interval_holds_the_score_and_counts_groups(aligned):
    reference, before, after = aligned
    noisy = after + 5 * np.random.default_rng(1).standard_normal(after.shape)
    found = counterfactual_scores(before, noisy, FACTOR, reference=reference, groups=GROUPS, nulls=None)
    low, high = found["intervals"]["D"]
    assert low < found["D"] < high < 1


@pytest.mark.parametrize(("shift", "expected"), [(True, 1.0), (False, 0.0)])
def test_equivariance_is_whether_the_same_step_gives_the_same_shift(rng, shift, expected):
    values = rng.integers(0, 3, size=(120, 2))
    values[:, 1] = (values[:, 0] + rng.integers(1, 3, 120)) % 3
    places = rng.standard_normal((3, K, D))
    before = rng.standard_normal((120, K, D))
    after = before + (places[values[:, 1]] - places[values[:, 0]] if shift else rng.standard_normal(before.shape))
    reference = rng.standard_normal((300, K, D))
    found = equivariance(before, after, *values.T, reference=reference, groups=np.arange(120) % 12)
    assert found["equivariance"] == pytest.approx(expected, abs=0.06)


def test_the_interval_of_equivariance_holds_the_share_that_follows(rng):
    values, groups = rng.integers(0, 2, size=200), np.arange(200) % 20
    before, shift = rng.standard_normal((200, K, D)), rng.standard_normal((K, D))
    after = before + (1 - 2 * values)[:, None, None] * shift + rng.standard_normal(before.shape)
    found = equivariance(before, after, values, 1 - values, reference=rng.standard_normal((300, K, D)), groups=groups)
    low, high = found["interval"]
    share = np.square(shift).sum()
    assert low <= share / (share + K * D) <= high < low + 0.1


def test_what_does_not_move_follows_nothing(rng):
    still = np.zeros((40, 1, 3))
    found = equivariance(still, still, np.arange(40) % 2, 1 - np.arange(40) % 2, reference=rng.normal(size=(40, 1, 3)))
    assert found["equivariance"] == found["slots"][0] == 0


def test_a_shift_in_one_direction_of_many_is_equivariant(rng):
    values = rng.integers(0, 2, size=200)
    spread = np.array([1.0] + [0.1] * 19)  # what the factor moves, and much that is little
    before, reference = (spread * rng.standard_normal((count, 1, 20)) for count in (200, 400))
    after = before + 0.3 * spread * rng.standard_normal(before.shape)
    after[:, 0, 0] = before[:, 0, 0] + 2 * (1 - 2 * values)
    found = equivariance(before, after, values, 1 - values, reference=reference)
    assert found["equivariance"] > 0.95
    assert found["slots"].shape == (1,)


def test_slots_that_hold_the_same_are_no_purer_than_rotations_however_unequal_factors_are(rng):
    held = rng.standard_normal((800 + 2 * len(FACTOR), 1, D))
    common = np.repeat(held, K, axis=1) + 0.1 * rng.standard_normal((len(held), K, D))
    reference, before, after = np.split(common, [800, 800 + len(FACTOR)])
    far = (FACTOR < 2)[:, None, None]
    after = np.where(far, after, before + 0.3 * (after - before))  # two factors move all slots far, two a little
    found = counterfactual_scores(before, after, FACTOR, reference=reference, groups=GROUPS, nulls=Nulls(rotations=20))
    assert found["E"][:, 0].min() > 5 * found["E"][:, 2].max()
    assert found["D"] < 0.02
    assert found["nulls"]["D"]["rotation"]["mean"] < 0.02
    assert abs(found["nulls"]["D"]["rotation"]["normalised"]) < 0.03


def test_rotations_are_measured_as_the_code_is(aligned):
    reference, before, after = aligned
    found = counterfactual_evidence(
        before, after, FACTOR, reference=reference, nulls=Nulls(rotations=1, permutations=0, seed=5)
    )
    [turn] = rotations(K * D, Nulls(rotations=1, seed=5))
    scale = 1 / np.sqrt(reference.var(axis=0).mean(axis=1, keepdims=True))
    turned = (((part * scale).reshape(len(part), -1) @ turn).reshape(part.shape) for part in (before, after, reference))
    one, other, held = turned
    own = counterfactual_evidence(one, other, FACTOR, reference=held, nulls=Nulls(rotations=0, permutations=0))
    assert np.allclose(found.rotations[0], own.matrix)


def test_intervals_of_a_flat_matrix_hold_the_true_score_of_zero(rng):
    reference = rng.standard_normal((500, K, D))
    none = Nulls(rotations=0, permutations=0)
    plain, unbiased, held = [], [], []
    for _ in range(30):
        after = rng.standard_normal((60, K, D))
        given = (np.zeros_like(after), after, np.arange(60) % K)
        score, left_out = (
            counterfactual_evidence(*given, reference=reference, nulls=none).scores(part)["D"]
            for part in ("matrix", "left_out")
        )
        spread = spread_of(float(score), left_out)
        low, high = counterfactual_scores(*given, reference=reference, nulls=None)["intervals"]["D"]
        assert high == pytest.approx(score - spread.bias + stats.t.ppf(0.975, 9) * np.sqrt(spread.variance))
        plain.append(score)
        unbiased.append(score - spread.bias)
        held.append(low <= 0)
    assert np.mean(plain) > 5 * abs(np.mean(unbiased))
    assert np.mean(held) > 0.8


def test_a_dead_slot_scores_zero(aligned):
    reference, before, after = (part.copy() for part in aligned)
    for part in (reference, before, after):
        part[:, 1] = 0.3
    found = counterfactual_scores(before, after, FACTOR, reference=reference, nulls=FEW)
    assert np.allclose(found["E"][1], 0)


def test_refusals_name_the_shapes(aligned):
    reference, before, after = aligned
    with pytest.raises(InputError, match="before"):
        counterfactual_scores(before, after[:, :2], FACTOR)
    with pytest.raises(InputError, match="one name for each of 240 pairs"):
        counterfactual_scores(before, after, FACTOR[:3])
    with pytest.raises(InputError, match="after holds NaN"):
        counterfactual_scores(before, after * np.nan, FACTOR, reference=reference)
