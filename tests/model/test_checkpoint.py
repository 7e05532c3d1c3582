"""Checkpoints: bitwise there and back, and nothing damaged, foreign or dangerous is loaded."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from m2l2_mir.errors import CheckpointError
from m2l2_mir.model.catalogue import describe
from m2l2_mir.model.checkpoint import load_model, random_model, save_model, tensors_sha256
from m2l2_mir.model.config import PRESETS, ModelConfig


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    return path


def rewrite(path: Path, change) -> None:
    """Apply `change(tensors, header)` to a checkpoint; the checksum is made to fit again."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    header = dict(header)
    change(tensors, header)
    header["sha256"] = tensors_sha256(tensors, header.get("config", ""))
    save_file(tensors, path, metadata=header)


def test_there_and_back_bitwise(make_model, tmp_path):
    model = make_model(name="own", latents="ordered", causal=False, stem_patch=(32, 4), downsample=((8, 1),))
    path = tmp_path / "a dir with spaces and ü.safetensors"
    sha256 = save_model(model, path, metadata={"licence": "MIT"})
    loaded = load_model(path, device="cpu")
    assert loaded.config == model.config
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header["licence"] == "MIT"
    assert header["sha256"] == sha256
    assert ModelConfig.from_dict(json.loads(header["config"])) == model.config
    waveform = torch.linspace(-0.1, 0.1, 5000)
    assert torch.equal(loaded.encode(waveform, 44_100), model.encode(waveform, 44_100))


def test_loading_does_not_import_the_compiler(saved):
    """Which drawing weights that are never used would do, and which takes a second."""
    script = "import sys, torch; before = set(sys.modules); from m2l2_mir.model.checkpoint import load_model; "
    script += (
        f"load_model({str(saved)!r}, device='cpu'); print({{'torch._dynamo', 'sympy'}} & set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_trained_weights_are_told_from_random_ones(make_model, tmp_path):
    model = make_model()
    save_model(model, tmp_path / "random.safetensors")
    loaded = load_model(tmp_path / "random.safetensors", device="cpu")
    assert (loaded.trained, loaded.weights_id) == (False, "random:m2l2-tiny:0")

    model.weights_id = "run 1"
    sha256 = save_model(model, tmp_path / "trained.safetensors")
    loaded = load_model(tmp_path / "trained.safetensors", device="cpu")
    assert (loaded.trained, loaded.weights_id) == (True, f"sha256:{sha256}")


def test_damaged_tensors_are_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-1000] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged.*checksum"):
        load_model(saved, device="cpu")


def test_truncated_and_foreign_files_are_refused(saved, tmp_path):
    content = saved.read_bytes()
    for size in (0, 4, 100, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="not a readable safetensors checkpoint"):
            load_model(saved, device="cpu")
    text = tmp_path / "notes.txt"
    text.write_text("Allegro ma non troppo\n" * 100)
    with pytest.raises(CheckpointError, match=r"notes\.txt is not a readable"):
        load_model(text, device="cpu")
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*absent\.safetensors"):
        load_model(tmp_path / "absent.safetensors", device="cpu")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_model(tmp_path, device="cpu")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="format is None"):
        load_model(tmp_path / "other.safetensors", device="cpu")


def test_content_that_does_not_fit_is_refused(saved):
    content = saved.read_bytes()

    def missing(tensors, header):
        del tensors["encoder.gain"]

    def added(tensors, header):
        tensors["encoder.more"] = torch.zeros(1)

    def reshaped(tensors, header):
        tensors["encoder.gain"] = torch.zeros(7, 1)

    def newer(tensors, header):
        header["format"] = "m2l2-mir/2"

    def wider(tensors, header):
        header["config"] = header["config"].replace('"noise_dim": 32', '"noise_dim": 64')

    def unknown(tensors, header):
        header["config"] = header["config"].replace('"heads"', '"head"')

    def broken(tensors, header):
        header["config"] = "{"

    def unconfigured(tensors, header):
        del header["config"]

    for change, message in (
        (missing, r"do not fit.*encoder\.gain"),
        (added, r"do not fit.*encoder\.more"),
        (reshaped, r"do not fit.*encoder\.gain"),
        (newer, "format is 'm2l2-mir/2'"),
        (wider, "do not fit"),
        (unknown, "configuration.*did you mean 'heads'"),
        (broken, "no usable model configuration"),
        (unconfigured, "no usable model configuration"),
    ):
        saved.write_bytes(content)
        rewrite(saved, change)
        with pytest.raises(CheckpointError, match=f"(?s){message}"):
            load_model(saved, device="cpu")


def test_a_failed_save_leaves_nothing_behind_and_the_old_file_whole(model, saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)  # when half a file has been written
    for path in (saved, saved.with_name("new.safetensors")):
        with pytest.raises(CheckpointError, match="No space left"):
            save_model(model, path)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == before
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="cannot write"):
        save_model(model, saved.parent / "no such folder" / "model.safetensors")


