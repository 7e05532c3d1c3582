"""Files of official weights: only tensors are taken, nothing of a file is run, terms are told, conversion is exact."""

import copy
import dataclasses
import hashlib
import json
import os
import re
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from m2l2_mir.audio import save
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import CheckpointError
from m2l2_mir.model import checkpoint, hub, origin
from m2l2_mir.model.catalogue import describe
from m2l2_mir.model.checkpoint import convert_official, load_model, read_metadata, save_model, tensors_sha256
from m2l2_mir.model.official_file import OFFICIAL
from m2l2_mir.model.origin import noted_origin
from m2l2_mir.quality.states import read_state

LICENCE = "CC BY-NC 4.0"
WAVEFORM = 0.1 * np.random.default_rng(0).standard_normal(9000).astype(np.float32)


def embeddings(model):
    return model.encode(WAVEFORM, 48_000)


def test_terms_are_told_once_and_stated(official_pt, capsys):
    model = load_model(official_pt, device="cpu")
    told = capsys.readouterr().err
    assert re.fullmatch(r"codicodec: weights under CC BY-NC 4\.0; cite CoDiCodec: .*, arXiv 2509\.09836\n", told)
    load_model(official_pt, device="cpu")
    assert capsys.readouterr().err == ""
    assert model.trained
    assert model.metadata["licence"] == LICENCE
    assert read_metadata(official_pt) == model.metadata
    facts = describe(str(official_pt))
    assert (facts["licence"], facts["name"]) == (LICENCE, "codicodec")
    assert "2509.09836" in facts["citation"]


@pytest.fixture
def converted(official_pt, tmp_path):
    """The same weights as a checkpoint of ours."""
    path = tmp_path / "own.safetensors"
    convert_official(official_pt, path)
    return path


def altered(path, name):
    """Change the lowest byte of a tensor in a checkpoint."""
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    content[8 + length + json.loads(content[8 : 8 + length])[name]["data_offsets"][0]] ^= 1
    path.write_bytes(content)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("file", ["official_pt", "converted"])
def test_encoding_reads_the_encoder_alone(file, request, monkeypatch):
    path, hashed = request.getfixturevalue(file), []
    digest = checkpoint.tensors_sha256
    monkeypatch.setattr(
        checkpoint, "tensors_sha256", lambda one, *more: (hashed.append(len(one)), digest(one, *more))[1]
    )
    model = load_model(path, device="cpu")
    embeddings(model)
    mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if path.name in line]
    ranges = [[int(end, 16) for end in mapping[0].split("-")] for mapping in mappings]

    def mapped(tensor):
        return any(first <= tensor.data_ptr() < last for first, last in ranges)

    for name, parameter in model.named_parameters():
        assert mapped(parameter) == (not name.startswith("encoder.")), name
    assert hashed == [len(model.encoder.state_dict())]


@pytest.mark.parametrize("half", [False, True])
def test_what_encoding_does_not_need_is_checked_when_it_is_used(half, official_pt, converted, tmp_path):
    expected = load_model(official_pt, device="cpu")
    if half:
        save_model(expected, converted, half=True)
        for network in (expected.encoder, expected.upsampler, expected.consistency):
            network.half().float()
    latents = embeddings(expected)
    whole = load_model(converted, device="cpu")
    assert torch.equal(embeddings(whole), latents)
    torch.testing.assert_close(whole.decode(latents), expected.decode(latents), atol=1e-4, rtol=0)
    assert {parameter.dtype for parameter in whole.parameters()} == {torch.float32}

    altered(converted, "consistency.noise_mlp.0.weight")
    for use in (
        lambda model: model.decode(latents),
        lambda model: model.codes(latents) is not None and model.condition(latents),
        lambda model: save_model(model, tmp_path / "copy.safetensors"),
        lambda model: model.load_state_dict(expected.state_dict()),
        lambda model: copy.deepcopy(model).consistency,
    ):
        model = load_model(converted, device="cpu")
        assert torch.equal(embeddings(model), latents)
        for _ in range(2):
            with pytest.raises(CheckpointError, match=r"own\.safetensors is damaged.*convert it again"):
                use(model)
    assert not (tmp_path / "copy.safetensors").exists()


