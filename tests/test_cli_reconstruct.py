"""The command ``m2l2 reconstruct``, with a codec of known worth in place of a trained model."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from m2l2_mir.audio import load, read_info, save
from m2l2_mir.loudness import integrated_loudness
from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.quality.reconstruction import clip_figures

RATE = 44_100
TINY = ("--model", "random:m2l2-tiny", "--device", "cpu")


def melody(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in rng.uniform(100, 2000, 5))
    return (0.05 * tones * (1.2 + np.sin(2 * np.pi * 3 * time)))[None] + 1e-3 * rng.normal(size=(1, len(time)))


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose embeddings are its input: what the decoder gives is the STFT round trip, 6 dB too soft."""
    kept: list[torch.Tensor] = []

    def encode_blocks(model: Music2Latent2, blocks: torch.Tensor) -> torch.Tensor:
        kept.extend(spectrogram.analyze(blocks, model.config))
        return torch.zeros(len(blocks), model.config.num_embeddings, model.config.latent_dim)

    def decode_stream(model: Music2Latent2, embeddings, *, num_samples, noise, **settings):
        pieces = spectrogram.synthesize(iter(kept[: len(embeddings)]), model.config, num_samples)
        yield from (piece / 2 for piece in pieces)

    monkeypatch.setattr(Music2Latent2, "encode_blocks", encode_blocks)
    monkeypatch.setattr(Music2Latent2, "decode_stream", decode_stream)
    monkeypatch.setattr("m2l2_mir.reconstruct_many.check", lambda *_: None)


@pytest.mark.usefixtures("perfect")
@pytest.mark.parametrize("rate", [RATE, 22_050])
def test_length_rate_and_loudness_are_kept(m2l2, tmp_path: Path, rate: int) -> None:
    song, again = tmp_path / "song.wav", tmp_path / "again.flac"
    save(song, melody(0, 3.3333, rate), rate)
    code, out, err = m2l2("reconstruct", song, "--out", again, "--json", *TINY)
    assert code == 0, err
    ours, theirs = load(song)[0], load(again)[0]
    assert theirs.shape == ours.shape
    assert read_info(again).sample_rate == rate
    loudness = [integrated_loudness(iter([clip]), rate) for clip in (ours, theirs)]
    assert loudness[1] == pytest.approx(loudness[0], abs=0.05)
    (row,) = json.loads(out)["files"]
    assert row["gain_db"] == pytest.approx(6.02, abs=0.05)
    assert row["si_sdr"] > 60
    assert row["log_spectral_distance"] < 0.3  # of the bin that is dropped
    if rate == RATE:
        figures = clip_figures(ours, theirs, sample_rate=rate)
        assert row["si_sdr"] == pytest.approx(figures["si_sdr"], abs=0.5)

    other = tmp_path / "other.wav"
    assert m2l2("reconstruct", song, "--out", other, "--rate", 32_000, "--raw-level", *TINY)[0] == 0
    soft, written = load(other)
    assert (written, soft.shape[1]) == (32_000, round(ours.shape[1] * 32_000 / rate))
    assert integrated_loudness(iter([soft]), written) == pytest.approx(loudness[0] - 6.02, abs=0.1)


