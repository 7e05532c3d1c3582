"""From files to a store: the numbers are the model's own, a bad file costs only itself, a run can be taken up again."""

import json
import math
import os
import re
import shutil
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from m2l2_mir.audio import load, save
from m2l2_mir.embedding import pipeline, reading
from m2l2_mir.embedding.extract import Silent, extract
from m2l2_mir.embedding.pipeline import QUEUED_BATCHES
from m2l2_mir.embedding.reading import Chunk
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.errors import InputError, StoreError, UntrainedWarning
from m2l2_mir.model.checkpoint import load_model

RATE = 44100
CHUNK = 32768  # samples of a chunk of the tiny model
OVERLAP = 1024


@pytest.fixture
def model():
    return load_model("random:m2l2-tiny", device="cpu")


@pytest.fixture
def threads_end():
    """Fail where a test leaves a thread behind or another number of kernel threads."""
    before, kernels = set(threading.enumerate()), torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    now = torch.get_num_threads()
    torch.set_num_threads(kernels)
    assert now == 3
    assert set(threading.enumerate()) <= before


class Recorder(Silent):
    """An observer that keeps what it is told."""

    def __init__(self):
        self.results = []

    def started(self, listing, unchanged, model):
        self.listing, self.unchanged = listing, unchanged

    def finished(self, result):
        self.results.append(result)


def noise(samples, channels=1, seed=0, level=0.1):
    """Noise whose level changes all the time, so that no two chunks are alike."""
    swell = 0.2 + np.abs(np.sin(np.arange(samples) / 20_000 + seed))
    return (level * swell * np.random.default_rng(seed).normal(size=(channels, samples))).clip(-1, 1)


def write(path, samples=2 * CHUNK, *, rate=RATE, **sound):
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, noise(samples, **sound), rate)
    return path


def by_hand(model, path, **options):
    """Chunks, real samples, silence, mean and std, from the whole waveform at once."""
    waveform, rate = load(path, sample_rate=RATE, channels=1, **options)
    chunks = model.encode(waveform, rate).numpy().astype(np.float64)
    pieces = [waveform[0, i * CHUNK : (i + 1) * CHUNK] for i in range(len(chunks))]
    samples = np.array([len(piece) for piece in pieces])
    heard = np.array([len(piece) > 0 and np.sqrt(np.mean(piece**2)) > 10 ** (-70 / 20) for piece in pieces])
    weights = samples * heard
    mean = np.average(chunks, axis=0, weights=weights)
    std = np.sqrt(np.average((chunks - mean) ** 2, axis=0, weights=weights))
    return chunks, samples, ~heard, mean, std


def vectors(store):
    """Mean and std of each ok track, by name."""
    return dict(zip(store.ok["track_id"], store.embeddings("mean+std"), strict=True))


def assert_same(one, other, tolerance=1e-5):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance, err_msg=name)


def calls_of(model, monkeypatch, before=lambda call: None):
    """Count the blocks that each call of the encoder gets."""
    sizes, real, lock = [], model.encode_blocks, threading.Lock()

    def spied(blocks, **options):
        with lock:
            sizes.append(len(blocks))
            call = len(sizes)
        before(call)
        return real(blocks, **options)

    monkeypatch.setattr(model, "encode_blocks", spied)
    return sizes


# The numbers


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    write(folder / "mono.wav", 3 * CHUNK + 777, seed=1)
    write(folder / "stereo.flac", 2 * CHUNK - OVERLAP, channels=2, seed=2)  # the last chunk is exactly full
    write(folder / "phone.wav", 20_000, rate=8000, seed=3)
    write(folder / "studio.wav", 300_001, rate=192_000, channels=2, seed=4)
    write(folder / "surround.wav", 70_000, rate=48_000, channels=6, seed=5)
    write(folder / "short.wav", 999, seed=6)
    write(folder / "exact.wav", 2 * CHUNK, seed=7)  # its last chunk begins with the last sample's overlap only
    return folder


def test_embeddings_are_those_of_the_model_pooled_over_time(music, tmp_path, model):
    store = extract(music, out=tmp_path / "store", model=model, keep="chunks", jobs=2)
    assert list(store.tracks["status"]) == ["ok"] * 7, list(store.tracks["reason"])
    std = store.embeddings("mean+std")[..., 64:]
    for row, track in store.ok.iterrows():
        chunks, samples, silent, mean, deviation = by_hand(model, music / track["track_id"])
        np.testing.assert_allclose(store.embeddings()[row], mean, rtol=0, atol=1e-5, err_msg=track["track_id"])
        np.testing.assert_allclose(std[row], deviation, rtol=0, atol=1e-5, err_msg=track["track_id"])
        np.testing.assert_allclose(store.chunks(track["track_id"]), chunks, rtol=1e-3, atol=1e-6)  # float16
        table = store.chunk_table(track["track_id"])
        assert list(table["samples"]) == list(samples)
        assert list(table["silent"]) == list(silent)
        np.testing.assert_allclose(table["start"], np.arange(len(chunks)) * CHUNK / RATE)
        assert track["chunks"] == len(chunks)
        assert track["silent_chunks"] == 0
        waveform, rate = load(music / track["track_id"])
        assert (track["sample_rate"], track["channels"]) == (rate, len(waveform))
        assert table["samples"].sum() == round(waveform.shape[1] * RATE / rate)
        assert track["duration"] == pytest.approx(waveform.shape[1] / rate, abs=1 / RATE)
    exact = store.chunk_table("exact.wav")
    assert list(exact["samples"]) == [CHUNK, CHUNK, 0]
    means = store.embeddings().reshape(7, -1)
    assert np.abs(means[:, None] - means)[~np.eye(7, dtype=bool)].max(axis=-1).min() > 1e-3  # the model does hear


