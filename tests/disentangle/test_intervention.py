"""Decoder swaps with a mock decoder whose every slot does a known thing."""

import numpy as np
import pytest

from m2l2_mir.disentangle.attributes import ESTIMATORS, calibrate
from m2l2_mir.disentangle.intervention import Swaps, _moved, intervene
from m2l2_mir.errors import InputError

RATE, CHUNK, PAIRS = 22050, 8192, 10
CHOSEN = {name: ESTIMATORS[name] for name in ("level", "pitch")}
K, D = 3, 4


def decode(embeddings, noise):
    """A tone: slot 1 sets its level, slot 2 its pitch, slot 3 nothing; a little noise from the seed."""
    rng = np.random.default_rng(noise)
    time = np.arange(CHUNK) / RATE
    chunks = []
    for one in embeddings:
        amplitude, frequency = 10 ** (one[0, 0] - 1.5), 220 * 2 ** ((one[1, 0] * 5) / 12)
        tone = sum(np.sin(2 * np.pi * frequency * harmonic * time) / harmonic**2 for harmonic in (1, 2, 3))
        chunks.append(amplitude * (tone + 1e-3 * rng.standard_normal(CHUNK)))
    return np.concatenate(chunks)


@pytest.fixture
def swaps(rng):
    hosts, donors = rng.uniform(-1, 1, size=(2, PAIRS, 1, K, D))
    return Swaps(
        hosts=hosts,
        donors=donors,
        reference=rng.uniform(-1, 1, size=(200, K, D)),
        groups=[str(n) for n in range(PAIRS)],
    )


def test_each_slot_moves_what_it_holds_and_nothing_else(swaps):
    found = intervene(decode, swaps, RATE, seeds=(0, 1), null_swaps=2, estimators=CHOSEN)
    assert found["moved"][0] == pytest.approx([1, 0])
    assert found["moved"][1] == pytest.approx([0, 1])
    assert found["moved"][2] == pytest.approx([0, 0])
    assert found["ceiling"] == pytest.approx([1, 1])
    assert found["floor"] == pytest.approx([0, 0])
    assert (found["null"] < 0.6).all()
    assert found["transfer"] == pytest.approx(found["moved"] - found["null"])
    assert found["low"][0, 0] > 0
    assert found["high"][2, 0] < found["low"][0, 0]
    assert (found["counted"] >= 5).all()


def test_only_what_follows_the_context_is_measured(swaps):
    for context in ("host", "donor"):
        found = intervene(decode, swaps, RATE, context=context, seeds=(0, 1), null_swaps=1, estimators=CHOSEN)
        assert found["moved"][0, 0] == 1
        assert found["moved"][2] == pytest.approx([0, 0])


def test_pairs_that_are_alike_do_not_count(swaps):
    same = Swaps(hosts=swaps.hosts, donors=swaps.hosts, reference=swaps.reference, groups=swaps.groups)
    found = intervene(decode, same, RATE, seeds=(0, 1), null_swaps=1, estimators=CHOSEN)
    assert found["counted"].tolist() == [0, 0]
    assert np.isnan(found["transfer"]).all()


def test_a_swap_half_way_between_host_and_donor_counts_half():
    level = ESTIMATORS["level"]
    host, donor = np.array([-30.0]), np.array([-10.0])
    for heard, share in ((-28.0, 0), (-20.0, 0.5), (-12.0, 1), (np.nan, 0.5)):
        assert _moved(np.array([heard]), host, donor, [level])[0] == share
    assert np.isnan(_moved(host, host, host, [level])[0])


def test_estimators_follow_known_sounds():
    time = np.arange(4 * RATE) / RATE
    for note in (57, 62, 69):
        tone = 0.3 * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time)
        assert ESTIMATORS["pitch"].distance(ESTIMATORS["pitch"].measure(tone, RATE), note % 12) < 0.2
        assert ESTIMATORS["level"].measure(tone, RATE) == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.05)
        assert ESTIMATORS["brightness"].measure(tone, RATE) == pytest.approx(np.log2(440) + (note - 69) / 12, abs=0.1)
    clicks = np.zeros(8 * RATE)
    clicks[:: RATE // 2] = 1.0  # 120 beats a minute
    assert ESTIMATORS["tempo"].measure(clicks, RATE) == pytest.approx(np.log2(120), abs=0.06)
    triad = sum(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in (62, 66, 69, 74))  # D major
    assert ESTIMATORS["tonic"].measure(triad, RATE) == 2
    assert np.isnan(ESTIMATORS["pitch"].measure(np.zeros(RATE), RATE))


def test_calibration_knows_circles_offsets_and_chance(rng):
    truth = rng.integers(0, 12, 300)
    pitch = ESTIMATORS["pitch"]
    assert calibrate((truth + 7) % 12, truth, pitch)["agreement"] == pytest.approx(1)
    assert calibrate(rng.integers(0, 12, 300), truth, pitch)["agreement"] < 0.15
    missing = calibrate(np.where(truth < 6, np.nan, truth), truth, ESTIMATORS["level"])
    assert missing["found"] == pytest.approx((truth >= 6).mean())


def test_refusals(swaps):
    with pytest.raises(InputError, match="do not fit"):
        Swaps(hosts=swaps.hosts, donors=swaps.donors[:2], reference=swaps.reference, groups=swaps.groups)
    with pytest.raises(InputError, match="two seeds"):
        intervene(decode, swaps, RATE, seeds=(0,))
    with pytest.raises(InputError, match="samples"):
        intervene(lambda embeddings, seed: np.zeros((2, 9)), swaps, RATE, seeds=(0, 1), estimators=CHOSEN)