def test_a_folder_with_every_method_and_a_bad_file(m2l2, tmp_path: Path) -> None:
    music, out, metrics = tmp_path / "my müsic", tmp_path / "out", tmp_path / "out" / "metrics.csv"
    (music / "deep").mkdir(parents=True)
    save(music / "deep" / "a.wav", melody(1, 1.0), RATE)
    save(music / "silent.flac", np.zeros((2, 9000)), 16_000)
    (music / "bad.mp3").write_bytes(b"no sound")
    methods = ("two-step", "single-step", "parallel")
    options = [word for method in methods for word in ("--method", method)]
    code, printed, err = m2l2("reconstruct", music, "--out", out, "--metrics", metrics, *options, *TINY)
    assert code == 3
    assert err.count("bad.mp3") == 1
    assert "2 of 3 files reconstructed" in printed
    assert "untrained" in printed
    files = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.is_file()}
    expected = {f"{name}.{method}.wav" for name in ("deep/a", "silent") for method in methods}
    assert files == expected | {"metrics.csv"}
    assert len({(out / f"deep/a.{method}.wav").read_bytes() for method in methods}) == 3
    rows = list(csv.DictReader(metrics.open()))
    assert [row["track"] for row in rows] == ["deep/a.wav"] * 3 + ["silent.flac"] * 3 + ["bad.mp3"]
    assert all(np.isfinite(float(row["si_sdr"])) and float(row["decode_x_real_time"]) > 0 for row in rows[:3])
    assert all(row["si_sdr"] == "" and "silent" in row["note"] for row in rows[3:6])
    assert rows[0]["chunks"] == "2"


def test_decodes_as_the_model_does(m2l2, tmp_path: Path) -> None:
    song, again = tmp_path / "song.wav", tmp_path / "again.wav"
    save(song, melody(2, 2.0), RATE)
    options = ("--sigma-cond", 1.5, "--seed", 3, "--raw-level", "--excerpt", "0.5,1")
    assert m2l2("reconstruct", song, "--out", again, *options, *TINY)[0] == 0
    model = load_model("random:m2l2-tiny", device="cpu")
    waveform = load(song, excerpt=(0.5, 1))[0]
    embeddings = model.encode(waveform, RATE)
    expected = model.decode(embeddings, num_samples=waveform.shape[1], sigma_cond=1.5, seed=3).numpy()
    np.testing.assert_allclose(load(again)[0], expected.clip(-1, 1), atol=1e-4)


def test_wrong_use_is_one_line_and_nothing_is_replaced(m2l2, tmp_path: Path) -> None:
    song = tmp_path / "a.wav"
    save(song, melody(3, 0.5), RATE)
    save(tmp_path / "b.wav", melody(4, 0.5), RATE)
    before = song.read_bytes()
    for given, said in (
        ((song, "--out", song), "would be replaced"),
        ((tmp_path, "--out", tmp_path), "would be replaced"),
        ((tmp_path, "--out", tmp_path / "one.wav"), "name a folder"),
        ((song, "--out", tmp_path / "one.wav", "--method", "best"), "two-step, single-step, parallel"),
        ((song, "--out", tmp_path / "one.wav", "--sigma-cond", -1), "sigma_cond"),
        ((song, "--out", tmp_path / "one.wav", "--metrics", tmp_path / "m.txt"), ".json or .csv"),
        ((tmp_path / "none", "--out", tmp_path / "one.wav"), "does not exist"),
    ):
        code, _, err = m2l2("reconstruct", *given, *TINY)
        assert code == 2, given
        assert said in err
        assert err.count("\n") <= 2
    code, _, err = m2l2("reconstruct", song, "--out", tmp_path / "one.xyz" / "deep", "--rate", 11, *TINY)
    assert code in (0, 3)
    code, _, err = m2l2("reconstruct", song, "--out", tmp_path / "one.opus", *TINY)
    assert code == 3
    assert "--rate" in err
    assert song.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_enough_music_has_a_distance(monkeypatch: pytest.MonkeyPatch, rng) -> None:
    from m2l2_mir import reconstruct_many

    files = [[rng.normal(size=(20, 128)) for _ in range(9)] for _ in range(3)]
    again = [[piece + 0.1 * rng.normal(size=piece.shape) for piece in file] for file in files]
    found = reconstruct_many._distance(files, again)
    assert found is not None
    assert (found["groups"], found["embeddings"]) == (3, 540)
    assert reconstruct_many._distance(files[:2], again[:2]) is None
    (one,) = [[piece for file in files for piece in file]]
    assert (reconstruct_many._distance([one], [one]) or {})["groups"] == 27