@pytest.mark.parametrize(("batch_size", "jobs"), [(1, 1), (3, 3), (64, 1), (64, 3), (1, 3)])
def test_neither_batch_nor_threads_nor_neighbours_change_a_track(music, tmp_path, model, batch_size, jobs):
    plain = vectors(extract(music, out=tmp_path / "plain", model=model, jobs=1, batch_size=8))
    other = extract(music, out=tmp_path / "other", model=model, jobs=jobs, batch_size=batch_size)
    assert_same(vectors(other), plain)
    alone = extract(music / "mono.wav", out=tmp_path / "alone", model=model, jobs=jobs, batch_size=batch_size)
    assert_same(vectors(alone), {"mono.wav": plain["mono.wav"]})


def test_an_encoder_faster_than_the_reader_waits_for_the_end(tmp_path, model, monkeypatch):
    path, real, received = write(tmp_path / "a.wav", 3 * CHUNK), pipeline.read_chunks, threading.Semaphore(0)

    class Slow(pipeline.Track):
        def receive(self, *arguments):
            result = super().receive(*arguments)
            received.release()
            return result

    def one_by_one(track, *rest):
        for chunk in real(track, *rest):
            yield chunk
            assert received.acquire(timeout=10)

    monkeypatch.setattr(pipeline, "Track", Slow)
    monkeypatch.setattr(pipeline, "read_chunks", one_by_one)
    told = Recorder()
    store = extract(path, out=tmp_path / "store", model=model, batch_size=1, observer=told)
    assert len(told.results) == 1
    np.testing.assert_allclose(store.embeddings()[0], by_hand(model, path)[3], rtol=0, atol=1e-5)


def test_batches_mix_files_and_are_full(tmp_path, model, monkeypatch):
    for name in "abcdef":
        write(tmp_path / "music" / f"{name}.wav", 100)
    sizes = calls_of(model, monkeypatch)
    extract(tmp_path / "music", out=tmp_path / "store", model=model, jobs=1, batch_size=4)
    assert sizes == [4, 2]


def test_silent_chunks_are_left_out_and_counted(tmp_path, model):
    waveform = noise(4 * CHUNK + 50, seed=1)
    waveform[:, CHUNK : 3 * CHUNK] = 0
    waveform[:, CHUNK : 2 * CHUNK] = 0.9 * 10 ** (-70 / 20)  # just below what counts as sound
    save(tmp_path / "middle.wav", waveform, RATE)
    store = extract(tmp_path / "middle.wav", out=tmp_path / "store", model=model, keep="chunks")
    _, samples, silent, mean, std = by_hand(model, tmp_path / "middle.wav")
    assert list(samples) == [CHUNK, CHUNK, CHUNK, CHUNK, 50]
    assert list(silent) == [False, True, True, False, False]
    assert list(store.chunk_table("middle.wav")["silent"]) == list(silent)
    assert store.tracks["silent_chunks"].item() == 2
    assert store.tracks["chunks"].item() == 5
    np.testing.assert_allclose(store.embeddings("mean+std")[0], np.concatenate([mean, std], axis=-1), rtol=0, atol=1e-5)


def test_a_chunk_just_loud_enough_counts(tmp_path, model):
    waveform = np.concatenate([noise(CHUNK), np.full((1, CHUNK), 1.1 * 10 ** (-70 / 20))], axis=1)
    save(tmp_path / "a.wav", waveform, RATE)
    store = extract(tmp_path / "a.wav", out=tmp_path / "store", model=model)
    assert store.tracks["silent_chunks"].item() == 0


@pytest.mark.parametrize("samples", [1, 2, OVERLAP, CHUNK - OVERLAP, CHUNK - OVERLAP + 1, CHUNK])
def test_files_of_about_a_chunk_and_less(tmp_path, model, samples):
    save(tmp_path / "a.wav", np.full((1, samples), 0.5), RATE)
    store = extract(tmp_path / "a.wav", out=tmp_path / "store", model=model, keep="chunks")
    chunks, expected, _, mean, _ = by_hand(model, tmp_path / "a.wav")
    assert list(store.chunk_table("a.wav")["samples"]) == list(expected)
    assert expected.sum() == samples
    np.testing.assert_allclose(store.embeddings()[0], mean, rtol=0, atol=1e-5)
    assert store.tracks["chunks"].item() == len(chunks)


