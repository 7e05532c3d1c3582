"""The reconstruction benchmark, with codecs whose worth is known."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from m2l2_mir.audio import save
from m2l2_mir.errors import InputError
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.training.recordings import Collection, write_collections

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
RATE = 44_100


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("reconstruction")


@pytest.fixture(scope="module")
def held_out(script: ModuleType) -> ModuleType:
    return importlib.import_module("_held_out")


def melody(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Decaying notes of eight partials, [1, samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE // 2) / RATE
    waveform = 1e-3 * rng.normal(size=(1, round(seconds * RATE)))
    for start in range(0, waveform.shape[1] - len(time), len(time)):
        partials = 110 * 2 ** (rng.integers(0, 36) / 12) * np.arange(1, 9)
        waveform[0, start : start + len(time)] += (
            0.1 * np.sin(2 * np.pi * np.outer(time, partials)).sum(1) * np.exp(-5 * time)
        )
    return waveform


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two collections to test on, with a repeat, a silent piece, a soft and a short one, and one to train on."""
    folder = tmp_path / "music"
    pieces = {f"game/{place}": melody(place) for place in range(4)}
    pieces |= {"opera/aria": melody(4, seconds=8), "opera/again": melody(0), "opera/soft": 1e-4 * melody(5)}
    pieces |= {"opera/silent": np.zeros((1, RATE)), "opera/short": melody(6, seconds=2), "heard/a": melody(7)}
    for name, waveform in pieces.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save(folder / f"{name}.wav", waveform, RATE)
    splits = {"game": "test", "opera": "test", "heard": "train"}
    write_collections(folder, {name: Collection(split=split) for name, split in splits.items()})
    return folder


def options(library: Path, **changes: object) -> Namespace:
    given = {"data": library, "hold_out": ["test"], "clips": 100, "per_piece": 2, "seconds": 2.5, "seed": 0}
    return Namespace(**{**given, "quick": False, **changes})


def test_only_held_out_music_is_heard_and_all_of_it(library: Path, held_out: ModuleType) -> None:
    config = ModelConfig.preset("m2l2-tiny")
    heard: dict[str, np.ndarray] = {}
    clips, left_out = held_out.listen(options(library), config, heard.__setitem__)
    assert {name: len(excerpts) for name, excerpts in heard.items()} == {
        **{f"game/{place}.wav": 1 for place in range(4)},
        "opera/aria.wav": 3,
    }
    reasons = dict(left_out)
    assert "the same samples as game/0.wav" in reasons["opera/again.wav"]
    assert "silent" in reasons["opera/silent.wav"]
    assert all("no excerpt of 2.5 s" in reasons[f"opera/{name}.wav"] for name in ("soft", "short"))
    # every piece once before any is heard twice, and none more often than asked for
    assert len({clip.piece for clip in clips[:5]}) == 5
    assert [clip.piece for clip in clips[5:]] == ["opera/aria.wav"]
    for clip in clips:
        first = round(clip.start * RATE)
        source = melody(4, seconds=8) if clip.piece == "opera/aria.wav" else melody(int(clip.piece[5]))
        np.testing.assert_allclose(clip.waveform, source[:, first : first + clip.waveform.shape[1]], atol=1e-4)
    for seed in range(3):
        more, _ = held_out.listen(options(library, per_piece=3, seed=seed), config, lambda name, excerpts: None)
        assert len({clip.piece for clip in more[:5]}) == 5
        assert len({clip.start for clip in more if clip.piece == "opera/aria.wav"}) == 3
    again, _ = held_out.listen(options(library, clips=3), config, lambda name, excerpts: None)
    assert [clip.piece for clip in again] == [clip.piece for clip in clips[:3]]


def test_collections_by_pattern(library: Path, held_out: ModuleType) -> None:
    names = [recording.name for recording in held_out.held_out(library, ["op*", "train"])]
    assert {name.split("/")[0] for name in names} == {"opera", "heard"}
    with pytest.raises(InputError, match="'validation'"):
        held_out.held_out(library, ["validation"])