def test_a_damaged_encoder_or_configuration_is_refused(converted):
    content = converted.read_bytes()
    altered(converted, "encoder.gain")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(converted, device="cpu")
    assert content.count(b'\\"rho\\": 7.0') == 1
    converted.write_bytes(content.replace(b'\\"rho\\": 7.0', b'\\"rho\\": 8.0'))
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(converted, device="cpu")


def test_a_file_without_a_digest_of_its_encoder_is_read_whole(converted, official_pt):
    with safe_open(converted, framework="pt") as file:
        header = {key: text for key, text in file.metadata().items() if key != checkpoint.ENCODER}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    assert len(header) == len(read_metadata(converted)) - 1
    save_file(tensors, converted, metadata=header)
    model, published = (load_model(path, device="cpu") for path in (converted, official_pt))
    assert (model.weights_id, model.metadata) == (published.weights_id, published.metadata)
    altered(converted, "consistency.noise_mlp.0.weight")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(converted, device="cpu")


def test_a_converted_file_is_the_same_model(m2l2, official_pt, tmp_path, capsys):
    out = tmp_path / "own.safetensors"
    code, printed, _ = m2l2("models", "convert", official_pt, out)
    assert (code, printed) == (0, f"{hashlib.sha256(out.read_bytes()).hexdigest()}  own.safetensors\n")
    assert read_metadata(out)["licence"] == LICENCE
    assert "2509.09836" in read_metadata(out)["citation"]
    published, converted = (load_model(path, device="cpu") for path in (official_pt, out))
    assert published.weights_id == converted.weights_id  # a store made with one goes on with the other
    assert published.weights_id == f"codicodec:{tensors_sha256(converted.encoder.state_dict())}"
    for name, tensor in published.state_dict().items():
        assert torch.equal(converted.state_dict()[name], tensor), name
    half = tmp_path / "half.safetensors"
    assert m2l2("models", "convert", official_pt, half, "--half")[0] == 0
    assert load_model(half, device="cpu").weights_id != published.weights_id
    assert half.stat().st_size < 0.6 * out.stat().st_size


