"""Comparison of two arms and the decision rule."""

import math

import numpy as np
import pytest
from scipy import stats

from m2l2_mir.disentangle.compare import Arm, compare_arms
from m2l2_mir.disentangle.decision import decide, describe
from m2l2_mir.disentangle.evidence import ItemScores, drawn_weights
from m2l2_mir.disentangle.paired import bca_interval, sign_flip_p
from m2l2_mir.errors import InputError

K, F, N = 4, 4, 240
GROUPS = [f"g{item % 24}" for item in range(N)]


def arm(purity, seed=0, null=0.0):
    """Slot k tells `purity` more of factor k than of the others; information of all slots is .9 whatever the purity."""
    rng = np.random.default_rng(seed)
    score = 0.2 + purity * 0.7 * np.eye(K, F) - 0.1 * purity
    noise = rng.normal(0, 0.2, (N, K, F))
    slots = ItemScores(
        kind="information", names=tuple("abcd"), top=1 - score + noise, bottom=np.ones((N, F)), groups=GROUPS
    )
    whole = ItemScores(
        kind="information",
        names=tuple("abcd"),
        top=0.1 + 0.1 * rng.normal(size=(N, 1, F)),
        bottom=np.ones((N, F)),
        groups=GROUPS,
    )
    belongs = np.eye(F)[np.arange(N) % F]
    moved = np.clip(score + noise[:, :, 0, None], 0, None) * belongs[:, None]
    pairs = ItemScores(kind="change", names=tuple("abcd"), top=moved, bottom=belongs, groups=GROUPS)
    return Arm(slots=slots, whole=whole, pairs=pairs, null=dict.fromkeys(("P1 D", "P1 C", "P2 D", "P2 C"), null))


def test_a_purer_arm_is_above_and_a_pair_of_checkpoints_is_said_to_be_no_more():
    found = compare_arms([arm(0.9)], [arm(0.2, seed=1)], draws=300)
    assert found["P1 D"]["above"]
    assert found["P2 D"]["above"]
    assert not found["P1 D"]["equivalent"]
    assert found["P1 D"]["p"] < 0.01
    assert abs(found["information"]["difference"]) < 0.03
    assert found["information"]["equivalent"]
    verdict = decide(found, names=("a", "b"), beats_null=True)
    assert verdict.decision == "yes"
    assert "describes these checkpoints only" in verdict.sentence
    assert "One pair" in verdict.sentence


def test_equal_arms_are_equivalent_and_the_other_way_round_is_opposite():
    same = compare_arms([arm(0.6)], [arm(0.6, seed=1)], draws=300)
    assert decide(same, names=("a", "b"), beats_null=True).decision == "equivalent"
    turned = compare_arms([arm(0.2)], [arm(0.9, seed=1)], draws=300)
    assert decide(turned, names=("a", "b"), beats_null=True).decision == "opposite"


def test_eight_pairs_of_seeds_speak_of_seeds_with_the_least_p_that_they_can_give():
    first = [arm(0.9, seed=seed) for seed in range(8)]
    second = [arm(0.4, seed=100 + seed) for seed in range(8)]
    found = compare_arms(first, second, draws=200)
    assert found["P1 D"]["p"] == pytest.approx(2 / 2**8)
    sentence = decide(found, names=("a", "b"), beats_null=True).sentence
    assert "8 pairs of seeds" in sentence
    assert "only" not in sentence


def test_the_null_of_each_model_is_taken_off():
    plain = compare_arms([arm(0.8)], [arm(0.8)], draws=50)["P1 D"]
    shifted = compare_arms([arm(0.8)], [arm(0.8, null=0.3)], draws=50)["P1 D"]
    assert plain["difference"] == 0
    raw = plain["first"]
    assert shifted["second"] == pytest.approx((raw - 0.3) / 0.7)


def test_arms_must_be_paired_and_have_heard_the_same():
    with pytest.raises(InputError, match="2 models against 1"):
        compare_arms([arm(0.5), arm(0.5)], [arm(0.5)])
    other = arm(0.5)
    fewer = Arm(slots=other.slots.of("abc"), whole=other.whole, pairs=other.pairs)
    with pytest.raises(InputError, match="other clips"):
        compare_arms([arm(0.5)], [fewer], draws=5)


