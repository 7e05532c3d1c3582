"""Published weights of Music2Latent: every tensor accounted for, terms stated everywhere, and the published answers."""

import hashlib
import json
import re

import numpy as np
import pytest
import torch

from m2l2_mir import audio
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import CheckpointError
from m2l2_mir.model import hub
from m2l2_mir.model.architectures import build, config_named
from m2l2_mir.model.autoencoder import Condition
from m2l2_mir.model.catalogue import describe
from m2l2_mir.model.checkpoint import load_model, read_metadata
from m2l2_mir.model.official_file import OFFICIAL
from m2l2_mir.model.official_music2latent import convert_music2latent, music2latent_names, unused_names

LICENCE = "CC BY-NC 4.0"
PAPER = "arXiv 2408.06500"


def test_every_published_tensor_is_accounted_for():
    config = config_named("music2latent")
    names, unused = music2latent_names(config), unused_names(config)
    assert len(names.keys() | unused) == len(names) + len(unused) == 583
    with torch.device("meta"):
        own = build(config).state_dict()
    assert sorted(names.values()) == sorted(own)
    assert sum(tensor.numel() for tensor in own.values()) == 58_185_026 - 4 * 512 * (256 + 1)


@pytest.mark.usefixtures("small_music2latent")
def test_other_networks_are_refused(music2latent_state, tmp_path):
    def load(state):
        torch.save({"gen_state_dict": state}, tmp_path / "other.pt")
        return load_model(tmp_path / "other.pt", device="cpu")

    for name in ("encoder.gain.scale", "decoder.bottleneck_layers.1.proj_emb.bias", "up_layers.23.proj_emb.weight"):
        with pytest.raises(CheckpointError, match=rf"other\.pt: not the whole Music2Latent network: no tensors {name}"):
            load({key: value for key, value in music2latent_state.items() if key != name})
    with pytest.raises(CheckpointError, match=r"unknown tensors up_layers\.24\.weight"):
        load({**music2latent_state, "up_layers.24.weight": torch.zeros(1)})
    for name, shape in (
        ("encoder.bottleneck_layers.0.weight", (32, 65, 1)),
        ("encoder.bottleneck_layers.1.conv1.weight", (32, 32, 5)),
        ("conv_out.bias", (3,)),
        ("encoder.gain.scale", (1, 1, 65, 1)),
    ):
        with pytest.raises(CheckpointError, match="another size of music2latent: "):
            load({**music2latent_state, name: torch.zeros(shape)})
    assert load({**music2latent_state, "averaged": torch.zeros(3)}).trained  # the package passes over it too


@pytest.mark.usefixtures("small_music2latent")
def test_terms_are_told_and_stated(m2l2, music2latent_pt, tmp_path, capsys):
    model = load_model(music2latent_pt, device="cpu")
    told = capsys.readouterr().err
    assert re.fullmatch(rf"music2latent: weights under CC BY-NC 4\.0; cite Music2Latent: .*, {PAPER}\n", told)
    assert read_metadata(music2latent_pt) == model.metadata
    facts = describe(str(music2latent_pt))
    assert (facts["licence"], facts["name"]) == (LICENCE, "music2latent")
    assert PAPER in facts["citation"]
    assert facts["config"]["level_attention"][2]
    assert "registers" not in facts["config"]  # nothing of a transformer

    out = tmp_path / "own.safetensors"
    code, printed, _ = m2l2("models", "convert", music2latent_pt, out)
    assert (code, printed) == (0, f"{hashlib.sha256(out.read_bytes()).hexdigest()}  own.safetensors\n")
    assert (read_metadata(out)["licence"], read_metadata(out)["citation"]) == (
        LICENCE,
        OFFICIAL["music2latent"].citation,
    )
    converted = load_model(out, device="cpu")
    assert type(converted) is type(model)
    assert (converted.config, converted.weights_id) == (model.config, model.weights_id)
    for name, tensor in model.state_dict().items():
        assert torch.equal(converted.state_dict()[name], tensor), name


