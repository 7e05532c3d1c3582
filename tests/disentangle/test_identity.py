"""Slot identity on codes whose answer is known."""

import numpy as np
import pytest

from m2l2_mir.disentangle.identity import match_slots, predictability, slot_health, slot_identity, slot_stability

N, K, D = 200, 4, 5
GROUPS = np.arange(N) % 20


@pytest.fixture
def slots():
    return np.random.default_rng(3).standard_normal((N, K, D))


def test_slots_with_places_of_their_own_are_told_apart_and_exchangeable_ones_are_not(slots):
    assert slot_identity(slots, GROUPS)["accuracy"] == pytest.approx(1 / K, abs=0.08)
    placed = slots + 8 * np.eye(K, D)
    found = slot_identity(placed, GROUPS)
    assert found["accuracy"] > 0.99
    assert np.allclose(found["confusion"].sum(axis=1), 1)


def test_two_alike_slots_are_confused_with_each_other_only(slots):
    placed = slots + 8 * np.eye(K, D)[[0, 0, 2, 3]]
    confusion = slot_identity(placed, GROUPS)["confusion"]
    assert confusion[0, :2].sum() > 0.99
    assert 0.3 < confusion[0, 1] < 0.7


def test_matching_finds_a_permutation_through_any_invertible_map(slots):
    rng = np.random.default_rng(4)
    order = np.array([2, 0, 3, 1])
    maps = rng.standard_normal((K, D, D)) + 2 * np.eye(D)
    other = np.einsum("nkd,kde->nke", slots, maps)[:, order] + 0.05 * rng.standard_normal(slots.shape)
    found = match_slots(slots, other, GROUPS, exchanges=4)
    assert np.array_equal(order[found["match"]], np.arange(K))
    assert found["matched"] > 0.9 > 0.5 > found["chance"]
    assert found["p"] == pytest.approx(1 / 5)  # no exchange is as good


def test_the_best_match_of_exchangeable_slots_is_no_better_than_chance():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((80, 1, D))
    first, second = (common + 1.5 * rng.standard_normal((80, K, D)) for _ in range(2))
    found = match_slots(first, second, exchanges=9)
    assert found["matched"] == pytest.approx(found["chance"], abs=0.02)
    assert found["p"] > 0.1
    others = [found["similarity"][np.arange(K), rng.permutation(K)].mean() for _ in range(99)]
    assert np.mean(others >= np.float64(found["matched"])) < 0.1  # but for the best assignment any is worse


def test_predictability_of_unrelated_slots_is_none(slots):
    other = np.random.default_rng(9).standard_normal(slots.shape)
    assert predictability(slots, other, GROUPS).max() < 0.05


def test_stability_tells_a_slot_that_stays_from_one_that_swaps():
    rng = np.random.default_rng(5)
    chunks = 0.1 * rng.standard_normal((30, 4, K, D)) + 5 * np.eye(K, D) + rng.standard_normal((30, 1, K, D))
    swapped = chunks.copy()
    swapped[:, 1::2, [0, 1]] = chunks[:, 1::2, [1, 0]]  # slots 1 and 2 change places in every other chunk
    stays, swaps = (slot_stability(one, np.arange(30)) for one in (chunks, swapped))
    assert stays["kept"] == pytest.approx(np.ones(K))
    assert stays["adjacent"].min() > 0.9
    assert abs(stays["between"]).max() < 0.2
    assert swaps["kept"] == pytest.approx([0, 0, 1, 1])
    assert swaps["transition"][0, 1] == 1


def test_health_sees_dead_saturated_and_narrow_slots(slots):
    bounded = np.tanh(slots)
    bounded[:, 1] = 0.2
    bounded[:, 2] = np.sign(slots[:, 2])
    bounded[:, 3] = np.tanh(slots[:, 3, :1])  # one direction
    found = slot_health(bounded)
    assert found["dead"] == 1
    assert found["spread"][1] < 1e-9
    assert found["saturated"][2] == 1
    assert found["saturated"][0] < 0.1
    assert found["effective_rank"][3] == pytest.approx(1)
    assert found["effective_rank"][0] > 4
    assert np.isnan(slot_health(slots, bounded=False)["saturated"]).all()


def test_effective_rank_is_the_entropy_of_the_eigenvalues():
    corners = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])  # variances 4 and 1
    found = slot_health(corners[:, None], bounded=False)["effective_rank"][0]
    assert found == pytest.approx(np.exp(-(0.8 * np.log(0.8) + 0.2 * np.log(0.2))))