def test_convert_says_what_it_does_not_take(m2l2, official_pt, tmp_path):
    out = tmp_path / "own.safetensors"
    (tmp_path / "notes.txt").write_text("Allegro")
    for arguments, message in (
        ((tmp_path / "notes.txt", out), r"notes\.txt is neither a \.safetensors checkpoint nor a \.pt"),
        ((tmp_path / "absent.pt", out), r"no checkpoint at .*absent\.pt"),
        ((official_pt, tmp_path / "own.pt"), r"own\.pt: name a \.safetensors file"),
        ((official_pt, out, "--notes", tmp_path / "notes.txt"), "--notes are for weights of a run's folder"),
    ):
        code, printed, error = m2l2("models", "convert", *arguments)
        assert (code, printed) == (2, "")
        assert re.fullmatch(rf"(codicodec: weights.*\n)?m2l2: .*{message}.*\n", error)
    assert not out.exists()


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class NumpyBomb:
    """Names a function of numpy that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return np.save, (str(self.path), 0)


def test_nothing_of_a_file_is_run(official_pt, published_state, tmp_path):
    crater = tmp_path / "crater.npy"
    bombed = tmp_path / "bombed.pt"
    for place in ({"it": Bomb(crater)}, {"gen_state_dict": {**published_state, "latents": Bomb(crater)}}):
        torch.save({"gen_state_dict": published_state, **place}, bombed)
        with pytest.raises(CheckpointError, match=r"bombed\.pt names code to run \(.*it was not run"):
            load_model(bombed, device="cpu")
        assert not crater.exists()
    torch.save({"gen_state_dict": published_state, "it": NumpyBomb(crater)}, bombed)
    assert torch.equal(embeddings(load_model(bombed, device="cpu")), embeddings(load_model(official_pt, device="cpu")))
    assert not crater.exists()
    np.save(crater, 0)
    assert crater.exists()  # it would have worked


def test_other_files_are_refused(official_pt, published_state, tmp_path):
    content = official_pt.read_bytes()
    for size, message in ((len(content) // 2, "not a readable"), (0, "not a readable")):
        official_pt.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=message) as caught:
            load_model(official_pt, device="cpu")
        assert "\n" not in str(caught.value)
    larger = {**published_state, "latents": torch.zeros(1, 130, 128)}
    for state, message in (
        ({"weights": published_state}, "it has no 'gen_state_dict'"),
        ({"gen_state_dict": [1]}, "it has no 'gen_state_dict'"),
        ({"gen_state_dict": {"a.weight": torch.zeros(1)}}, "none of the official networks"),
        ({"gen_state_dict": {**published_state, "it": torch.zeros(1, dtype=torch.int8)}}, "'it' of"),
        ({"gen_state_dict": {**published_state, "it": 3}}, "'it' of 'gen_state_dict' is no tensor"),
        ({"gen_state_dict": {**published_state, "it": torch.zeros(1)}}, r"other\.pt: .*unknown tensors it"),
        ({"gen_state_dict": larger}, r"another size of codicodec: encoder\.latents is \(130, 128\), not \(128, 128\)"),
    ):
        torch.save(state, tmp_path / "other.pt")
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "other.pt", device="cpu")


@pytest.mark.parametrize("instructions", ["80022e", "80027d7100580100000061732e"])
def test_a_pickle_that_makes_no_sense(instructions, official_pt, tmp_path):
    broken = tmp_path / "broken.pt"
    with zipfile.ZipFile(official_pt) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            target.writestr(name, bytes.fromhex(instructions) if name.endswith("data.pkl") else source.read(name))
    for read in (lambda: load_model(broken, device="cpu"), lambda: read_state(broken)):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the model hub, which cannot be reached."""
    library, asked = pytest.importorskip("huggingface_hub"), []

    def unreachable(url):
        asked.append(url)
        raise RuntimeError("no route to host")  # as other libraries' errors, no OSError

    monkeypatch.setattr(library, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(library, "try_to_load_from_cache", lambda *_, **__: None)
    return asked


def test_a_name_is_looked_for_here_before_it_is_downloaded(official_pt, tmp_path, monkeypatch, asked):
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("M2L2_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"cannot be downloaded \(RuntimeError\): get codicodec\.pt") as caught:
        load_model("codicodec", device="cpu")
    assert str(tmp_path / "models" / "codicodec.pt") in str(caught.value)
    assert len(asked) == 1
    assert asked[0].endswith("SonyCSLParis/codicodec/resolve/main/codicodec.pt")

    expected = embeddings(load_model(official_pt, device="cpu"))
    monkeypatch.setattr(library, "try_to_load_from_cache", lambda *_, **__: str(official_pt))  # from another download
    assert torch.equal(embeddings(load_model("codicodec", device="cpu")), expected)
    (tmp_path / "models").mkdir(exist_ok=True)
    own = official_pt.rename(tmp_path / "models" / "codicodec.pt")
    assert hub.local_path(OFFICIAL["codicodec"]) == own
    assert torch.equal(embeddings(load_model("codicodec", device="cpu")), expected)
    assert len(asked) == 1


@pytest.fixture
def hub_has(official_pt, tmp_path, monkeypatch):
    """A hub that can be reached: what it states of the file, and what its client keeps of a download by commit."""
    library, state = pytest.importorskip("huggingface_hub"), SimpleNamespace(commit="c" * 40, etag="", asked=[])
    state.etag = hashlib.sha256(official_pt.read_bytes()).hexdigest()
    kept = {}

    def ask(url):
        state.asked.append("metadata")
        return SimpleNamespace(commit_hash=state.commit, etag=state.etag)

    def download(repository, file, *, revision):
        state.asked.append(revision)
        kept[revision] = str(official_pt)
        return str(official_pt)

    monkeypatch.setenv("M2L2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "get_hf_file_metadata", ask)
    monkeypatch.setattr(library, "hf_hub_download", download)
    # as the client does: a download by commit leaves no branch that names it
    monkeypatch.setattr(library, "try_to_load_from_cache", lambda *_, revision=None: kept.get(revision))
    return state


def test_what_the_hub_states_is_compared_and_kept(m2l2, official_pt, hub_has, tmp_path):
    source = (
        f"the hub's SonyCSLParis/codicodec, codicodec.pt, commit {'c' * 40}, SHA-256 {hub_has.etag}, as stated there"
    )
    first = load_model("codicodec", device="cpu")
    assert hub_has.asked == ["metadata", "c" * 40]
    assert first.metadata["source"] == source
    again = load_model("codicodec", device="cpu")  # from the client's cache, and nothing is asked
    assert hub_has.asked == ["metadata", "c" * 40]
    assert again.metadata["source"] == source
    out = tmp_path / "own.safetensors"
    assert m2l2("models", "convert", hub.local_path(OFFICIAL["codicodec"]), out)[0] == 0
    assert read_metadata(out)["source"] == source
    stored = tmp_path / "music"
    stored.mkdir()
    save(stored / "a.wav", WAVEFORM[None], 48_000)
    assert m2l2("embed", stored, "--out", tmp_path / "store", "--model", "codicodec", "--device", "cpu")[0] == 0
    assert EmbeddingStore.open(tmp_path / "store").provenance["source"] == source

    os.utime(official_pt, (0, 0))  # no longer the file that was compared
    assert read_metadata(official_pt)["source"].startswith("a file in the format of SonyCSLParis/codicodec")


def test_a_download_that_is_not_what_the_hub_states_is_not_used(official_pt, hub_has):
    hub_has.etag = "0" * 64
    with pytest.raises(CheckpointError, match=rf"its SHA-256 is [0-9a-f]{{64}}, not {'0' * 64}; delete it"):
        load_model("codicodec", device="cpu")
    assert noted_origin("codicodec") is None
    hub_has.etag = "0" * 40  # of git: nothing to compare with
    assert "commit ccc" in load_model("codicodec", device="cpu").metadata["source"]
    own = hashlib.sha256(official_pt.read_bytes()).hexdigest()
    assert f"SHA-256 {own}, none is stated there" in read_metadata(official_pt)["source"]


def test_a_file_is_told_from_the_one_that_others_have_pinned(official_pt, monkeypatch, tmp_path):
    monkeypatch.setenv("M2L2_CACHE", str(tmp_path / "cache"))
    own, official = hashlib.sha256(official_pt.read_bytes()).hexdigest(), OFFICIAL["codicodec"]
    monkeypatch.setitem(OFFICIAL, "codicodec", dataclasses.replace(official, pinned="0" * 64))
    with pytest.warns(
        UserWarning, match=rf"is not the codicodec\.pt that others have pinned: .* is {own[:12]}\.\.\., not"
    ):
        model = load_model(official_pt, device="cpu")
    assert model.metadata["source"].endswith(f", SHA-256 {own}, not the one that others have pinned")
    monkeypatch.setattr(origin, "sha256_of", lambda _: "1" * 64)  # not asked, for it is known by now
    monkeypatch.setitem(OFFICIAL, "codicodec", dataclasses.replace(official, pinned=own))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model(official_pt, device="cpu")
    assert model.metadata["source"].endswith(f", SHA-256 {own}, the one that others have pinned")
    os.utime(official_pt, (0, 0))  # may be another file now
    assert "SHA-256 1111" in read_metadata(official_pt)["source"]


def test_other_weights_under_the_same_name_are_told(official_pt, hub_has, monkeypatch):
    load_model("codicodec", device="cpu")
    official_pt.write_bytes(official_pt.read_bytes() + b" ")
    hub_has.etag = hashlib.sha256(official_pt.read_bytes()).hexdigest()
    hub_has.commit = "d" * 40
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)  # cleared
    with pytest.warns(UserWarning, match=r"has changed \(commit d{12}, before c{12}\)"):
        hub.official_path(OFFICIAL["codicodec"])
    assert noted_origin("codicodec").commit == "d" * 40


def test_only_loading_downloads(m2l2, small_codicodec, tmp_path, monkeypatch, asked):
    monkeypatch.setenv("M2L2_CACHE", str(tmp_path))
    row = next(row for row in json.loads(m2l2("models", "list", "--json")[1]) if row["name"] == "codicodec")
    assert (row["weights"], row["licence"]) == ("official, to be downloaded", LICENCE)
    facts = json.loads(m2l2("models", "show", "codicodec", "--json")[1])
    assert (facts["weights"], facts["licence"]) == ("official, to be downloaded", LICENCE)
    assert (
        facts["source"] == "the hub's SonyCSLParis/codicodec, codicodec.pt: its newest commit at first use, then kept"
    )
    assert not load_model("random:codicodec", device="cpu").trained
    assert asked == []
