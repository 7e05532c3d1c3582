"""Slot scores of codes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from m2l2_mir.disentangle import Factor, Nulls, slot_scores
from m2l2_mir.disentangle.bases import evened
from m2l2_mir.disentangle.evidence import beyond_floor, blocks_of
from m2l2_mir.disentangle.factors import read_factors
from m2l2_mir.disentangle.information import Probes, dealt, information
from m2l2_mir.disentangle.nulls import rotations
from m2l2_mir.errors import InputError
from m2l2_mir.quality.intervals import jackknife

FEW = Nulls(rotations=4, permutations=20)


@pytest.mark.parametrize(
    ("name", "D", "C"),
    [
        ("aligned", 1.0, 1.0),
        ("noisy", 1.0, 1.0),
        ("scalar", 1.0, 1.0),
        ("rotated inside", 1.0, 1.0),
        ("rotated across", 0.0, 0.0),
        ("redundant", 0.0, 0.0),
        ("shuffled", 0.0, 0.0),
        ("none", 0.0, 0.0),
        ("one factor", 1.0, 0.0),
        ("plus noise", 1.0, 1.0),
    ],
)
def test_known_codes(slots, labels, groups, name: str, D: float, C: float) -> None:
    found = slot_scores(slots(name), labels, groups=groups, nulls=FEW)
    assert found["D_slot"] == pytest.approx(D, abs=0.06)
    assert found["C_slot"] == pytest.approx(C, abs=0.06)
    expected = {"noisy": 0.7, "none": 0.0, "one factor": 0.25, "plus noise": 0.5}.get(name, 1.0)
    if name not in ("rotated across", "shuffled"):  # in which a slot alone knows a part
        assert found["information"].max(axis=0).mean() == pytest.approx(expected, abs=0.1)
    low, high = found["intervals"]["D_slot"]
    assert np.isnan(low) if name == "none" else low <= found["D_slot"] <= high  # nothing counts, whoever is left out


def test_scores_against_the_nulls(slots, labels, groups) -> None:
    aligned = slot_scores(slots("aligned"), labels, groups=groups, nulls=FEW)
    turned = slot_scores(slots("rotated across"), labels, groups=groups, nulls=FEW)
    alone = slot_scores(slots("one factor"), labels, groups=groups, nulls=FEW)
    null = aligned["nulls"]["D_slot"]["rotation"]
    assert null["normalised"] > 0.95
    assert null["p"] == pytest.approx(1 / 5)
    assert abs(turned["nulls"]["D_slot"]["rotation"]["normalised"]) < 0.06
    # A single factor is told by every slot in any basis: nothing can be distinguished.
    assert alone["nulls"]["D_slot"]["rotation"]["mean"] > 0.95
    assert np.isnan(alone["nulls"]["D_slot"]["rotation"]["normalised"])
    floor = aligned["nulls"]["information"]["permutation"]
    assert floor["mean"].max() < 0.01
    assert (floor["p"][np.eye(4, dtype=bool)] < 0.05).all()
    assert not aligned["informative"][~np.eye(4, dtype=bool)].any()


def test_rotations_are_of_the_code_that_is_scored(slots, labels, groups, rng) -> None:
    told = slots("aligned") * [1, 1, 1, 0, 0, 0] + rng.normal(size=(600, 4, 6)) * [0.5, 0.5, 0.5, 10, 10, 10]
    uneven = told * np.array([1.0, 1e-3, 30.0, 1.0])[:, None]
    inside = np.stack([np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(4)])
    found, even, turned = (
        slot_scores(code, labels, groups=groups, nulls=Nulls(rotations=6, permutations=0))
        for code in (uneven, told, np.einsum("nkd,kde->nke", told, inside))
    )
    # Neither the scale of a slot nor its basis is seen by the scores, so that it must not be by the null.
    np.testing.assert_allclose(found["rotated"], even["rotated"], atol=1e-4)
    assert turned["rotated"].mean() == pytest.approx(even["rotated"].mean(), abs=0.01)
    # A turned code holds what the code holds.
    [turn] = rotations(24, Nulls(rotations=1))
    across = slot_scores((evened(told).reshape(600, -1) @ turn).reshape(told.shape), labels, groups=groups, nulls=None)
    np.testing.assert_allclose(across["information_all"], found["information_all"], atol=0.01)


def test_rotations_are_the_same_bases_whatever_else_is_drawn(slots, labels, groups) -> None:
    drawn = [
        slot_scores(slots("aligned"), labels, groups=groups, nulls=Nulls(rotations=2, permutations=of))["rotated"]
        for of in (0, 3)
    ]
    np.testing.assert_array_equal(*drawn)


def test_unique_and_redundant_information(slots, labels, groups) -> None:
    aligned = slot_scores(slots("aligned"), labels, groups=groups, nulls=None)
    np.testing.assert_allclose(aligned["unique"], np.eye(4), atol=0.03)
    np.testing.assert_allclose(aligned["redundancy"], 0, atol=0.03)
    redundant = slot_scores(slots("redundant"), labels, groups=groups, nulls=None)
    np.testing.assert_allclose(redundant["unique"], 0, atol=0.03)
    np.testing.assert_allclose(redundant["redundancy"], 3, atol=0.1)


def test_of_many_slots_unique_information_is_left_open(labels, groups) -> None:
    slots = np.random.default_rng(0).normal(size=(600, 33, 1))
    slots[:, 7, 0] += 2 * labels[:, 0]
    found = slot_scores(slots, labels[:, :2], groups=groups, nulls=None)
    assert np.isnan(found["unique"]).all()
    assert found["information"][:, 0].argmax() == 7


def test_two_slots_that_know_only_together(groups) -> None:
    rng = np.random.default_rng(0)
    key = rng.normal(size=(600, 1))
    label = rng.integers(0, 2, size=(600, 1))
    slots = np.stack([key, key + label + 0.05 * rng.normal(size=key.shape)], axis=1)
    other = rng.integers(0, 2, size=(600, 1))
    found = slot_scores(slots, np.hstack([label, other]), groups=groups, nulls=None)
    assert found["information"][0, 0] < 0.02
    assert found["information_all"][0] > 0.9
    assert found["unique"][0, 0] > 0.7


def test_intervals_are_of_probes_that_are_fitted_again_without_blocks_of_groups(slots, labels, groups) -> None:
    code = slots("noisy")
    found = slot_scores(code, labels, groups=groups, nulls=None)
    block = blocks_of(groups, len(groups))
    fold = dealt(groups)
    kept = block != 3
    [column] = read_factors(labels[kept, 1:2], items=int(kept.sum()))
    alone = information(*Probes(code[kept].swapaxes(0, 1), fold[kept]).losses(column))
    np.testing.assert_allclose(found["left_out"][3, :, 1], alone[:, 0])
    low, high = found["intervals"]["information"]
    plain = jackknife(found["information"][0, 0], found["left_out"][:, 0, 0])
    np.testing.assert_allclose([low[0, 0], high[0, 0]], [plain["low"], plain["high"]])
    # What the probe of all slots learnt from is a sample too: wider than over test items alone.
    means = 1 - found["losses_all"][0].reshape(50, 12).mean(axis=1)
    half = stats.t.ppf(0.975, 9) * np.sqrt(1.25) * means.std(ddof=1) / np.sqrt(50)
    low, high = found["intervals"]["information_all"]
    assert high[0] - low[0] == pytest.approx(2 * half, rel=0.5)


def test_of_groups_that_are_too_few_there_are_scores_without_intervals(slots, labels) -> None:
    found = slot_scores(slots("aligned"), labels, groups=np.arange(600) // 100, nulls=None)  # six, in five folds
    assert found["D_slot"] > 0.9
    assert np.isnan(found["intervals"]["D_slot"]).all()
    assert np.isnan(found["intervals"]["information"]).all()


def test_one_label_of_one_group_does_not_make_a_floor_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(600) // 10
    genre, mood = rng.integers(0, 3, 60)[groups], rng.integers(0, 3, 600)
    genre[0] = (genre[0] + 1) % 3
    slots = np.eye(4)[np.stack([genre, mood], axis=1)] + 0.1 * rng.normal(size=(600, 2, 4))
    found = slot_scores(slots, np.stack([genre, mood], axis=1), groups=groups, nulls=Nulls(rotations=0))
    assert found["bound"].max() < 0.1
    assert found["moved"].min() > 0.9
    assert found["informative"].tolist() == [[True, False], [False, True]]
    assert found["nulls"]["D_slot"]["permutation"]["p"] < 0.05


def test_a_factor_that_varies_in_one_group_only_leaves_numbers_where_that_is_left_out(labels, groups) -> None:
    rare = (groups == 0).astype(int)
    slots = np.random.default_rng(0).normal(size=(600, 2, 3)) + labels[:, :1, None]
    found = slot_scores(slots, np.stack([labels[:, 0], rare], axis=1), groups=groups, nulls=FEW)
    assert np.isfinite(found["left_out"]).all()
    assert (found["left_out"][blocks_of(groups, 600)[0], :, 1] == 0).all()


def test_a_weak_entry_loses_no_more_than_its_floor() -> None:
    permuted = np.random.default_rng(0).uniform(0, 0.02, size=(200, 2, 2))
    weak = np.array([[0.3, 0.012], [0.0, 0.3]])
    assert beyond_floor(weak, permuted)[0, 1] == pytest.approx(0.002, abs=0.001)  # no threshold that it falls below
    assert not beyond_floor(permuted[0], permuted + 1).any()


def test_what_only_names_the_group_is_not_information() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(600) // 6
    labels = rng.integers(0, 2, size=(100, 2))[groups]  # the same throughout each group
    slots = rng.normal(size=(100, 2, 40))[groups] + 0.01 * rng.normal(size=(600, 2, 40))
    held_out = slot_scores(slots, labels, groups=groups, nulls=None)
    leaking = slot_scores(slots, labels, nulls=None)
    assert held_out["information"].max() < 0.05 < 0.15 < leaking["information"].min()


@pytest.mark.parametrize("noise", [0.4, 0.8])
def test_numbers_score_about_as_their_cut_into_classes(noise: float) -> None:
    rng = np.random.default_rng(0)
    values, phase = rng.normal(size=900), rng.uniform(0, 12, size=900)
    angle = 2 * np.pi * phase / 12
    number = np.repeat(values[:, None] + noise * rng.normal(size=(900, 1)), 2, axis=1)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) + noise * rng.normal(size=(900, 2))
    slots = np.stack([number, circle], axis=1)
    schema = [Factor(name="height", kind="continuous"), Factor(name="chroma", kind="cyclic", period=12)]
    cut = np.stack([np.argsort(np.argsort(values)) * 8 // 900, (phase / 12 * 8).astype(int)], axis=1)
    numbers = slot_scores(slots, np.stack([values, phase], axis=1), schema=schema, nulls=None)["information"]
    classes = slot_scores(slots, cut, nulls=None)["information"]
    np.testing.assert_allclose(numbers, classes, atol=0.1)
    assert numbers[0, 0] == pytest.approx(0.5 * np.log2(1 + noise**-2) / 3, abs=0.03)  # of a Gaussian channel
    assert numbers[1, 1] > 0.15 > 0.02 > numbers[[0, 1], [1, 0]].max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": np.zeros((50, 8))}, r"give \[n, K, d\]"),
        ({"slots": np.full((50, 2, 3), np.nan)}, "50 of 50 items hold NaN"),
        ({"slots": np.zeros((50, 2, 3))}, "same slots"),
        ({"factors": np.zeros((50, 1))}, "does not vary|is 0 for all items"),
        ({"factors": np.linspace(0, 1, 50)[:, None]}, "declare it continuous"),
        ({"factors": np.arange(49)[:, None]}, r"give \[50, F\]"),
        ({"groups": np.arange(50) // 20}, "3 groups do not make 5 folds"),
        ({"folds": 2}, "needs 3 or more"),
        ({"schema": []}, "describe each column once"),
    ],
)
def test_input_that_cannot_be_scored(change, message: str) -> None:
    rng = np.random.default_rng(0)
    given = {"slots": rng.normal(size=(50, 2, 3)), "factors": rng.integers(0, 2, size=(50, 2)), **change}
    with pytest.raises(InputError, match=message):
        slot_scores(given.pop("slots"), given.pop("factors"), **given)
