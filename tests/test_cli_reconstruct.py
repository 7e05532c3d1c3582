"""The command ``m2l2 reconstruct``, with a codec of known worth in place of a trained model."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from m2l2_mir import __version__
from m2l2_mir.audio import load, read_info, save
from m2l2_mir.loudness import integrated_loudness
from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.quality.reconstruction import clip_figures
from m2l2_mir.reconstruct.outcome import distances

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
    monkeypatch.setattr("m2l2_mir.reconstruct.run.check", lambda _, decoding: decoding)


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
    assert row["log_spectral_distance_aligned"] < 0.3  # of the bin that is dropped
    if rate == RATE:
        # of the decoder's own level, under that of what is written
        assert row["log_spectral_distance"] == pytest.approx(6.02, abs=0.3)
        figures = clip_figures(ours, theirs, sample_rate=rate)
        assert row["si_sdr"] == pytest.approx(figures["si_sdr"], abs=0.5)

    other = tmp_path / "other.wav"
    code, out, _ = m2l2("reconstruct", song, "--out", other, "--rate", 32_000, "--raw-level", "--json", *TINY)
    assert code == 0
    (raw,) = json.loads(out)["files"]
    assert raw["log_spectral_distance"] == row["log_spectral_distance"]
    assert (raw["raw_level"], row["raw_level"], raw["gain_db"]) == (True, False, 0)
    soft, written = load(other)
    assert (written, soft.shape[1]) == (32_000, round(ours.shape[1] * 32_000 / rate))
    assert integrated_loudness(iter([soft]), written) == pytest.approx(loudness[0] - 6.02, abs=0.1)


@pytest.mark.usefixtures("perfect")
def test_channels_that_cancel_are_silence(m2l2, tmp_path: Path) -> None:
    left = melody(5, 1.0)
    save(tmp_path / "cancel.flac", np.concatenate([left, -left * (1 + 1e-7)]), RATE)
    code, out, _ = m2l2("reconstruct", tmp_path / "cancel.flac", "--out", tmp_path / "again.wav", "--json", *TINY)
    (row,) = json.loads(out)["files"]
    assert code == 0
    assert (row["si_sdr"], row["log_spectral_distance"]) == (None, None)
    assert "silent" in row["note"]


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
    code, out, _ = m2l2("reconstruct", song, "--out", again, *options, "--json", *TINY)
    assert code == 0
    record = json.loads(out)
    (row,) = record["files"]
    told = [row[name] for name in ("sigma_cond", "position_cond", "steps", "seed", "raw_level", "excerpt")]
    assert told == [1.5, None, 1, 3, True, "0.5,1.0"]
    assert record["m2l2_mir"] == __version__
    _, out, _ = m2l2("reconstruct", song, "--out", tmp_path / "p.wav", "--method", "parallel", "--json", *TINY)
    assert [json.loads(out)["files"][0][name] for name in ("sigma_cond", "steps")] == [None, 5]
    model = load_model("random:m2l2-tiny", device="cpu")
    waveform = load(song, excerpt=(0.5, 1))[0]
    embeddings = model.encode(waveform, RATE)
    expected = model.decode(embeddings, num_samples=waveform.shape[1], sigma_cond=1.5, seed=3).numpy()
    np.testing.assert_allclose(load(again)[0], expected.clip(-1, 1), atol=1e-4)


def test_wrong_use_is_one_line_and_told_before_anything_is_heard(
    m2l2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = tmp_path / "a.wav"
    save(song, melody(3, 0.5), RATE)
    save(tmp_path / "b.wav", melody(4, 0.5), RATE)
    before = song.read_bytes()
    monkeypatch.setattr("m2l2_mir.reconstruct.run.hear", lambda *_, **__: pytest.fail("nothing should be heard"))
    for given, said in (
        ((song, "--out", song), "would be replaced"),
        ((tmp_path, "--out", tmp_path), "would be replaced"),
        ((tmp_path, "--out", tmp_path / "one.wav"), "name a folder"),
        ((song, "--out", tmp_path / "one.wav", "--method", "best"), "two-step, single-step, parallel"),
        ((song, "--out", tmp_path / "one.wav", "--sigma-cond", -1), "sigma_cond"),
        ((song, "--out", tmp_path / "one.wav", "--metrics", tmp_path / "m.txt"), ".json or .csv"),
        ((tmp_path / "none", "--out", tmp_path / "one.wav"), "does not exist"),
        ((song, "--out", tmp_path / "one.aac"), "cannot write '.aac'"),
        ((song, "--out", tmp_path / "one.opus"), "another rate"),
        ((song, "--out", tmp_path / "one.xyz"), "no audio format"),
        ((song, "--out", tmp_path / "b.wav" / "one.wav"), "is no folder"),
        ((song, "--out", tmp_path / "one.wav", "--metrics", song / "m.csv"), "is no folder"),
        ((song, "--out", tmp_path / "one.wav", "--method", "parallel", "--sigma-cond", 0.2), "no part"),
        ((song, "--out", tmp_path / "one.wav", "--sigma-cond", 0.2, "--position-cond", 0.2), "one noise in two ways"),
    ):
        code, _, err = m2l2("reconstruct", *given, *TINY)
        assert code == 2, given
        assert said in err
        assert err.count("\n") <= 2
    monkeypatch.undo()
    code, _, err = m2l2("reconstruct", song, "--out", tmp_path / "one.xyz" / "deep", "--rate", 11, *TINY)
    assert code in (0, 3)
    assert m2l2("reconstruct", song, "--out", tmp_path / "one.opus", "--rate", 48_000, *TINY)[0] == 0
    assert song.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_enough_music_has_distances(rng) -> None:
    files = [[rng.normal(size=(20, 128)) for _ in range(9)] for _ in range(3)]
    again = [[piece + 0.1 * rng.normal(size=piece.shape) for piece in file] for file in files]
    found = distances(files, again)
    assert (found["groups"], found["embeddings"]) == (3, 540)
    assert found["low"] < found["fad"] < found["high"]
    few = distances([*files[:2], []], [*again[:2], []])  # one file was silent
    assert few["groups"] == 18
    assert "fad" not in few
    assert few["kad_low"] < few["kad"] < few["kad_high"]
    assert distances([files[0][:2]], [again[0][:2]]) == {}
    (one,) = [[piece for file in files for piece in file]]
    assert distances([one], [one])["groups"] == 27
