"""Comparison of two arms and the decision rule."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from m2l2_mir.disentangle.compare import Arm, compare_arms
from m2l2_mir.disentangle.decision import decide, describe
from m2l2_mir.disentangle.evidence import Evidence
from m2l2_mir.disentangle.paired import sign_flip_p, spread_of
from m2l2_mir.errors import InputError

K, F = 4, 4


def arm(purity, seed=0, rotated=0.0, shift=0.0):
    """Slot k tells `purity` more of factor k than of the others; information of all slots is .9 whatever the purity."""
    rng = np.random.default_rng(seed)
    score = 0.2 + (purity + shift) * 0.7 * np.eye(K, F) - 0.1 * purity

    def evidence(kind, matrix, rotations):
        left_out = np.clip(matrix + rng.normal(0, 0.002, (10, *matrix.shape)), 0, None)
        return Evidence(
            kind=kind,
            names=tuple("abcd"),
            matrix=matrix,
            left_out=left_out,
            rotations=rotations,
            permutations=np.zeros((0, *matrix.shape)),
            items=240,
            groups=24,
        )

    mixed = np.tile(0.2 + rotated * 0.7 * np.eye(K, F) - 0.1 * rotated, (5, 1, 1))
    return Arm(
        slots=evidence("information", score + rng.normal(0, 0.003, (K, F)), mixed),
        whole=evidence("information", np.full((1, F), 0.9), np.zeros((0, 1, F))),
        pairs=evidence("change", np.clip(score + rng.normal(0, 0.003, (K, F)), 0, None), mixed),
    )


def test_a_purer_arm_is_above_and_a_pair_of_checkpoints_is_said_to_be_no_more():
    found = compare_arms([arm(0.9)], [arm(0.2, seed=1)])
    assert found["P1 D"]["above"]
    assert found["P2 D"]["above"]
    assert not found["P1 D"]["equivalent"]
    assert math.isnan(found["P1 D"]["p"])
    assert abs(found["information"]["difference"]) < 0.03
    assert found["information"]["equivalent"]
    verdict = decide(found, names=("a", "b"), beats_null=True)
    assert verdict.decision == "yes"
    assert "The first checkpoint disentangles better" in verdict.sentence
    assert "describes these checkpoints only" in verdict.sentence
    assert "One pair" in verdict.sentence
    assert "no time basis of the other was tried" in verdict.sentence
    tried = decide(found, names=("a", "b"), beats_null=True, bases={"DCT": found}).sentence
    assert "no time basis" not in tried


def test_equal_arms_are_equivalent_and_the_other_way_round_is_opposite():
    same = compare_arms([arm(0.6)], [arm(0.6, seed=1)])
    assert decide(same, names=("a", "b"), beats_null=True).decision == "equivalent"
    turned = compare_arms([arm(0.2)], [arm(0.9, seed=1)])
    assert decide(turned, names=("a", "b"), beats_null=True).decision == "opposite"


def test_eight_pairs_of_seeds_speak_of_seeds_with_the_least_p_that_they_can_give():
    first = [arm(0.9, seed=seed) for seed in range(8)]
    second = [arm(0.4, seed=100 + seed) for seed in range(8)]
    found = compare_arms(first, second)
    assert found["P1 D"]["p"] == pytest.approx(2 / 2**8)
    assert found["P1 D"]["above"]
    sentence = decide(found, names=("a", "b"), beats_null=True).sentence
    assert "8 pairs of seeds" in sentence
    assert "checkpoint" not in sentence
    assert math.isnan(compare_arms(first[:7], second[:7])["P1 D"]["p"])


def test_with_eight_pairs_the_interval_is_over_seeds_and_clips():
    shifts = np.random.default_rng(5).normal(0, 0.06, 8)
    first = [arm(0.5, seed=seed, shift=shift) for seed, shift in enumerate(shifts)]
    second = [arm(0.5, seed=100 + seed) for seed in range(8)]
    found = compare_arms(first, second)["P1 D"]
    scores = [[float(one.scored("P1 D")[0]) for one in arms] for arms in (first, second)]
    over_seeds = stats.t.ppf(0.975, 7) * np.subtract(*scores).std(ddof=1) / np.sqrt(8)
    half = (found["high"] - found["low"]) / 2
    assert over_seeds < half < 1.5 * over_seeds
    fewer = compare_arms(first[:7], second[:7])["P1 D"]
    assert fewer["high"] - fewer["low"] < half  # of these checkpoints, over clips alone


def test_with_eight_pairs_an_interval_above_zero_needs_its_p_too():
    what = SimpleNamespace(names="ab", items=1, groups=1)

    def fixed(score):
        return SimpleNamespace(
            evidence=lambda _: what,
            scored=lambda _: (score, score + np.linspace(-0.001, 0.001, 10), 0.0),
            beside_null=lambda _: None,
        )

    found = compare_arms([fixed(score) for score in (1, 1, 1, 1, 1, -0.2, -0.2, -0.2)], [fixed(0.0)] * 8)["P1 D"]
    assert found["low"] > 0
    assert found["p"] == 16 / 256
    assert not found["above"]
    found = compare_arms([fixed(score) for score in (1, 1, 1, 1, 1, 1, 1, -0.1)], [fixed(0.0)] * 8)["P1 D"]
    assert found["above"]


def test_the_null_of_each_model_is_taken_off_and_counts_in_the_interval():
    plain = compare_arms([arm(0.8)], [arm(0.8)])["P1 D"]
    assert plain["difference"] == 0
    other = arm(0.8, rotated=0.5)
    null = float(other.slots.scores("rotations")["D"].mean())
    raw = float(other.slots.scores()["D"])
    shifted = compare_arms([arm(0.8)], [other])["P1 D"]
    assert 0.05 < null < raw
    assert shifted["second"] == pytest.approx((raw - null) / (1 - null))
    assert (shifted["second_raw"], shifted["second_null"]) == pytest.approx((raw, null))
    spread = replace(other.slots, rotations=other.slots.rotations + np.linspace(0, 0.3, 5)[:, None, None] * np.eye(K))
    assert other.scored("P1 D")[2] == pytest.approx(0, abs=1e-12)
    assert replace(other, slots=spread).scored("P1 D")[2] > 1e-5
    full = replace(other.slots, rotations=np.tile(np.eye(K), (5, 1, 1)))
    none = compare_arms([arm(0.8)], [replace(other, slots=full)])
    assert math.isnan(none["P1 D"]["difference"])  # rotations reach 1: nothing can be distinguished
    assert decide(none, names=("a", "b"), beats_null=True).decision == "not decided"


def test_arms_must_be_paired_and_have_heard_the_same():
    with pytest.raises(InputError, match="2 models against 1"):
        compare_arms([arm(0.5), arm(0.5)], [arm(0.5)])
    other = arm(0.5)
    fewer = Arm(slots=other.slots.of("abc"), whole=other.whole, pairs=other.pairs)
    with pytest.raises(InputError, match="other clips"):
        compare_arms([arm(0.5)], [fewer])


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


@pytest.mark.parametrize(
    ("given", "said"),
    [(compared(0.03, 0.0, half=0.01), True), (compared(0.03, 0.2, half=0.01), False), (compared(half=0.01), False)],
)
def test_a_difference_too_small_to_count_is_said_to_be_so(given, said):
    sentence = decide(given, names=("a", "b"), beats_null=False).sentence
    assert ("within the margin of 0.05 that counts as equal" in sentence) is said


def test_intervals_from_blocks_are_student_and_undefined_without_spread():
    left_out = np.random.default_rng(0).normal(0.5, 0.01, 10)
    spread = spread_of(0.5, left_out)
    assert spread.variance == pytest.approx(0.9 * np.square(left_out - left_out.mean()).sum())
    assert spread.bias == pytest.approx(9 * (left_out.mean() - 0.5))
    low, high = spread.interval(0.5)
    assert high - 0.5 == pytest.approx(stats.t.ppf(0.975, 9) * math.sqrt(spread.variance)) == 0.5 - low
    assert spread.interval(0.5, added=3 * spread.variance)[1] == pytest.approx(0.5 + 2 * (high - 0.5))
    assert spread.at_most(3).interval(0.5)[1] > high
    assert spread.interval(0.99, bounds=(0, 1))[1] == 1
    assert math.isnan(spread_of(1.0, np.ones(10)).interval(1.0)[0])
    assert math.isnan(spread_of(0.5, []).interval(0.5)[0])


def test_sign_flips_are_exact_for_few_and_two_sided():
    assert sign_flip_p([1.0, 1.0, 1.0]) == 0.25
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert math.isnan(sign_flip_p([1.0]))
    assert sign_flip_p(np.full(40, 0.1)) < 0.001


@pytest.mark.parametrize(
    ("estimate", "p", "verdict"),
    [
        (0.6, 1 / 21, "purer than chance on both"),
        (0.6, 1 / 11, "not shown to be purer"),  # above all of ten rotations is one in eleven
        (0.52, 1 / 21, "not shown to be purer"),  # by less than the margin
        (0.6, None, "nothing can be distinguished"),
    ],
)
def test_purer_than_chance_needs_enough_rotations_and_more_than_the_margin(estimate, p, verdict):
    line = {"row": "a", "stratum": "global", "low": estimate - 0.01, "high": estimate + 0.01, "estimate": estimate}
    null = {"rotation_mean": 0.5, "rotation_p": p or 1 / 21, "rotation_normalised": p and (estimate - 0.5) / 0.5}
    scores = [line | null | {"score": "P1 D"}, line | null | {"score": "P2 D"}, line | {"score": "information"}]
    assert verdict in describe({"model": "a", "scores": scores}, "global")


def test_joined_strata_have_the_columns_of_their_parts():
    one = arm(0.5).slots
    both = Evidence.joined([one.of("ab"), one.of("cd")])
    assert both.names == one.names
    assert np.array_equal(both.left_out, one.left_out)
    other = replace(one, left_out=one.left_out[:4])
    assert len(Evidence.joined([one, other]).left_out) == 0  # blocks that do not belong together
    with pytest.raises(InputError, match="no factor"):
        one.of(["e"])