def line(difference, half=0.02):
    low, high = difference - half, difference + half
    return {
        "first": 0.5 + difference, "second": 0.5,
        "difference": difference, "low": low, "high": high, "above": low > 0, "below": high < 0,
        "equivalent": low > -0.05 and high < 0.05, "pairs": 1, "p": 0.5, "groups": 9,
    }  # fmt: skip


def compared(p1=0.0, p2=0.0, c1=0.0, c2=0.0, information=0.0, half=0.02):
    values = {"P1 D": p1, "P2 D": p2, "P1 C": c1, "P2 C": c2, "information": information}
    return {name: line(value, half) for name, value in values.items()}


@pytest.mark.parametrize(
    ("given", "options", "decision"),
    [
        (compared(0.2, 0.2), {}, "yes"),
        (compared(0.2, 0.2), {"beats_null": False}, "no better than its null"),
        (compared(0.2, 0.2), {"bases": {"DCT": compared(0.2, 0.2), "PCA": compared(0.01, 0.2)}}, "change of basis"),
        (compared(0.2, 0.2, information=-0.04), {}, "less informative"),
        (compared(0.2, 0.2), {"controllable": False}, "not controllable"),
        (compared(0.2, 0.0), {}, "probe artefact"),
        (compared(0.0, 0.2), {}, "probe artefact"),
        (compared(0.2, -0.2), {}, "probe artefact"),
        (compared(c1=0.2, c2=0.2), {}, "only compaction"),
        (compared(-0.2, -0.2), {}, "opposite"),
        (compared(), {}, "equivalent"),
        (compared(half=0.1), {}, "no difference shown"),
        (compared(0.2, 0.2, half=0.3), {}, "no difference shown"),
        ({**compared(0.2, 0.2), "P2 D": line(0.1, 0.15)}, {}, "no difference shown"),  # one is shown, one is not yet
        (compared(c1=0.2, c2=0.2, half=0.1), {}, "no difference shown"),
        ({**compared(0.2, 0.2), "information": line(0.0, 0.02) | {"second": 0.01}}, {}, "too little told"),
        (compared(math.nan, 0.2), {}, "not decided"),
    ],
)
def test_the_rule(given, options, decision):
    verdict = decide(given, names=("a", "b"), **{"beats_null": True, **options})
    assert verdict.decision == decision
    assert f"({decision})" in verdict.sentence


def test_bca_is_that_of_scipy_and_a_one_sided_bootstrap_falls_back():
    values = np.random.default_rng(0).exponential(size=80)
    peer = stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1))
    left = (values.sum() - values) / 79
    ours = bca_interval(values.mean(), peer.bootstrap_distribution, left)
    assert ours == pytest.approx(tuple(peer.confidence_interval), rel=1e-3)
    biased = bca_interval(values.mean(), peer.bootstrap_distribution + 5, left)
    assert biased[0] < values.mean() < biased[1]


def test_sign_flips_are_exact_for_few_and_two_sided():
    assert sign_flip_p([1.0, 1.0, 1.0]) == 0.25
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert math.isnan(sign_flip_p([1.0]))
    assert sign_flip_p(np.full(40, 0.1)) < 0.001


def test_draws_are_of_groups_with_all_their_clips():
    weights = drawn_weights(["a"] * 3 + ["b"] * 3, 200, seed=1)
    assert set(weights[:, :3].sum(axis=1)) == {0, 3, 6}
    assert (weights[:, :3] != weights[:, :1]).any()  # clips of a group are drawn as well


@pytest.mark.parametrize(("estimate", "verdict"), [(0.6, "purer than chance on both"), (0.52, "no purer than random")])
def test_purer_than_chance_is_more_than_the_margin(estimate, verdict):
    line = {"row": "a", "stratum": "global", "low": estimate - 0.01, "high": estimate + 0.01, "estimate": estimate}
    null = {"rotation_mean": 0.5, "rotation_95": 0.51, "rotation_normalised": (estimate - 0.5) / 0.5}
    scores = [line | null | {"score": "P1 D"}, line | null | {"score": "P2 D"}, line | {"score": "information"}]
    assert verdict in describe({"model": "a", "scores": scores}, "global")
