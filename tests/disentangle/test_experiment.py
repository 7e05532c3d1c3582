"""What a comparison does with its parts: the null of the first arm, p-values of several strata, few movable labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from m2l2_mir.disentangle import experiment

WHATS = ("P1 D", "P1 C", "P2 D", "P2 C", "information")


def compared(p):
    line = {"first": 0.6, "second": 0.4, "difference": 0.2, "low": 0.1, "high": 0.3, "above": True, "below": False}
    return {what: {**line, "p": p, "equivalent": False, "pairs": 8, "groups": 20} for what in WHATS}


@pytest.fixture
def comparison(monkeypatch):
    """From p-values against random rotations to the comparison of two arms in three strata."""
    found = iter((compared(0.01), compared(0.02), compared(0.03)))
    monkeypatch.setattr(experiment, "compare_arms", lambda *_: next(found))
    analysis = SimpleNamespace(first=[SimpleNamespace(name="ours")], second=[SimpleNamespace(name="theirs")], bases={})
    strata = {name: [] for name in ("global", "local", "sequence")}
    arms = {(name, stratum): None for name in ("ours", "theirs") for stratum in strata}

    def make(*rotation_p):
        scores = [
            {"row": "ours", "stratum": "global", "score": what, "rotation_p": p, "rotation_normalised": 0.4}
            for what, p in zip(("P1 D", "P2 D"), rotation_p, strict=True)
        ]
        return experiment._comparison(analysis, arms, strata, "global", scores, None)

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
    [note] = experiment._moved_notes([measured], [SimpleNamespace(names=("mood", "room"))])
    assert "room change only 0.20" in note