def test_features_before_the_bottleneck(tmp_path, model):
    path = write(tmp_path / "a.wav", CHUNK)
    store = extract(path, out=tmp_path / "store", model=model, features="pre-bottleneck", keep="chunks")
    config = model.config
    assert config.dim != config.latent_dim or not np.allclose(
        store.chunks("a.wav"), model.encode(*load(path)).numpy(), atol=1e-2
    )
    assert store.chunks("a.wav").shape == (2, config.latent_tokens, config.dim)
    assert store.embeddings().shape == (1, config.latent_tokens, config.dim)
    expected = model.encode(*load(path), features="pre-bottleneck").numpy()
    np.testing.assert_allclose(store.chunks("a.wav"), expected, rtol=1e-3, atol=1e-3)


def test_the_licence_of_the_weights_and_the_device_travel_with_the_embeddings(tmp_path, model, monkeypatch):
    path = write(tmp_path / "a.wav", CHUNK)
    monkeypatch.setattr(model, "metadata", {"licence": "CC BY-NC 4.0", "citation": "Someone, 2025", "steps": 7})
    stated = extract(path, out=tmp_path / "store", model=model).provenance
    assert stated["versions"]["device"] == "cpu"
    assert (stated["licence"], stated["citation"], "steps" in stated) == ("CC BY-NC 4.0", "Someone, 2025", False)


def test_an_excerpt_is_embedded_as_a_file_of_its_own(tmp_path, model):
    path = write(tmp_path / "a.wav", 4 * RATE, seed=1)
    save(tmp_path / "part.wav", load(path)[0][:, RATE : 3 * RATE], RATE)
    store = extract(path, out=tmp_path / "excerpt", model=model, excerpt=(1, 2))
    part = extract(tmp_path / "part.wav", out=tmp_path / "part", model=model)
    whole = extract(path, out=tmp_path / "whole", model=model)
    assert store.provenance["settings"]["excerpt"] == [1, 2]
    assert whole.provenance["settings"]["excerpt"] is None
    np.testing.assert_allclose(store.embeddings("mean+std"), part.embeddings("mean+std"), rtol=0, atol=1e-5)
    assert np.abs(store.embeddings() - whole.embeddings()).max() > 1e-3
    assert store.tracks["chunks"].item() == part.tracks["chunks"].item() == 3


def test_an_excerpt_past_the_end_fails_and_one_across_it_is_cut(tmp_path, model):
    write(tmp_path / "music" / "one.wav", RATE)
    write(tmp_path / "music" / "three.wav", 3 * RATE)
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model, excerpt=(2, 5), keep="chunks")
    rows = store.tracks.set_index("track_id")
    assert rows.loc["one.wav", "status"] == "failed"
    assert re.search(r"begins at 2 s but the file lasts 1\.00 s", rows.loc["one.wav", "reason"])
    assert store.chunk_table("three.wav")["samples"].sum() == RATE


def test_loudness_takes_the_level_out(tmp_path, model):
    """Also of what counts as silence: the last chunk lies below -70 dBFS in the quiet file."""
    waveform = noise(4 * CHUNK, seed=1)
    waveform[:, 3 * CHUNK - OVERLAP :] *= 10 ** (-40 / 20)
    for name, gain in [("loud", 1.0), ("quiet", 0.1)]:
        path = tmp_path / "music" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, gain * waveform.T, RATE, subtype="FLOAT")
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model, loudness=-20)
    assert store.provenance["settings"]["loudness"] == -20
    assert list(store.tracks["silent_chunks"]) == [0, 0]
    loud, quiet = store.embeddings("mean+std")
    np.testing.assert_allclose(loud, quiet, rtol=0, atol=1e-4)
    plain = extract(tmp_path / "music", out=tmp_path / "plain", model=model)
    assert list(plain.tracks["silent_chunks"]) == [0, 1]
    loud_plain, quiet_plain = plain.embeddings("mean+std")
    assert np.abs(loud_plain - quiet_plain).max() > 1e-3
    assert np.abs(loud - loud_plain).max() > 1e-3


