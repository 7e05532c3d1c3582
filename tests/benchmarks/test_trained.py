"""Arms of one seed begin alike, and runs stay."""

from __future__ import annotations

import dataclasses
import importlib
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from m2l2_mir.audio import save
from m2l2_mir.model.checkpoint import load_model, random_model, save_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.corpus import Corpus
from m2l2_mir.training.monitors import TrainingStopped
from m2l2_mir.training.recordings import Collection, write_collections

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
RATE = 44_100


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("_trained")


@pytest.mark.parametrize(
    "changes", [{"context_chunks": 1}, {"context_chunks": 4}, {"causal": False}, {}], ids=["1", "4", "open", "same"]
)
def test_arms_begin_with_the_same_weights_and_decode_by_every_method(script, tmp_path: Path, changes: dict) -> None:
    config = ModelConfig.preset("m2l2-tiny")
    first, begun = tmp_path / "encoder.safetensors", tmp_path / "arm.safetensors"
    before = random_model(config, 3)
    before.weights_id = "sha256:trained"
    torch.nn.init.normal_(before.consistency.depatchifier.head.weight, std=0.1)  # zero at first: it would hear nothing
    save_model(before, first, metadata={"stages": "[]"})
    arm = config.replace(name="arm", **changes)
    script.moved(first, arm, begun, seed=7)
    model = load_model(begun, device="cpu")
    assert (model.trained, model.config, model.metadata["stages"]) == (True, arm, "[]")
    waveform = 0.1 * np.random.default_rng(0).normal(size=(1, 4 * config.chunk_samples)).astype(np.float32)
    latents = before.encode(waveform, RATE)
    assert torch.equal(model.encode(waveform, RATE), latents)
    # a single chunk sees no other: the same audio whatever the context or the mask
    alone = [each.decode(latents[:1], method="single-step") for each in (model, before)]
    assert torch.equal(*alone)
    decoded = {method: model.decode(latents, method=method) for method in ("two-step", "single-step", "parallel")}
    assert all(audio.isfinite().all() for audio in decoded.values())
    assert torch.equal(decoded["parallel"], before.decode(latents, method="parallel")) == (not changes)
    if arm.context_chunks == 1:  # nothing to refine
        assert torch.equal(decoded["two-step"], decoded["single-step"])


def test_configurations_come_back_from_their_file(script, tmp_path: Path) -> None:
    for config in (script.TINY, ModelConfig.preset("codicodec"), script.TINY.replace(name="open", causal=False)):
        assert ModelConfig.from_toml(script.model_file(config, tmp_path)) == config


def test_a_run_that_is_over_stays_as_it_is(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"collection": ["a", "b"], "split": ["train", "validation"], "samples": [RATE, RATE], "licence": ["", ""]}
    pieces = pd.DataFrame(facts)
    empty = np.zeros(0)
    corpus = Corpus(folder=tmp_path, sample_rate=RATE, key="", audio=empty, levels=empty, pieces=pieces, skipped=pieces)
    calls: list[dict] = []

    def train(config: TrainingConfig, batches, out: Path, **given) -> None:
        calls.append(given)
        assert list(batches.corpus.pieces["collection"]) == ["a"]
        assert list(given["held_out"].corpus.pieces["collection"]) == ["b"]
        out.mkdir(exist_ok=True)
        reached = config.steps if given["resume"] else 4
        (out / "state.safetensors").touch()
        stretch = {"to_step": reached, "of": 10, "seconds": 2.5, "device": "CPU"}
        history = {"recipe": config.to_dict(), "model": config.model_config.to_dict(), "data": batches.describe()}
        (out / "run.json").write_text(json.dumps({**history, "stretches": [stretch]}))
        (out / "metrics.csv").write_text(f"step,total\n{reached},0.5\n")
        if config.name == "collapsing":
            raise TrainingStopped("the latents have collapsed")

    monkeypatch.setattr(script, "train", train)
    recipe = TrainingConfig(name="steady", model="m2l2-tiny", steps=10, batch_size=2)
    assert script.one_run(tmp_path / "steady", recipe, corpus, "cpu")["step"] == 4  # cut short
    for _ in range(2):
        found = script.one_run(tmp_path / "steady", recipe, corpus, "cpu")
        assert found == {"step": 10, "total": 0.5, "seconds": 2.5, "device": "CPU"}
    assert [call["resume"] for call in calls] == [False, True]
    for changes, said in (
        ({"steps": 9}, "planned for 10 steps, not 9"),
        ({"seed": 1}, "seed: 0 there, 1 here.*--work"),
    ):
        with pytest.raises(SystemExit, match=said):
            script.one_run(tmp_path / "steady", dataclasses.replace(recipe, **changes), corpus, "cpu")
    other = dataclasses.replace(corpus, key="other")
    with pytest.raises(SystemExit, match=r"other data.*--work"):
        script.one_run(tmp_path / "steady", recipe, other, "cpu")
    assert len(calls) == 2

    recipe = TrainingConfig(name="collapsing", model="m2l2-tiny", steps=10, batch_size=2)
    with pytest.raises(TrainingStopped):
        script.one_run(tmp_path / "unforeseen", recipe, corpus, "cpu")
    calls.clear()
    for _ in range(2):
        found = script.one_run(tmp_path / "foreseen", recipe, corpus, "cpu", may_stop=True)
        assert (found["step"], found["stopped"]) == (4, "the latents have collapsed")
    assert len(calls) == 1


def test_held_out_music_is_none_that_training_hears(script, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    splits = {"heard": "train", "watched": "validation", "aside": "test"}
    for folder in ("music", "other"):
        for collection in splits:
            (tmp_path / folder / collection).mkdir(parents=True)
            for piece in range(3):
                save(tmp_path / folder / collection / f"{piece}.wav", 0.1 * rng.normal(size=(1, RATE)), RATE)
    write_collections(tmp_path / "music", {name: Collection(split=split) for name, split in splits.items()})
    data, other = tmp_path / "music", tmp_path / "other"
    options = Namespace(data=[data], test=None, clips=9, seconds=0.5, quick=False)
    pieces = pd.DataFrame({"collection": list(splits), "split": list(splits.values())})
    empty = np.zeros(0)
    corpus = Corpus(folder=data, sample_rate=RATE, key="", audio=empty, levels=empty, pieces=pieces, skipped=pieces)
    clips = script.held_out_clips(options, corpus, script.TINY)
    assert {clip.piece for clip in clips} == {f"aside/{piece}.wav" for piece in range(3)}
    with pytest.raises(SystemExit, match="training hears heard"):
        script.held_out_clips(Namespace(**{**vars(options), "test": other}), corpus, script.TINY)
    (other / "heard").rename(tmp_path / "gone")
    clips = script.held_out_clips(Namespace(**{**vars(options), "test": other}), corpus, script.TINY)
    assert {clip.piece.partition("/")[0] for clip in clips} == {"watched", "aside"}
    with pytest.raises(SystemExit, match="marks no collection as test"):
        script.held_out_clips(Namespace(**{**vars(options), "data": [other]}), corpus, script.TINY)
