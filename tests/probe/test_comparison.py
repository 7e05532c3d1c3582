"""Rows of a table are compared on the same items, as one family."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe.comparison import as_one_family, compare_rows, holm, paired_bootstrap, score_rows
from m2l2_mir.probe.statistics import cluster_bootstrap

TRACKS = 120


@pytest.fixture
def table(rng) -> pd.DataFrame:
    """A model, its near twin, and two rows worse by about .1 and .5, on 40 groups of three tracks and two seeds."""
    model = rng.random(TRACKS) < 0.8
    right = {"majority": rng.random(TRACKS) < 0.3, "model": model, "worse": model & (rng.random(TRACKS) < 0.87)}
    right["twin"] = model.copy()
    right["twin"][[3, 50]] ^= True
    frames = []
    for row, once in right.items():
        for seed in range(2):
            flipped = once ^ (rng.random(TRACKS) < 0.02)
            tracks = {"track_id": [f"t{i:03}" for i in range(TRACKS)], "group": np.arange(TRACKS) // 3}
            frames.append(pd.DataFrame({"row": row, "seed": seed, **tracks, "accuracy": flipped.astype(float)}))
    return pd.concat(frames, ignore_index=True)


def test_holm_as_worked() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and the last may not fall below .06.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.7, 0.01]), [1.0, np.nan, 1.0, 0.03])
    assert holm([]).shape == (0,)


def test_compare_rows(table) -> None:
    result = compare_rows(table, "model", "accuracy").set_index("row")
    assert list(result.index) == ["majority", "worse", "twin"]
    assert list(result["mark"]) == ["", "", "not distinguishable"]
    means = table.groupby("row")["accuracy"].mean()
    np.testing.assert_allclose(result["difference"], means[result.index] - means["model"], atol=1e-12)
    np.testing.assert_allclose(result["p_holm"], holm(result["p"]))
    assert (result["high"][:2] < 0).all()
    assert result["low"]["twin"] < 0 < result["high"]["twin"]
    assert set(result[["groups", "scored", "expected"]].itertuples(index=False, name=None)) == {(40, TRACKS, TRACKS)}


def test_tables_of_one_task_are_one_family() -> None:
    first, second = (pd.DataFrame({"row": ["a", "b"], "p": p, "low": 0.0}) for p in ([0.01, 0.02], [0.03, np.nan]))
    alone = as_one_family([first])[0]
    assert alone["mark"].tolist() == ["", ""]
    together = as_one_family([alone, second])
    assert list(together[0].columns) == ["row", "p", "p_holm", "mark", "low"]
    np.testing.assert_allclose(together[0]["p_holm"], [0.03, 0.04])
    np.testing.assert_allclose(together[1]["p_holm"], [0.04, np.nan])
    harsher = as_one_family([first * 2, second])[0]
    assert harsher["mark"].tolist() == ["not distinguishable"] * 2


def test_fits_are_a_sample_in_comparisons_too(table) -> None:
    given, refitted = (
        compare_rows(table, "model", "accuracy", tested_per_trained=ratio).set_index("row") for ratio in (None, 1.0)
    )
    ratio = (refitted["high"] - refitted["low"]) / (given["high"] - given["low"])
    assert ratio.between(np.sqrt(2), 2).all()
    assert (refitted["p"] > given["p"]).all()
    scored = [score_rows(table, "accuracy", tested_per_trained=ratio) for ratio in (None, 1.0)]
    assert (scored[1]["low"] < scored[0]["low"]).all()
    assert (scored[1]["seed_std"] == scored[0]["seed_std"]).all()


def test_rows_are_compared_in_pairs(table) -> None:
    wide = table.pivot(index=["row", "seed"], columns="track_id", values="accuracy")
    groups = np.arange(TRACKS) // 3
    pair = paired_bootstrap(wide.loc["worse"], wide.loc["model"], groups)
    line = compare_rows(table.sample(frac=1, random_state=1), "model", "accuracy").set_index("row").loc["worse"]
    assert (pair.difference.low, pair.difference.high, pair.p) == (line["low"], line["high"], line["p"])
    apart = [cluster_bootstrap(wide.loc[row], groups) for row in ("worse", "model")]
    unpaired = np.hypot(*(one.high - one.low for one in apart))
    assert pair.difference.high - pair.difference.low < 0.8 * unpaired


def test_score_rows(table) -> None:
    table.loc[(table["row"] == "worse") & (table["track_id"] == "t007"), "accuracy"] = np.nan
    result = score_rows(table, "accuracy", bounds=(0, 1)).set_index("row")
    assert list(result.index) == ["majority", "model", "worse", "twin"]
    assert list(result["scored"]) == [TRACKS, TRACKS, TRACKS - 1, TRACKS]
    assert set(result["expected"]) == {TRACKS}
    by_seed = table[table["row"] == "worse"].groupby("seed")["accuracy"].mean()
    assert result["seed_std"]["worse"] == pytest.approx(by_seed.std())
    assert set(result["seeds"]) == {2}
    wide = table[table["row"] == "model"].pivot(index="seed", columns="track_id", values="accuracy")
    alone = cluster_bootstrap(wide, np.arange(TRACKS) // 3)
    assert (result["low"]["model"], result["high"]["model"]) == (alone.low, alone.high)


def test_unequal_sets_are_refused(table) -> None:
    worse = table["row"] == "worse"
    lacking = table[~(worse & table["track_id"].isin([f"t{i:03}" for i in range(5)]) & (table["seed"] == 1))]
    with pytest.raises(InputError, match=r"'worse' .* lacks 5 tracks \(t000, t001, t002 and 2 more\) in 1 seeds \(1\)"):
        compare_rows(lacking, "model", "accuracy")
    with pytest.raises(InputError, match=r"alone has 5 tracks"):
        compare_rows(lacking, "worse", "accuracy")
    with pytest.raises(InputError, match=r"1 values .* at \[1\]"):
        paired_bootstrap([1.0, np.nan], [1.0, 0.0])
    with pytest.raises(InputError, match="same items"):
        paired_bootstrap([1.0, 0.0], [1.0])


def test_tables_that_do_not_fit_are_refused(table) -> None:
    with pytest.raises(InputError, match=r"no row 'modle'.*model"):
        compare_rows(table, "modle", "accuracy")
    with pytest.raises(InputError, match="no column 'f1'"):
        score_rows(table, "f1")
    with pytest.raises(InputError, match="occur twice"):
        score_rows(pd.concat([table, table[:1]]), "accuracy")
    with pytest.raises(InputError, match="several groups: t000;"):
        score_rows(table.assign(group=[99, *table["group"][1:]]), "accuracy")
    with pytest.raises(InputError, match="empty"):
        score_rows(table[:0], "accuracy")


def test_what_cannot_be_tested_is_marked(table) -> None:
    result = compare_rows(table.assign(group="one"), "model", "accuracy")
    assert set(result["mark"]) == {"not tested"}
    alone = compare_rows(table[table["row"] == "model"], "model", "accuracy")
    assert alone.empty
    assert "p_holm" in alone