def test_an_excerpt_that_is_cut_off_says_so(tmp_path, model):
    path = write(tmp_path / "a.mp3", 4 * 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    store = extract(path, out=tmp_path / "store", model=model, excerpt=(0.5, 3))
    assert store.tracks["status"].item() == "ok"
    assert re.match(r"cut off: 1\.\d+ s of 3\.00 s", store.tracks["reason"].item())


def test_a_file_of_unknown_duration_is_not_called_cut_off(tmp_path, model, monkeypatch):
    real = reading.read_info
    monkeypatch.setattr(reading, "read_info", lambda path: replace(real(path), duration=float("nan")))
    store = extract(write(tmp_path / "a.wav", 44_100), out=tmp_path / "store", model=model, excerpt=(0, 10))
    assert (store.tracks["status"].item(), store.tracks["reason"].item()) == ("ok", "")


def test_loudness_is_that_of_what_the_model_hears(tmp_path, model):
    """A mono model hears the mean of the channels, whatever their number."""
    (tmp_path / "music").mkdir()
    mono = 0.3 * noise(3 * RATE, seed=1)
    for channels in (1, 2, 4, 8):
        soundfile.write(tmp_path / "music" / f"{channels}.wav", np.repeat(mono, channels, axis=0).T, RATE, "FLOAT")
    left = np.concatenate([mono, np.zeros_like(mono)]).T
    soundfile.write(tmp_path / "music" / "left.wav", left, RATE, "FLOAT")
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model, loudness=-23)
    assert list(store.tracks["reason"]) == [""] * 5
    vectors = store.embeddings("mean+std")
    np.testing.assert_allclose(vectors[1:], np.repeat(vectors[:1], 4, axis=0), rtol=0, atol=1e-4)


def test_a_store_of_the_loudness_of_files_is_not_gone_on_with(tmp_path, model):
    path = write(tmp_path / "a.wav", 100)
    for loudness in (None, -23):
        store = extract(path, out=tmp_path / f"store {loudness}", model=model, loudness=loudness)
        assert ("loudness_of" in store.provenance["settings"]) == (loudness is not None)
    provenance = tmp_path / "store -23" / "provenance.json"
    stated = json.loads(provenance.read_text())
    del stated["settings"]["loudness_of"]  # as it was before
    provenance.write_text(json.dumps(stated))
    with pytest.raises(StoreError, match='loudness_of: absent in the store, "what the model hears" asked for'):
        extract(path, out=tmp_path / "store -23", model=model, loudness=-23)


def test_loudness_is_that_of_the_excerpt(tmp_path, model):
    waveform = noise(4 * RATE, seed=1)
    waveform[:, : 2 * RATE] *= 0.05
    save(tmp_path / "a.wav", waveform, RATE)
    save(tmp_path / "part.wav", load(tmp_path / "a.wav")[0][:, : 2 * RATE], RATE)
    excerpt = extract(tmp_path / "a.wav", out=tmp_path / "excerpt", model=model, excerpt=(0, 2), loudness=-23)
    part = extract(tmp_path / "part.wav", out=tmp_path / "part", model=model, loudness=-23)
    np.testing.assert_allclose(excerpt.embeddings("mean+std"), part.embeddings("mean+std"), rtol=0, atol=1e-4)


# Bad inputs


