"""Decoder swaps of rendered clips, with a mock decoder whose every slot does a known thing."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from m2l2_mir.disentangle.attributes import ESTIMATORS
from m2l2_mir.disentangle.blocks import Block
from m2l2_mir.disentangle.decision import describe_swaps
from m2l2_mir.disentangle.decoders import decoder_of, has_trained_decoder
from m2l2_mir.disentangle.factors import Factor
from m2l2_mir.disentangle.sources import Source
from m2l2_mir.disentangle.swap_examples import write_examples
from m2l2_mir.disentangle.swapping import SwapPlan, controllable, swap_slots
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig

RATE, CHUNK, CLIPS, K, D = 22050, 8192, 60, 3, 2
PLAN = SwapPlan(chunks=1, pairs=10, seeds=2, null_swaps=2)
CHOSEN = {name: ESTIMATORS[name] for name in ("level", "pitch", "tempo")}


def decode(embeddings, noise):
    """A tone: slot 1 sets its level, slot 2 its pitch, slot 3 nothing; a little noise from the seed."""
    rng, time = np.random.default_rng(noise), np.arange(CHUNK) / RATE
    chunks = []
    for one in embeddings:
        amplitude, frequency = 10 ** (one[0, 0] / 4 - 1.5), 220 * 2 ** (one[1, 0] / 12)
        tone = sum(np.sin(2 * np.pi * frequency * harmonic * time) / harmonic**2 for harmonic in (1, 2, 3))
        chunks.append(amplitude * (tone + 1e-3 * rng.standard_normal(CHUNK)))
    return np.concatenate(chunks)


@pytest.fixture
def given(tmp_path, rng):
    """A source, its clips and their block."""
    ids = [f"c{number}" for number in range(CLIPS)]
    codes = pd.DataFrame(
        {"level": rng.integers(0, 5, CLIPS), "pitch": rng.integers(0, 12, CLIPS)}, index=ids, dtype=float
    )
    slots = 0.01 * rng.standard_normal((CLIPS, 1, K, D))
    slots[:, 0, 0, 0] += codes["level"]
    slots[:, 0, 1, 0] += codes["pitch"]
    slots[:, 0, 2] += rng.standard_normal((CLIPS, D))
    kept = dict(zip(ids, slots, strict=True))
    for name, one in kept.items():
        soundfile.write(tmp_path / f"{name}.wav", decode(one, 99), RATE)
    block = Block(
        name="one chunk",
        track_ids=ids,
        factors=codes.to_numpy(),
        groups=[f"g{number % 4}" for number in range(CLIPS)],
        schema=(Factor(name="level"), Factor(name="pitch")),
        strata=("global", "local"),
        values=(tuple("abcde"), tuple("abcdefghijkl")),
        pairs=pd.DataFrame(columns=["before", "after", "changed", "group", "value_before", "value_after"]),
        codes=codes,
    )
    source = Source(
        name="own",
        kind="model",
        about="",
        shape=(K, D),
        slots_of=lambda names: np.stack([kept[name][0] for name in names]),
        identity={"weights": "own"},
        store=SimpleNamespace(chunks=kept.__getitem__),
    )
    tracks = pd.DataFrame({"track_id": ids, "chunks": 1, "path": [str(tmp_path / f"{name}.wav") for name in ids]})
    return source, SimpleNamespace(tracks=tracks), block


def cells(best):
    """P1 that names the slot of each factor."""
    return [
        {"row": "own", "slot": slot + 1, "factor": factor, "information": float(best[factor] == slot)}
        for slot in range(K)
        for factor in best
    ]


def test_swaps_move_what_slots_hold_and_are_told_with_calibration(given, tmp_path, monkeypatch):
    source, dataset, block = given
    arguments = (decode, RATE, source, dataset, [block], tmp_path / "parts")
    [found] = swap_slots(*arguments, plans=[PLAN], estimators=CHOSEN)
    assert found["attributes"] == ["level", "pitch"]  # no factor of these clips for tempo
    assert np.array(found["moved"]) == pytest.approx(np.eye(3)[:, :2], abs=0.01)
    groups = dict(zip(block.track_ids, block.groups, strict=True))
    for pair in found["pairs"]:
        assert groups[pair["host"]] == pair["group"] != groups[pair["donor"]]
        assert (block.codes.loc[pair["host"]] != block.codes.loc[pair["donor"]]).all()
    for line in found["calibration"]:
        assert line["renders"] > 0.9
        assert line["reconstructions"] > 0.9
    monkeypatch.setattr("m2l2_mir.disentangle.swapping.intervene", lambda *_, **__: pytest.fail("decoded again"))
    assert swap_slots(*arguments, plans=[PLAN], estimators=CHOSEN) == [found]


def test_the_slot_that_slot_scores_name_decides(given, tmp_path):
    source, dataset, block = given
    found = swap_slots(decode, RATE, source, dataset, [block], tmp_path, plans=[PLAN], estimators=CHOSEN)
    right = controllable(found, cells({"level": 0, "pitch": 1}), "own")
    assert right["controllable"]
    assert right["slots"] == {"level": 1, "pitch": 2}
    assert right["estimate"] > 0.4
    assert "level by slot 1, pitch by slot 2" in describe_swaps("own", right)
    wrong = controllable(found, cells({"level": 2, "pitch": 2}), "own")
    assert not wrong["controllable"]
    for one in found:
        for line in one["calibration"]:
            line["reconstructions"] = 0.2
    assert controllable(found, cells({"level": 0, "pitch": 1}), "own") is None
    assert "nothing follows" in describe_swaps("own", None)


def test_examples_play_the_swap_that_moves_most(given, tmp_path):
    source, dataset, block = given
    [found] = swap_slots(decode, RATE, source, dataset, [block], tmp_path, plans=[PLAN], estimators=CHOSEN)
    written = write_examples(decode, RATE, source, [block], found, tmp_path / "swaps", "own")
    assert [one["title"].split()[0] for one in written] == ["host", "donor", "host", "host"] * 2
    heard = {}
    for one in written[:3]:
        samples, rate = soundfile.read(tmp_path / "swaps" / one["file"])
        heard[one["file"].split("-")[2]] = {name: CHOSEN[name].measure(samples, rate) for name in ("level", "pitch")}
    moved = "level" if "level" in written[2]["title"] else "pitch"
    assert heard["swap.wav"][moved] == pytest.approx(heard["donor.wav"][moved], abs=0.1)
    found["transfer"] = [[None] * 2] * K
    assert write_examples(decode, RATE, source, [block], found, tmp_path / "none", "own") == []


def test_a_decoder_is_trained_where_a_stage_reached_it():
    model = Music2Latent2(ModelConfig.preset("m2l2-tiny"))
    assert not has_trained_decoder(model)
    model.weights_id = "official"
    assert has_trained_decoder(model)
    for weight, start, steps, trained in ((0.0, 0.0, 90, False), (1.0, 0.5, 40, False), (1.0, 0.5, 60, True)):
        recipe = {"consistency_weight": weight, "consistency_from": start, "steps": 100}
        model.metadata["stages"] = json.dumps([{"recipe": recipe, "stretches": [{"to_step": steps}]}])
        assert has_trained_decoder(model) is trained
    audio = decoder_of(model)(np.zeros((2, 8, 64)), 0)
    assert audio.shape == (2 * model.config.chunk_samples,)
