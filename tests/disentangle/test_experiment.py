"""What a comparison does with its parts: the null of the first arm, p-values of several strata, few movable labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from m2l2_mir.disentangle import experiment, strata_comparison
from m2l2_mir.disentangle.cautions import moved_notes
from m2l2_mir.disentangle.experiment import Analysis, run_analysis

WHATS = ("P1 D", "P1 C", "P2 D", "P2 C", "information")


def compared(p):
    line = {"first": 0.6, "second": 0.4, "difference": 0.2, "low": 0.1, "high": 0.3, "above": True, "below": False}
    return {what: {**line, "p": p, "equivalent": False, "pairs": 8, "groups": 20} for what in WHATS}


@pytest.fixture
def comparison(monkeypatch):
    """From p-values against random rotations to the comparison of two arms in three strata."""
    found = iter((compared(0.01), compared(0.02), compared(0.03)))
    monkeypatch.setattr(strata_comparison, "compare_arms", lambda *_: next(found))
    strata = ("global", "local", "sequence")
    arms = {(name, stratum): None for name in ("ours", "theirs") for stratum in strata}

    def make(*rotation_p):
        scores = [
            {"row": "ours", "stratum": "global", "score": what, "rotation_p": p, "rotation_normalised": 0.4}
            for what, p in zip(("P1 D", "P2 D"), rotation_p, strict=True)
        ]
        return strata_comparison.compare_strata(["ours"], ["theirs"], {}, arms, strata, "global", scores, None)

    return make


def test_strata_beside_the_primary_one_are_adjusted_together(comparison):
    strata = comparison(0.02, 0.02)["comparison"]["strata"]
    assert "p_holm" not in strata["global"]["P1 D"]
    # Four tests: D of two measures in two strata, with p of .02, .02, .03, .03.
    assert strata["local"]["P1 D"]["p_holm"] == pytest.approx(0.08)
    assert strata["sequence"]["P2 D"]["p_holm"] == pytest.approx(0.08)


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