def test_bad_files_cost_only_themselves(tmp_path, model, monkeypatch):
    folder = tmp_path / "music"
    odd = [
        "a b.wav",
        "é ü 日本.wav",
        "a+b.wav",
        "a,b.wav",
        "line\nbreak.wav",
        "quote'\".wav",
        "back\\slash.wav",
        "%41.wav",
    ]
    for number, name in enumerate([*odd, "deep/er/a.wav"]):
        write(folder / name, 2000, seed=number)
    (folder / "corrupt.wav").write_bytes(b"RIFF" + bytes(range(256)) * 8)
    whole = write(folder / "truncated.flac", 6 * CHUNK).read_bytes()
    (folder / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.wav").touch()
    (folder / "broken\nbreak.wav").touch()
    (folder / "text.mp3").write_text("These are words, and no music.\n" * 100)
    soundfile.write(folder / "nan.wav", np.array([0.1, 0.2, math.nan] * 500), RATE, subtype="FLOAT")
    soundfile.write(folder / "huge.wav", noise(2000)[0] * 1e36, RATE, subtype="FLOAT")
    soundfile.write(folder / "header only.wav", np.empty(0), RATE)
    save(folder / "silent.wav", np.zeros(5000), RATE)
    save(folder / "one at 192 kHz.wav", np.ones(1) * 0.5, 192_000)
    (folder / "folder.wav").mkdir()
    (folder / "link.wav").symlink_to(folder / "nowhere.wav")
    write(folder / "locked" / "inside.wav", 100)
    write(folder / "vanishing.wav", 100)
    (folder / "cover.jpg").touch()
    (folder / ".hidden.wav").touch()

    scandir = os.scandir

    def guarded(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)

    class Remover(Recorder):
        def started(self, listing, unchanged, model):
            super().started(listing, unchanged, model)
            (folder / "vanishing.wav").unlink()

    told = Remover()
    store = extract(folder, out=tmp_path / "store", model=model, keep="chunks", jobs=3, observer=told)
    assert set(store.ok["track_id"]) == {*odd, "deep/er/a.wav"}
    for name, vector in vectors(store).items():
        np.testing.assert_allclose(vector[:, :64], by_hand(model, folder / name)[3], rtol=0, atol=1e-5)

    reasons = store.tracks.set_index("track_id").query("status == 'failed'")["reason"]
    expected = {
        "broken\nbreak.wav": r"broken\\nbreak\.wav: is empty",
        "corrupt.wav": r"corrupt\.wav: (cannot be read as audio|holds no samples)",
        "empty.wav": r"is empty \(0 bytes\)",
        "header only.wav": "holds no samples",
        "huge.wav": "no finite numbers",
        "link.wav": "a link to something that does not exist",
        "locked": "the folder cannot be read: Permission denied",
        "nan.wav": r"holds NaN or infinity at 0\.000 s",
        "one at 192 kHz.wav": "too short",
        "silent.wav": "silent: no chunk",
        "text.mp3": r"text\.mp3: cannot be read as audio",
        "truncated.flac": r"cannot be decoded from \d\.\d\d s on",
        "vanishing.wav": r"vanishing\.wav: the file is gone",
    }
    assert sorted(reasons.index) == sorted(expected)
    for name, pattern in expected.items():
        assert re.search(pattern, reasons[name]), (name, reasons[name])
        assert reasons[name].isprintable()
        assert "unexpected" not in reasons[name]
    assert told.listing.passed_over == 2
    assert {result.track_id for result in told.results if result.status == "failed"} == set(expected)
    assert len(told.results) == len(odd) + 1 + len(expected)


def test_a_file_named_on_the_command_line_may_be_unfit_too(tmp_path, model):
    (tmp_path / "folder.wav").mkdir()
    write(tmp_path / "folder.wav" / "a.wav", 100)
    (tmp_path / "notes.txt").write_text("no music")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere.wav")
    paths = [tmp_path / name for name in ("folder.wav", "notes.txt", "link.wav")]
    store = extract(paths, out=tmp_path / "store", model=model)
    assert list(store.ok["track_id"]) == ["a.wav"]
    assert list(store.tracks["status"]) == ["failed", "ok", "failed"]


def test_a_file_that_is_cut_off_says_so(tmp_path, model):
    """An MP3 ends where it ends: what there is counts, and the row tells."""
    path = tmp_path / "a.mp3"
    save(path, noise(10 * RATE), RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (row,) = extract(path, out=tmp_path / "store", model=model).tracks.to_dict("records")
    if row["status"] == "ok":
        assert re.search(r"cut off: [45]\.\d\d s of 10\.\d\d s could be decoded", row["reason"])
        assert 4 < row["duration"] < 6
    else:
        assert "cannot be decoded from" in row["reason"]


def test_a_fault_of_a_decoder_costs_one_file(tmp_path, model, monkeypatch):
    write(tmp_path / "music" / "a.wav", 100)
    write(tmp_path / "music" / "b.wav", 100)
    real = pipeline.read_chunks

    def faulty(track, *rest):
        if track.file.track_id == "a.wav":
            raise IndexError("tuple index out of range")
        return real(track, *rest)

    monkeypatch.setattr(pipeline, "read_chunks", faulty)
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model, jobs=1)
    assert list(store.tracks["status"]) == ["failed", "ok"]
    assert (
        store.tracks["reason"][0] == "a.wav: unexpected IndexError: tuple index out of range; please report this file"
    )


def test_a_file_that_breaks_in_the_middle_leaves_no_embedding(tmp_path, model, monkeypatch):
    """Its first chunks are with the encoder by then."""
    real = pipeline.read_chunks

    def breaking(track, *rest):
        for number, chunk in enumerate(real(track, *rest)):
            if number == 5:
                raise OSError(5, "Input/output error")
            yield chunk

    monkeypatch.setattr(pipeline, "read_chunks", breaking)
    write(tmp_path / "a.wav", 8 * CHUNK)
    told = Recorder()
    store = extract(tmp_path / "a.wav", out=tmp_path / "store", model=model, batch_size=1, observer=told)
    assert list(store.tracks["status"]) == ["failed"]
    assert store.tracks["reason"].item() == "[Errno 5] Input/output error"  # a fault of the disk is not to be reported
    assert len(told.results) == 1


# Going on


def test_a_second_run_embeds_nothing(music, tmp_path, model, monkeypatch):
    first = extract(music, out=tmp_path / "store", model=model)
    sizes, told = calls_of(model, monkeypatch), Recorder()
    again = extract(music, out=tmp_path / "store", model=model, observer=told)
    assert sizes == []
    assert told.results == []
    assert told.unchanged == 7
    pd.testing.assert_frame_equal(again.tracks, first.tracks)
    np.testing.assert_array_equal(again.embeddings(), first.embeddings())


def test_only_what_changed_is_embedded_again(music, tmp_path, model, monkeypatch):
    """A new time stamp is no change; new content of the same size is."""
    before = vectors(extract(music, out=tmp_path / "store", model=model))
    os.utime(music / "stereo.flac", ns=(1, 1))
    size = (music / "exact.wav").stat().st_size
    write(music / "exact.wav", 2 * CHUNK, seed=70)
    assert (music / "exact.wav").stat().st_size == size
    write(music / "new.wav", CHUNK, seed=8)
    sizes = calls_of(model, monkeypatch)
    told, again = Recorder(), []
    told.found_again = again.append
    second = extract(music, out=tmp_path / "store", model=model, observer=told)
    assert again == ["stereo.flac"]
    assert sum(sizes) == 2 + 1  # without the padding behind the last samples
    assert sorted(second.tracks["track_id"]) == sorted([*before, "new.wav"])
    after = vectors(second)
    np.testing.assert_allclose(after["exact.wav"][:, :64], by_hand(model, music / "exact.wav")[3], rtol=0, atol=1e-5)
    assert np.abs(after["exact.wav"] - before["exact.wav"]).max() > 1e-3
    for name in before:
        if name != "exact.wav":
            np.testing.assert_array_equal(after[name], before[name])
    assert len(pd.read_parquet(tmp_path / "store" / "tracks")) == 8  # the old row is gone


def test_a_failed_file_is_tried_again(tmp_path, model):
    path = tmp_path / "music" / "a.wav"
    path.parent.mkdir()
    path.touch()
    assert list(extract(path.parent, out=tmp_path / "store", model=model).tracks["status"]) == ["failed"]
    write(path)
    store = extract(path.parent, out=tmp_path / "store", model=model)
    assert list(store.tracks["status"]) == ["ok"]
    assert store.tracks["reason"].item() == ""


@pytest.mark.parametrize("harm", ["unlinked", "broken link", "unreadable"])
def test_a_finished_row_outlives_its_file(tmp_path, model, monkeypatch, harm):
    """A disk that is not mounted today must not cost yesterday's work."""
    path = write(tmp_path / "music" / "a.wav")
    write(tmp_path / "music" / "b.wav")
    first = extract(path.parent, out=tmp_path / "store", model=model)
    if harm == "unreadable":
        os.utime(path, ns=(1, 1))

        def failing(path):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(reading, "_sha256", failing)
    else:
        path.unlink()
    if harm == "broken link":
        path.symlink_to(tmp_path / "unmounted" / "a.wav")
    told = Recorder()
    second = extract(path.parent, out=tmp_path / "store", model=model, observer=told)
    pd.testing.assert_frame_equal(second.tracks, first.tracks)
    assert [result.status for result in told.results] == ([] if harm == "unlinked" else ["failed"])


@pytest.mark.parametrize(
    ("harm", "reason"), [("corrupt", "cannot be read as audio"), ("silent", "silent: no chunk"), ("empty", "is empty")]
)
def test_a_file_that_changed_into_nothing_usable_has_no_old_embedding(tmp_path, model, harm, reason):
    path = write(tmp_path / "music" / "a.wav")
    write(tmp_path / "music" / "b.wav")
    before = vectors(extract(path.parent, out=tmp_path / "store", model=model, keep="chunks"))
    if harm == "silent":
        save(path, np.zeros(100), RATE)
    else:
        path.write_bytes(b"" if harm == "empty" else b"no longer audio")
    store = extract(path.parent, out=tmp_path / "store", model=model, keep="chunks")
    assert list(store.tracks["status"]) == ["failed", "ok"]
    assert reason in store.tracks["reason"][0]
    assert_same(vectors(store), {"b.wav": before["b.wav"]}, tolerance=0)
    with pytest.raises(InputError, match="it failed"):
        store.chunks("a.wav")
    write(path)
    assert_same(vectors(extract(path.parent, out=tmp_path / "store", model=model, keep="chunks")), before)


def test_a_copy_has_its_own_row(tmp_path, model):
    write(tmp_path / "music" / "a.wav")
    shutil.copy(tmp_path / "music" / "a.wav", tmp_path / "music" / "b.wav")
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model)
    assert list(store.ok["track_id"]) == ["a.wav", "b.wav"]
    assert store.ok["audio_sha256"].nunique() == 1
    np.testing.assert_allclose(*store.embeddings(), rtol=0, atol=1e-5)


