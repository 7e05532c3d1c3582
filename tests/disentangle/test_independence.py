"""Factors that share something are found, whatever groups they are constant in, and others are not."""

import numpy as np
import pytest

from m2l2_mir.disentangle.factors import Factor, read_factors
from m2l2_mir.disentangle.independence import dependent_factors


@pytest.fixture
def labels(rng):
    return rng.integers(0, 4, size=(240, 3)).astype(float)


def test_dependence_is_found_and_measured(labels):
    copied = np.column_stack([labels, labels[:, 1] // 2])
    [found] = dependent_factors(read_factors(copied, items=240), permutations=40)
    assert (found.one, found.other) == ("1", "3")
    assert found.shared == pytest.approx(1)  # the coarser one is told entirely
    assert found.bound < 0.1


def test_independent_factors_and_those_of_few_groups_pass(labels):
    assert dependent_factors(read_factors(labels, items=240), permutations=40) == []
    groups = np.arange(240) // 20
    of_groups = np.array([[0, 0]] * 4 + [[0, 1]] * 2 + [[1, 0]] * 2 + [[1, 1]] * 4)[groups].astype(float)
    columns = read_factors(of_groups, items=240)
    assert dependent_factors(columns, groups, permutations=40) == []
    assert (
        len(dependent_factors(columns, permutations=40)) == 1
    )  # 240 clips would be taken for evidence; 12 groups are not
    assert dependent_factors(columns[:1]) == []


def test_numbers_are_cut_into_levels(rng):
    speed = rng.normal(size=300)
    table = np.column_stack([speed, (speed > np.median(speed)).astype(float)])
    schema = [Factor(name="speed", kind="continuous"), Factor(name="fast")]
    [found] = dependent_factors(read_factors(table, schema, items=300), permutations=40)
    assert found.shared == pytest.approx(1, abs=0.05)
