"""Combinations of factors that a probe has not heard, on codes whose answer is known."""

import numpy as np
import pytest

from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.disentangle.generalisation import unseen_combinations
from m2l2_mir.errors import InputError

N, CLASSES, WIDTH = 900, (6, 3, 2), 6
GROUPS = np.arange(N) // 15


@pytest.fixture
def labels(rng):
    return np.stack([rng.integers(0, count, N) for count in CLASSES], axis=1)


def apart(labels, rng, noise):
    """Slot k holds factor k."""
    places = [rng.normal(size=(count, WIDTH)) for count in CLASSES]
    return np.stack([place[of] for place, of in zip(places, labels.T, strict=True)], axis=1) + noise * rng.normal(
        size=(N, len(CLASSES), WIDTH)
    )


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_factors_that_are_held_apart_are_read_from_any_combination(labels, rng, noise):
    code = apart(labels, rng, noise)
    turn = np.linalg.qr(rng.normal(size=(3 * WIDTH, 3 * WIDTH)))[0]
    for slots in (code, (code.reshape(N, -1) @ turn).reshape(code.shape)):
        found = unseen_combinations(slots, labels, groups=GROUPS)
        assert (found["seen"] > 0.9).all() if noise < 1 else (found["seen"] < 0.9).all()
        assert np.abs(found["difference"]).max() < 0.04  # weakly told or not, in any basis
        np.testing.assert_allclose(found["difference"], found["unseen"] - found["seen"])
    assert found["beside"] == [["1", "2"], ["0", "2"], ["0", "1"]]


def test_a_code_of_combinations_is_of_no_use_in_others(labels, rng):
    joint = rng.normal(size=(*CLASSES, 3 * WIDTH))[tuple(labels.T)] + 0.1 * rng.normal(size=(N, 3 * WIDTH))
    found = unseen_combinations(joint.reshape(N, 3, WIDTH), labels, groups=GROUPS)
    assert found["seen"][0] > 0.2
    assert (found["unseen"] < 0).all()
    assert (found["high"] < 0).all()
    assert (found["low"] <= found["difference"]).all()


def test_only_the_factors_that_are_entangled_lose(labels, rng):
    slots = apart(labels, rng, 0.1)
    slots[:, 0] = rng.normal(size=(6, 3, WIDTH))[labels[:, 0], labels[:, 1]]  # in place of the first alone
    found = unseen_combinations(slots, labels, groups=GROUPS)
    assert found["difference"][0] < -0.2
    assert found["difference"][2] > -0.05


def test_what_leaves_too_few_to_learn_from_is_not_told(labels, rng):
    rare = (np.arange(N) < 6).astype(int)
    found = unseen_combinations(apart(labels, rng, 0.1), np.column_stack([labels[:, 0], rare]), groups=GROUPS)
    assert found["unseen"][0] > 0.9  # without the rare value; without the frequent one there is nothing to learn from
    twice = np.stack([rare, rare], axis=1)
    few = unseen_combinations(apart(labels, rng, 0.1)[:25], twice[:25], groups=GROUPS[:25] * 0 + np.arange(25) // 4)
    assert np.isnan(few["unseen"]).all()
    assert np.isnan(few["low"]).all()


def test_numbers_are_read_too_and_refusals_are_plain(labels, rng):
    speed = rng.normal(size=N)
    slots = np.concatenate([apart(labels, rng, 0.1), np.repeat(speed[:, None, None], WIDTH, axis=2)], axis=1)
    schema = [Factor(name="speed", kind="continuous"), Factor(name="mood")]
    found = unseen_combinations(slots, np.column_stack([speed, labels[:, 0]]), schema=schema, groups=GROUPS)
    assert found["unseen"].min() > 0.9
    with pytest.raises(InputError, match="no combinations"):
        unseen_combinations(slots, labels[:, :1])
    with pytest.raises(InputError, match=r"give finite values \[n, K, d\]"):
        unseen_combinations(np.zeros((N, 2)), labels)