def test_a_namesake_in_another_folder_is_refused(tmp_path, model):
    write(tmp_path / "one" / "a.wav", seed=1)
    write(tmp_path / "two" / "a.wav", seed=2)
    write(tmp_path / "two" / "b.wav", seed=3)
    first = vectors(extract(tmp_path / "one", out=tmp_path / "store", model=model))
    told = Recorder()
    store = extract(tmp_path / "two", out=tmp_path / "store", model=model, observer=told)
    assert list(store.ok["track_id"]) == ["a.wav", "b.wav"]
    np.testing.assert_array_equal(vectors(store)["a.wav"], first["a.wav"])
    (refused,) = [result for result in told.results if result.status == "failed"]
    assert refused.track_id == "a.wav"
    assert str(tmp_path / "one" / "a.wav") in refused.reason
    assert "another store" in refused.reason


def test_a_library_may_move_and_be_reached_another_way(tmp_path, model, monkeypatch):
    write(tmp_path / "old" / "a.wav", seed=1)
    write(tmp_path / "old" / "b.wav", seed=2)
    extract(tmp_path / "old", out=tmp_path / "store", model=model)
    (tmp_path / "old").rename(tmp_path / "new")
    sizes = calls_of(model, monkeypatch)
    store = extract(tmp_path / "new", out=tmp_path / "store", model=model)
    assert sizes == []
    assert list(store.tracks["path"]) == [str(tmp_path / "new" / name) for name in ("a.wav", "b.wav")]
    told = Recorder()
    extract(tmp_path / "new", out=tmp_path / "store", model=model, observer=told)
    assert told.unchanged == 2  # told from their time stamps, in their new place
    write(tmp_path / "new" / "a.wav", seed=3)
    store = extract(tmp_path / "new", out=tmp_path / "store", model=model)
    assert sum(sizes) == 2
    (tmp_path / "link").symlink_to(tmp_path / "new")
    write(tmp_path / "new" / "a.wav", seed=4)  # changed, and the path in the store leads to the same file
    told = Recorder()
    store = extract(tmp_path / "link", out=tmp_path / "store", model=model, observer=told)
    assert [result.status for result in told.results] == ["ok"]
    assert store.ok["path"][0] == str(tmp_path / "link" / "a.wav")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"features": "pre-bottleneck"}, 'features: "bottleneck" in the store, "pre-bottleneck" asked for'),
        ({"excerpt": (0, 1)}, r"excerpt: null in the store, \[0, 1\] asked for"),
        ({"loudness": -23}, "loudness: null in the store, -23 asked for"),
        ({"keep": "chunks"}, "keep_chunks: false in the store, true asked for"),
        ({"model": "random:m2l2-tiny:1"}, 'weights: "random:m2l2-tiny:0" in the store, "random:m2l2-tiny:1"'),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, changes, named):
    path = write(tmp_path / "a.wav", 100)
    options = {"model": "random:m2l2-tiny", "device": "cpu"}
    first = extract(path, out=tmp_path / "store", **options)
    with pytest.raises(StoreError, match=named):
        extract(path, out=tmp_path / "store", **options | changes)
    again = EmbeddingStore.open(tmp_path / "store")
    assert again.provenance == first.provenance
    np.testing.assert_array_equal(again.embeddings(), first.embeddings())


