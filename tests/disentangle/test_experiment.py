"""What a comparison does with its parts: the null of the first arm, p-values of several strata, few movable labels."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from m2l2_mir.disentangle import experiment, strata_comparison
from m2l2_mir.disentangle.cautions import dead_slot_notes, moved_notes
from m2l2_mir.disentangle.experiment import Analysis, run_analysis
from m2l2_mir.disentangle.results import comparison_table

WHATS = ("P1 D", "P1 C", "P2 D", "P2 C", "information")


def compared(p):
    line = {"first": 0.6, "second": 0.4, "difference": 0.2, "low": 0.1, "high": 0.3, "above": True, "below": False}
    return {what: {**line, "p": p, "equivalent": False, "pairs": 8, "groups": 20} for what in WHATS}


STRATA = ("global", "local", "sequence", "all")


@pytest.fixture
def comparison(monkeypatch):
    """From p-values against random rotations to the comparison of two arms in four strata."""

    def make(*rotation_p, p=(0.03, 0.005, 0.03, 0.005), bases=None):
        found = iter(map(compared, (*p, *p)))
        monkeypatch.setattr(strata_comparison, "compare_arms", lambda *_: next(found))
        scores = [
            {"row": "ours", "stratum": "global", "score": what, "rotation_p": p, "rotation_normalised": 0.4}
            for what, p in zip(("P1 D", "P2 D"), rotation_p, strict=True)
        ]
        return strata_comparison.compare_strata(["ours"], ["theirs"], bases or {}, arms, STRATA, "global", scores, None)

    arms = {(name, stratum): None for name in ("ours", "theirs") for stratum in STRATA}
    return make


def test_strata_beside_the_primary_one_are_adjusted_together(comparison):
    strata = comparison(0.02, 0.02)["comparison"]["strata"]
    assert "p_holm" not in strata["global"]["P1 D"] | strata["all"]["P1 D"]
    # Four tests: D of two measures in two strata, with p of .005, .005, .03, .03.
    assert strata["local"]["P1 D"]["p_holm"] == pytest.approx(0.02)
    assert strata["sequence"]["P2 D"]["p_holm"] == pytest.approx(0.06)
    assert strata["local"]["P1 D"]["above"]
    assert not strata["sequence"]["P2 D"]["above"]


def test_marks_go_by_adjusted_p_and_what_is_not_tested_has_none(comparison):
    found = comparison(0.02, 0.02, bases={"DCT": ["theirs"]})
    table = comparison_table(found)
    marked = table[table["first is"] != ""]
    assert set(marked["first is"]) == {"higher"}
    purity = ["slot scores: D", "counterfactual: D"]
    assert list(zip(marked["stratum"], marked["score"], strict=True)) == [
        (stratum, score) for stratum in ("global", "local", "global, against DCT") for score in purity
    ]
    few = comparison_table(comparison(0.02, 0.02, p=(math.nan,) * 4))  # pairs of seeds: intervals alone
    assert set(few.loc[few["first is"] != "", "stratum"]) == {"global"}


def test_a_small_difference_is_marked_as_within_the_margin_and_raw_scores_stand_beside(comparison):
    found = comparison(0.02, 0.02)
    raw = {"first_raw": 0.17, "first_null": 0.16, "second_raw": 0.18, "second_null": 0.2}
    found["comparison"]["strata"]["global"]["P1 D"] |= {"equivalent": True, **raw}
    first = comparison_table(found).iloc[0]
    assert first["first is"] == "higher, within the margin"
    assert (first["first, raw (rotations)"], first["second, raw (rotations)"]) == (".17 (.16)", ".18 (.20)")


@pytest.mark.parametrize(("rotation_p", "beats"), [((0.02, 0.02), True), ((0.02, 0.2), False), ((0.02, None), False)])
def test_the_first_arm_must_beat_its_own_rotations_on_both_measures(comparison, rotation_p, beats):
    found = comparison(*rotation_p)
    assert found["comparison"]["beats_null"] is beats
    assert found["decision"] == ("yes" if beats else "no better than its null")


def test_labels_that_cannot_move_are_told():
    measured = SimpleNamespace(arrays={"moved": np.array([1.0, 0.2])})
    [note] = moved_notes([measured], [SimpleNamespace(names=("mood", "room"))])
    assert "room change only 0.20" in note


def test_native_tokens_have_fewer_draws_than_models(monkeypatch, tmp_path):
    asked = {}

    class Enough(Exception):
        pass

    def part(source, block, nulls, parts):
        asked[source.name] = nulls
        if source.name == "inside":
            raise Enough

    monkeypatch.setattr(experiment, "_part", part)
    model, native, inside = (
        SimpleNamespace(name=name, kind=kind, failed={})
        for name, kind in (("own", "model"), ("tokens", "native"), ("inside", "rotated"))
    )
    block = SimpleNamespace(without=lambda failed: block)
    analysis = Analysis(blocks=[block], first=[model], bases={}, controls=[native], inside=inside)
    with pytest.raises(Enough):
        run_analysis(analysis, tmp_path)
    assert (asked["own"].rotations, asked["own"].permutations) == (50, 200)
    assert (asked["tokens"].rotations, asked["tokens"].permutations) == (20, 50)
    assert asked["inside"].rotations == 0


def test_a_slot_that_tells_nothing_or_moves_too_far_is_told():
    slots, factors = 4, 3
    information, change = np.full((slots, factors), 0.3), np.full((slots, factors), 1.5)
    information[1], change[3, 2] = (0.02, 0.02, 0.1), 4.5
    measured = [
        SimpleNamespace(slots=SimpleNamespace(matrix=information), pairs=SimpleNamespace(matrix=change)),
        SimpleNamespace(slots=SimpleNamespace(matrix=information[:, :1]), pairs=SimpleNamespace(matrix=change[:, :0])),
    ]
    still, far = dead_slot_notes("a", measured)
    assert still.startswith("a, slot 2, is nearly dead: it tells .04 of the factors on average (its median slot .30)")
    assert far.startswith("a, slot 4, ")
    assert "by up to 4.5" in far
    assert not dead_slot_notes("a", measured[1:])[1:]
