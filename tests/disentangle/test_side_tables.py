"""Tables of two arms say which factor the difference comes from, and no more than the pairs hold."""

import math

import numpy as np
from scipy import stats

from m2l2_mir.disentangle.side_tables import arms_table, seeds_table

PAIRS = 4
FACTORS = ("tempo", "chord")  # not in alphabetical order


def found(*, pairs=PAIRS):
    first, second = ([f"{arm}-{seed}" for seed in range(pairs)] for arm in ("a", "b"))
    told = [
        {"row": row, "factor": factor, "information": value + 0.1 * seed}
        for arm, values in ((first, (0.5, 0.2)), (second, (0.1, 0.2)))
        for seed, row in enumerate(arm)
        for factor, value in zip(FACTORS, values, strict=True)
    ]
    told[1]["information"] += 0.4  # chord of a-0: one pair of four differs
    told.append({"row": "oracle", "factor": "tempo", "information": 1.0})
    told.append({"row": "oracle", "factor": "chord", "information": None})
    return {"comparison": {"first": first, "second": second}, "told": told}


def test_factors_are_compared_pair_by_pair():
    table = arms_table(found()).set_index("factor")
    assert list(table.index) == list(FACTORS)
    assert table.loc["tempo", ["first", "second", "difference"]].tolist() == [".65", ".25", "+.40"]
    half = stats.t.ppf(0.975, PAIRS - 1) * np.std([0.4, 0, 0, 0], ddof=1) / math.sqrt(PAIRS)
    assert table.loc["chord", "95 %"] == f"[{0.1 - half:+.2f}, {0.1 + half:+.2f}]".replace("0.", ".")
    assert table["pairs above 0"].tolist() == ["4 of 4", "1 of 4"]


def test_one_pair_or_one_arm_has_no_such_table():
    assert arms_table(found(pairs=1)).empty
    assert arms_table({**found(), "comparison": None}).empty
    assert seeds_table({}).empty
    assert seeds_table({"seeds": {"first": None, "second": None}}).empty


def test_slots_of_other_seeds_stand_beside_exchanged_ones():
    seeds = {
        "first": {"first": "a-0", "others": ["a-1", "a-2"], "matched": [0.5, 0.75], "chance": 0.25},
        "second": None,
    }
    assert seeds_table({"seeds": seeds}).to_numpy().tolist() == [
        ["first", "a-0 with 2 more", ".50", ".62", ".75", ".25"]
    ]
