"""``m2l2 train``: from a folder of audio to weights that can be loaded, and on from where it stopped."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import m2l2_mir as mm
from m2l2_mir.audio import save
from m2l2_mir.model import config
from m2l2_mir.training import quick_probes

RECIPE = """
name = "two-steps"
model = "m2l2-tiny"
steps = 2
batch_size = 2
warmup_steps = 1
explicit_weight = 1.0
[augmentation]
semitones = 1.0
"""


def test_train_resumes_holds_out_and_writes_weights(m2l2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_probes, "PITCHES", range(60, 64))
    monkeypatch.setattr(quick_probes, "DRUMS", (36, 42))
    rng = np.random.default_rng(0)
    for collection in ("one", "two"):
        (tmp_path / "music" / collection).mkdir(parents=True)
        save(tmp_path / "music" / collection / "a.wav", rng.normal(scale=0.1, size=(1, 5 * 44100)), 44100)
    shutil.copy(Path(config.__file__).parent / "presets" / "m2l2-tiny.toml", tmp_path / "own.toml")
    (tmp_path / "my.toml").write_text(RECIPE.replace("m2l2-tiny", str(tmp_path / "own.toml")))
    command = ["train", "--data", tmp_path / "music", "--out", tmp_path / "run", "--device", "cpu"]
    code, _, err = m2l2(*command)
    assert code == 2
    assert "no recipe: give low-budget, paper or your own my.toml, or --resume" in err
    code, out, err = m2l2(*command, tmp_path / "my.toml", "--hold-out", "two", "--max-minutes", "1e-9")
    assert code == 0, err
    assert "step 1 of 2; go on with --resume" in out
    assert "nothing is held out" not in out
    (tmp_path / "music").rename(tmp_path / "elsewhere")  # as on another machine
    (tmp_path / "run").rename(tmp_path / "moved")
    for name in ("my.toml", "own.toml"):
        (tmp_path / name).unlink()
    command[2], command[4] = tmp_path / "elsewhere", tmp_path / "moved"
    code, out, err = m2l2(*command, "--resume")  # with what it was begun with
    assert code == 0, err
    assert "goes on at step 1 of 2, on cpu in " in out
    assert json.loads((tmp_path / "moved" / "run.json").read_text())["recipe"]["hold_out"] == ["two"]
    assert "held_out_total" in out
    assert ("quick_pitch_accuracy" in out) == (find_spec("midirenderer") is not None)
    assert mm.load_model(tmp_path / "moved" / "weights.safetensors", device="cpu").trained
    code, _, err = m2l2(*command, "--hold-out", "one", "--resume")
    assert code == 2
    assert "begun with another recipe" in err
    assert err.count("\n") == 1


def test_what_is_marked_as_test_is_not_heard(m2l2, tmp_path: Path) -> None:
    for seed, collection in enumerate(("one", "two", "three")):
        (tmp_path / "music" / collection).mkdir(parents=True)
        noise = np.random.default_rng(seed).normal(scale=0.1, size=(1, 5 * 44100))
        save(tmp_path / "music" / collection / "a.wav", noise, 44100)
    splits = {"one": "train", "two": "validation", "three": "test"}
    table = {name: {"licence": "CC0", "source": "noise", "split": split} for name, split in splits.items()}
    (tmp_path / "music" / "collections.json").write_text(json.dumps(table))
    (tmp_path / "my.toml").write_text(RECIPE)
    heard = {}
    for name, more in (("kept", ()), ("all", ("--hear-all",))):
        run = tmp_path / name
        command = ["train", tmp_path / "my.toml", "--data", tmp_path / "music", "--out", run, "--device", "cpu", *more]
        code, out, err = m2l2(*command, "--max-minutes", "1e-9")
        assert code == 0, err
        assert ("nothing is held out: there will be no best.safetensors" in out) == (name == "all")
        assert "the mix does without" not in out
        heard[name] = set(json.loads((run / "run.json").read_text())["data"]["collections"])
    assert heard == {"kept": {"one"}, "all": {"one", "two", "three"}}
    # a run that hears all goes on hearing it
    (tmp_path / "all" / "state.safetensors").unlink()
    code, _, err = m2l2("train", "--data", tmp_path / "music", "--out", tmp_path / "all", "--device", "cpu", "--resume")
    assert code == 2
    assert "state.safetensors cannot be read" in err  # and not: other data