def test_known_codecs(script: ModuleType, held_out: ModuleType) -> None:
    clips = [held_out.Clip(piece=f"piece {place}", start=0.0, waveform=melody(place, seconds=2)) for place in range(4)]
    pieces = [clip.piece for clip in clips]
    references = [script.logmel_embeddings(clip.waveform, sample_rate=RATE) for clip in clips]
    others = script.other_clips(pieces, seed=0)
    kept = []

    def measure(rebuild) -> dict:
        return script.measure(rebuild, clips, references, RATE, lambda *example: kept.append(example))[0]

    itself = measure(lambda number: clips[number].waveform)
    swapped = measure(lambda number: clips[others[number]].waveform)
    assert itself["of_clip"]["si_sdr"] == [100.0] * 4
    assert itself["mean"]["log_spectral_distance"]["estimate"] == 0
    assert itself["logmel"]["fad"] < 1e-5 < swapped["logmel"]["high"]
    quiet = measure(lambda number: 0.01 * clips[number].waveform)
    assert abs(itself["logmel"]["kad"]) < 1e-9 < quiet["logmel"]["kad_low"]
    assert np.isnan(itself["logmel"]["fad_inf"])  # 4 pieces
    assert len(kept) == 12

    found = script.further(itself, swapped, pieces)
    assert found["rise"]["log_spectral_distance"]["low"] > 0 > found["rise"]["si_sdr"]["high"]
    assert found["share"]["estimate"] == 1
    assert script.further(itself, itself, pieces)["share"]["estimate"] == 0

    far = [script.logmel_embeddings(0.01 * clip.waveform, sample_rate=RATE) for clip in clips]
    measured = {f"{name}, {method}": row for name, row in (("a", itself), ("b", swapped)) for method in script.METHODS}
    embedded = {f"{name}, {method}": row for name, row in (("a", references), ("b", far)) for method in script.METHODS}
    compared = script.ablation(["a", "b"], measured, embedded, references, pieces)["b"]["two-step"]
    assert compared["rise"] == found["rise"]
    assert compared["fad_logmel"]["difference"] > 0

    config = ModelConfig.preset("m2l2-tiny")
    model = load_model("random:m2l2-tiny:1", device="cpu")
    model.weights_id = "sha256:for this test"  # as if trained
    rows = {name: measure(rebuild)["mean"] for name, rebuild in script.rows([model], clips, others)}
    ceiling, opus = rows["STFT round trip (ceiling)"], rows["Opus, 16 kbit/s"]
    assert ceiling["si_sdr"]["low"] > 60 > opus["si_sdr"]["low"] > 0 > rows[script.FLOOR]["si_sdr"]["high"]
    distances = [row["log_spectral_distance"]["estimate"] for row in (ceiling, opus, rows[script.FLOOR])]
    assert distances == sorted(distances)
    assert set(rows) - {"STFT round trip (ceiling)", "Opus, 16 kbit/s", script.FLOOR} == {
        f"{config.name}, {rest}"
        for rest in (*script.METHODS, "two-step, from other latents", "two-step, random weights")
    }


def test_whole_run(library: Path, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, examples = tmp_path / "results", tmp_path / "examples"
    given = ["--data", library, "--model", "random:m2l2-tiny", "--device", "cpu", "--quick"]
    monkeypatch.setattr(
        sys, "argv", ["reconstruction.py", *map(str, given), "--out", str(out), "--audio", str(examples)]
    )
    script.main()
    results = json.loads((out / "reconstruction.quick.json").read_text(), parse_constant=pytest.fail)["results"]
    label = "m2l2-tiny, untrained"
    latents = results["latents"][label]
    assert latents["chunks"] == 4 * latents["excerpts"]  # 3 s hold four whole chunks
    assert len(latents["slots"]) == 8
    assert set(results["further"][label]) == {script.OTHER, script.FLOOR}
    assert len(list(examples.iterdir())) == len(results["clips"]) * (len(results["reconstruction"]) + 1)
    text = (out / "reconstruction.quick.md").read_text()
    assert "STFT round trip" in text
    assert str(tmp_path) not in text