def test_weights_that_were_changed_in_place_are_noticed(tmp_path, model):
    path = write(tmp_path / "a.wav", 100)
    extract(path, out=tmp_path / "store", model=model)
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1e-3)
    with pytest.raises(StoreError, match="weights_sha256"):
        extract(path, out=tmp_path / "store", model=model)


# Wrong arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep": "all"},
        {"features": "latents"},
        {"excerpt": (-1, 2)},
        {"excerpt": (0, 0)},
        {"excerpt": (0, math.nan)},
        {"excerpt": (math.inf, 1)},
        {"excerpt": (0, math.inf)},
        {"loudness": 3},
        {"loudness": -70},
        {"loudness": math.nan},
        {"jobs": 0},
        {"batch_size": 0},
        {"paths": "nowhere"},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path, model, wrong):
    paths = wrong.get("paths", write(tmp_path / "a.wav", 100))
    options = {key: value for key, value in wrong.items() if key != "paths"}
    with pytest.raises(InputError, match=re.escape(next(iter(options), "nowhere"))):
        extract(paths, out=tmp_path / "store", model=model, **options)
    assert not (tmp_path / "store").exists()


def test_no_files_are_an_error_before_anything_is_made(tmp_path, model):
    with pytest.raises(InputError, match="no audio files"):
        extract([], out=tmp_path / "store", model=model)
    assert not (tmp_path / "store").exists()


def test_untrained_weights_are_warned_of(tmp_path, model):
    with pytest.warns(UntrainedWarning, match="random:m2l2-tiny:0"):
        store = extract(write(tmp_path / "a.wav", CHUNK), out=tmp_path / "store", model=model)
    assert not store.trained


# When something breaks