def test_a_changed_configuration_is_damage(saved):
    with safe_open(saved, framework="pt") as file:
        header = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    header["config"] = header["config"].replace('"rho": 7.0', '"rho": 8.0')
    save_file(tensors, saved, metadata=header)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(saved, device="cpu")


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_ever_unpickled(tmp_path):
    crater, path = tmp_path / "crater", tmp_path / "weights.safetensors"
    pickle.loads(pickle.dumps(Bomb(crater)))
    assert crater.exists()  # it works
    crater.unlink()
    for write in (
        lambda: path.write_bytes(pickle.dumps(Bomb(crater))),
        lambda: torch.save({"encoder.gain": Bomb(crater)}, path),
        lambda: torch.save({"encoder.gain": Bomb(crater)}, path, _use_new_zipfile_serialization=False),
    ):
        write()
        for name in (path, path.rename(tmp_path / "weights.pt")):
            with pytest.raises(CheckpointError):
                load_model(name, device="cpu")
            assert not crater.exists()


def test_random_models_follow_their_seed():
    def gain(name):
        return load_model(name, device="cpu").encoder.latents

    assert torch.equal(gain("random:m2l2-tiny"), gain("random:m2l2-tiny:0"))
    assert torch.equal(gain("random:m2l2-tiny:3"), gain("random:m2l2-tiny:3"))
    assert not torch.equal(gain("random:m2l2-tiny:3"), gain("random:m2l2-tiny"))
    assert load_model("random:m2l2-tiny:3", device="cpu").weights_id == "random:m2l2-tiny:3"
    torch.manual_seed(99)
    assert torch.equal(random_model(ModelConfig.preset("m2l2-tiny"), 3).encoder.latents, gain("random:m2l2-tiny:3"))


def test_random_model_of_a_recipe(tmp_path, monkeypatch):
    preset = (PRESETS / "m2l2-tiny.toml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text(preset.replace("m2l2-tiny", "mine").replace("registers = 2", "registers = 5"))
    model = load_model("random:my.toml", device="cpu")
    assert (model.config.name, model.config.registers) == ("mine", 5)
    assert model.config == ModelConfig.from_toml("my.toml")
    Path("my.toml").write_text(preset.replace("heads", "haeds"))
    with pytest.raises(CheckpointError, match=r"'haeds' in my\.toml; did you mean 'heads'"):
        load_model("random:my.toml", device="cpu")
    Path("my.toml").write_text("name = ")
    with pytest.raises(CheckpointError, match="not valid TOML"):
        load_model("random:my.toml", device="cpu")
    with pytest.raises(CheckpointError, match=r"cannot read the recipe other\.toml"):
        load_model("random:other.toml", device="cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m2l2-smal", "did you mean 'm2l2-small'"),
        ("randm:m2l2-tiny", "did you mean 'random:m2l2-tiny'"),
        ("random:m2l2-tyni", "did you mean 'm2l2-tiny'"),
        ("random:m2l2-tiny:one", "random:PRESET:SEED"),
        ("random:m2l2-tiny:1:2", "random:PRESET:SEED"),
        ("random:", "no preset ''"),
        ("nothing like it", "neither a file nor a known name"),
    ],
)
def test_unknown_names_say_what_was_meant(name, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(name, device="cpu")


def test_presets_without_weights_say_so():
    with pytest.raises(CheckpointError, match=r"no trained weights of 'm2l2-tiny'.*'random:m2l2-tiny'"):
        load_model("m2l2-tiny", device="cpu")


def test_half_precision_takes_half_the_bytes_and_embeds_the_same(model, saved, tmp_path):
    path = tmp_path / "half.safetensors"
    save_model(model, path, metadata={"licence": "MIT", "training": "6 steps"}, half=True)
    with safe_open(path, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118 (not a dict)
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded = load_model(path, device="cpu")
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert loaded.metadata == {"licence": "MIT", "training": "6 steps"}
    waveform = 0.1 * torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    full, half = (one.encode(waveform, 44_100).flatten() for one in (model, loaded))
    assert not torch.equal(full, half)
    assert torch.cosine_similarity(full, half, dim=0) > 0.9999


def test_weights_beyond_half_precision_are_refused(make_model, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.encoder.latents[0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"encoder\.latents holds 1e\+05.*float16"):
        save_model(model, tmp_path / "half.safetensors", half=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x"])
def test_bad_devices_are_refused(device):
    with pytest.raises(CheckpointError, match=f"device '{device}'.*device='cpu'"):
        load_model("random:m2l2-tiny", device=device)


def test_licence_and_citation_are_those_of_the_checkpoint(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path, metadata={"licence": "CC BY-NC 4.0", "citation": "A paper"})
    save_model(load_model(path, device="cpu"), path)  # they travel along
    facts = describe(str(path))
    assert (facts["licence"], facts["citation"]) == ("CC BY-NC 4.0", "A paper")
    assert describe("random:m2l2-tiny")["licence"] == "MIT"