@pytest.mark.usefixtures("small_music2latent")
@pytest.mark.parametrize("features", ["bottleneck", "pre-bottleneck"])
def test_a_folder_is_embedded(m2l2, music2latent_pt, tmp_path, rng, features):
    music = tmp_path / "music"
    music.mkdir()
    waveform = 0.1 * rng.standard_normal((2, 9000)).astype(np.float32)
    audio.save(music / "noise.wav", waveform, 48_000)
    arguments = ("--model", music2latent_pt, "--out", tmp_path / "store", "--features", features, "--keep", "chunks")
    code, _, error = m2l2("embed", music, *arguments)
    assert code == 0, error
    store = EmbeddingStore.open(tmp_path / "store")
    assert (store.provenance["licence"], PAPER in store.provenance["citation"]) == (LICENCE, True)
    model = load_model(music2latent_pt, device="cpu")
    heard, rate = audio.load(music / "noise.wav")
    expected = model.encode(heard, rate, features=features)
    assert expected.shape == (5, 8, 64)
    np.testing.assert_allclose(store.chunks("noise.wav"), expected, rtol=2e-3, atol=5e-3)  # kept in float16


@pytest.mark.usefixtures("small_music2latent")
def test_it_is_listed_and_known_by_name(m2l2, music2latent_pt, tmp_path, monkeypatch):
    library = pytest.importorskip("huggingface_hub")
    asked = []

    def unreachable(url):
        asked.append(url)
        raise OSError("no route to host")

    monkeypatch.setattr(library, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(library, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setenv("M2L2_CACHE", str(tmp_path))
    row = next(row for row in json.loads(m2l2("models", "list", "--json")[1]) if row["name"] == "music2latent")
    assert (row["weights"], row["licence"]) == ("official, to be downloaded", LICENCE)
    assert json.loads(m2l2("models", "show", "music2latent", "--json")[1])["config"]["name"] == "music2latent"
    untrained = load_model("random:music2latent:3", device="cpu")
    assert not untrained.trained
    assert asked == []
    with pytest.raises(CheckpointError, match=r"get music2latent\.pt of the hub's SonyCSLParis/music2latent and put"):
        load_model("music2latent", device="cpu")
    assert [url.rsplit("/resolve/")[0].split("/", 3)[-1] for url in asked] == ["SonyCSLParis/music2latent"]
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "music2latent.pt").write_bytes(music2latent_pt.read_bytes())
    assert hub.local_path(OFFICIAL["music2latent"]) == tmp_path / "models" / "music2latent.pt"
    assert load_model("music2latent", device="cpu").trained


@pytest.fixture(scope="module")
def networks(fill):
    """The published network with random values in every parameter, and ours with the same."""
    models = pytest.importorskip("music2latent.models")
    theirs = fill(models.UNet().eval())
    ours = build(config_named("music2latent"))
    ours.load_state_dict(convert_music2latent(theirs.state_dict()), strict=True)
    return theirs, ours


@pytest.mark.reference
@torch.no_grad()
def test_the_network_answers_as_the_published_one(networks, rng):
    theirs, ours = networks
    assert len(theirs.state_dict()) == 583
    assert not any((parameter == 0).all() for parameter in theirs.parameters())
    x = torch.from_numpy(0.3 * rng.standard_normal((1, 2, 1024, 64))).float()
    expected = theirs.encoder(x).transpose(1, 2)
    assert expected.std() > 0.1
    values = ours.values_from_embeddings(ours.encode_spectrograms(x))
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)
    features = ours.encode_spectrograms(x, features="pre-bottleneck")
    torch.testing.assert_close(features, theirs.encoder(x, extract_features=True).transpose(1, 2), atol=1e-4, rtol=1e-4)
    noisy = torch.from_numpy(20 * rng.standard_normal((1, 2, 1024, 64))).float()
    denoised = theirs(expected.transpose(1, 2), noisy, 20.0)
    found = ours.denoise(noisy[:, None], torch.full((1, 1), 20.0), [[Condition(expected[0], ())]])[:, 0]
    torch.testing.assert_close(found, denoised, atol=1e-4 * float(denoised.abs().max()), rtol=0)