def test_an_error_of_the_encoder_reaches_the_caller(tmp_path, model, monkeypatch, threads_end):
    for name in "abcd":
        write(tmp_path / "music" / f"{name}.wav", CHUNK + 100, seed=ord(name))  # two chunks each

    def fail(call):
        if call == 6:
            raise MemoryError("out of memory")

    with monkeypatch.context() as patch:
        calls_of(model, patch, fail)
        with pytest.raises(MemoryError, match="out of memory"):
            extract(tmp_path / "music", out=tmp_path / "store", model=model, jobs=1, batch_size=1)
    assert list(EmbeddingStore.open(tmp_path / "store").ok["track_id"]) == ["a.wav", "b.wav"]
    sizes = calls_of(model, monkeypatch)
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model)
    assert sum(sizes) == 4
    assert list(store.ok["track_id"]) == ["a.wav", "b.wav", "c.wav", "d.wav"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interruption_keeps_what_is_finished(tmp_path, model, threads_end, error):
    for name in "abcd":
        write(tmp_path / "music" / f"{name}.wav", CHUNK, seed=ord(name))

    class Interrupting(Recorder):
        def finished(self, result):
            super().finished(result)
            if len(self.results) == 2:
                raise error

    told = Interrupting()
    with pytest.raises(error):
        extract(tmp_path / "music", out=tmp_path / "store", model=model, jobs=2, observer=told)
    left = EmbeddingStore.open(tmp_path / "store")
    assert set(left.ok["track_id"]) == {result.track_id for result in told.results}
    store = extract(tmp_path / "music", out=tmp_path / "store", model=model)
    assert list(store.ok["track_id"]) == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert sorted(pd.read_parquet(tmp_path / "store" / "tracks")["track_id"]) == list(store.ok["track_id"])


def test_the_store_is_free_after_an_error(tmp_path, model, monkeypatch):
    path = write(tmp_path / "a.wav", 100)
    with monkeypatch.context() as patch:
        patch.setattr(model, "encode_blocks", None)
        with pytest.raises(TypeError):
            extract(path, out=tmp_path / "store", model=model)
    assert len(extract(path, out=tmp_path / "store", model=model).ok) == 1


def test_an_error_does_not_wait_for_a_long_file(tmp_path, model, monkeypatch, threads_end):
    source = LongSource(model, chunks=5000)
    monkeypatch.setattr(pipeline, "read_chunks", source)
    monkeypatch.setattr(model, "encode_blocks", None)
    with pytest.raises(TypeError):
        extract(write(tmp_path / "a.wav", 100), out=tmp_path / "store", model=model, jobs=1, batch_size=2)
    assert source.read < 2 * most_alive(jobs=1, batch_size=2)


def test_an_error_leaves_no_thread_behind(tmp_path, model, monkeypatch):
    """Not even one that is slow to end."""
    before, real = set(threading.enumerate()), pipeline.read_chunks

    def slow_to_end(track, *rest):
        try:
            yield from real(track, *rest)
        finally:
            time.sleep(0.3)

    monkeypatch.setattr(pipeline, "read_chunks", slow_to_end)
    monkeypatch.setattr(model, "encode_blocks", None)
    with pytest.raises(TypeError):
        extract(write(tmp_path / "a.wav", 40 * CHUNK), out=tmp_path / "store", model=model, jobs=1, batch_size=1)
    assert set(threading.enumerate()) <= before


# Memory


class LongSource:
    """Takes the place of `read_chunks`: one long file that is read in no time. Counts the blocks alive."""

    def __init__(self, model, chunks):
        self.model, self.chunks = model, chunks
        self.read = self.alive = self.most = 0
        self.lock = threading.Lock()
        self.progress = threading.Condition(self.lock)

    def __call__(self, track, config, settings, known, lost):
        for index in range(self.chunks):
            block = np.full((1, CHUNK + OVERLAP), 0.1, np.float32)
            with self.lock:
                self.read += 1
                self.alive += 1
                self.most = max(self.most, self.alive)
                self.progress.notify_all()
            weakref.finalize(block, self.freed)
            track.samples.append(CHUNK)
            track.silent.append(False)
            yield Chunk(track, index, block)

    def freed(self):
        with self.lock:
            self.alive -= 1

    def wait_until_reading_stops(self):
        """Give the reader all the lead it takes: until nothing was read for a while."""
        with self.lock:
            while self.read < self.chunks and self.progress.wait(timeout=0.3):
                pass


def most_alive(jobs, batch_size):
    """The queue full, one chunk in the hand of each reader, and one batch (and its last chunk) in each encoder."""
    return QUEUED_BATCHES * batch_size * jobs + jobs + jobs * (batch_size + 1)


@pytest.mark.parametrize(("jobs", "batch_size"), [(1, 4), (2, 2)])
def test_a_long_file_takes_no_more_memory_than_the_queue(tmp_path, model, monkeypatch, jobs, batch_size):
    source = LongSource(model, chunks=100)
    monkeypatch.setattr(pipeline, "read_chunks", source)

    def slow(call):
        if call == 1:
            source.wait_until_reading_stops()

    calls_of(model, monkeypatch, slow)
    store = extract(
        write(tmp_path / "a.wav", 100), out=tmp_path / "store", model=model, jobs=jobs, batch_size=batch_size
    )
    assert store.tracks["chunks"].item() == 100
    assert QUEUED_BATCHES * batch_size * jobs <= source.most <= most_alive(jobs, batch_size)
    assert source.alive == 0
