"""Questions in sound: files, parts of them, and snippets found in time; by an untrained model, so on its own grid."""

import copy
import shutil

import numpy as np
import pytest

from m2l2_mir.audio import save
from m2l2_mir.embedding.extract import extract
from m2l2_mir.errors import AudioError, InputError, StoreError
from m2l2_mir.index import places, presence, segments
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.model.checkpoint import load_model

MODEL = "random:m2l2-tiny"


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL, device="cpu")


@pytest.fixture(scope="module")
def sounds(model, tmp_path_factory):
    """Six tracks of coloured noise, 12 chunks each, and the folder that they lie in."""
    folder = tmp_path_factory.mktemp("sounds") / "music"
    folder.mkdir()
    rng = np.random.default_rng(5)
    chunk, rate = model.config.chunk_samples, model.config.sample_rate
    sounds = {}
    for number in range(6):
        noise = rng.normal(size=12 * chunk + 999) * 0.1
        noise = np.convolve(noise, rng.normal(size=24), "same")
        noise *= 0.5 / np.abs(noise).max() * (1 + np.sin(np.arange(len(noise)) * (number + 1) / 9000)) / 2
        sounds[f"{number}.wav"] = noise.astype(np.float32)
        save(folder / f"{number}.wav", noise[None], rate)
    return sounds, folder


@pytest.fixture(scope="module")
def index(sounds, tmp_path_factory):
    store = extract(sounds[1], out=tmp_path_factory.mktemp("store") / "s", model=MODEL, keep="chunks", device="cpu")
    return SimilarityIndex.build(store, segments=True)


def test_a_file_finds_its_track_unless_it_is_the_track(index, sounds, tmp_path):
    shutil.copy(sounds[1] / "3.wav", tmp_path / "copy.wav")
    found = index.query(tmp_path / "copy.wav", k=2, device="cpu")
    assert found["track_id"][0] == "3.wav"
    assert found["similarity"][0] == pytest.approx(1, abs=1e-4)
    assert found["similarity"][1] < 0.999
    itself = index.query(sounds[1] / "3.wav", k=6, device="cpu")
    assert itself["track_id"].tolist() == index.query("3.wav", k=6)["track_id"].tolist()
    assert itself["track_id"][0] == found["track_id"][1]
    assert len(index.query(sounds[1] / "3.wav", k=6, other=["path"], device="cpu")) == 5  # known by its place


def test_a_part_of_a_file_is_embedded_alone(index, sounds, model):
    seconds = model.config.chunk_seconds
    found = index.query(sounds[1] / "3.wav", k=1, start=2 * seconds, end=5 * seconds, device="cpu")
    assert found["track_id"][0] == "3.wav"
    assert 0.2 < found["similarity"][0] < 0.999
    by_name = index.query("3.wav", k=1, start=2 * seconds, end=5 * seconds, device="cpu")  # its file is known
    assert by_name["similarity"][0] == pytest.approx(found["similarity"][0], abs=1e-6)
    with pytest.raises(InputError, match="0 s or later to a later end: 5 to 2 s"):
        index.query(sounds[1] / "3.wav", start=5, end=2)
    with pytest.raises(AudioError, match=r"ends at .* s, before the part"):
        index.query(sounds[1] / "3.wav", start=1000)


def test_another_model_is_refused_with_both_names(index, sounds):
    with pytest.raises(
        StoreError, match=r"made with m2l2-tiny \(random:m2l2-tiny:0\), this is m2l2-tiny \(random:.*:1\)"
    ):
        index.query(sounds[1] / "3.wav", model="random:m2l2-tiny:1", device="cpu")


@pytest.mark.parametrize("away", [0, 5, 11])
def test_a_snippet_is_found_where_it_was_cut_out(index, sounds, model, tmp_path, away):
    """It begins `away` sixteenths of a chunk before a cut of the track, and the structure knows nothing of that."""
    chunk, rate = model.config.chunk_samples, model.config.sample_rate
    begin = 4 * chunk - away * chunk // 16
    save(tmp_path / "snippet.wav", sounds[0]["2.wav"][None, begin : begin + 5 * chunk], rate)
    found = index.find_segment(tmp_path / "snippet.wav", k=3, device="cpu")
    assert found["track_id"][0] == "2.wav"
    assert found["start"][0] == pytest.approx(begin / rate, abs=1e-3)
    assert found["end"][0] == pytest.approx((begin + 5 * chunk) / rate, abs=1e-3)
    assert found["similarity"][0] > 0.9 > found["similarity"][1]
    assert found["p"][0] <= 0.05 < found["p"][1]
    assert found.attrs["notes"][0].startswith("1 place stands out")
    assert found["chunks"][0] == (5 if away == 0 else 4)


@pytest.mark.parametrize(("shifts", "eighths"), [(4, -3), (1, 1)])
def test_a_start_between_two_shifts_is_approached(index, sounds, model, tmp_path, monkeypatch, shifts, eighths):
    """A snippet that begins between two of the shifts that are tried; in the end also over a cut of the track."""
    monkeypatch.setattr(places, "SHIFTS", shifts)
    chunk, rate = model.config.chunk_samples, model.config.sample_rate
    begin = 4 * chunk + eighths * chunk // 8
    save(tmp_path / "snippet.wav", sounds[0]["2.wav"][None, begin : begin + 5 * chunk], rate)
    found = index.find_segment(tmp_path / "snippet.wav", k=2, device="cpu")
    assert found["track_id"][0] == "2.wav"
    assert found["start"][0] == pytest.approx(begin / rate, abs=1e-3)


def test_sounds_that_are_nowhere_do_not_stand_out(index, sounds, model, tmp_path):
    """Noise, and a snippet whose track has been taken away: the best place is told, and that it says nothing."""
    chunk, rate = model.config.chunk_samples, model.config.sample_rate
    noise = np.random.default_rng(1).normal(size=6 * chunk).astype(np.float32) * 0.1
    without = copy.copy(index)
    without.segments = index.segments.changed(["2.wav"], [], None)
    for name, sound, asked in (
        ("noise", noise, index),
        ("absent", sounds[0]["2.wav"][4 * chunk : 9 * chunk], without),
    ):
        save(tmp_path / f"{name}.wav", sound[None], rate)
        found = asked.find_segment(tmp_path / f"{name}.wav", k=2, device="cpu")
        assert len(found) == 2
        assert found["p"].min() > 0.05
        assert found.attrs["notes"][0].startswith("No place stands out")


def test_a_place_that_is_there_twice_stands_out_in_both():
    similarity = [0.97, 0.95, 0.3, 0.28, 0.27]
    best = [
        places.Place(track=0, diagonal=9 * n, similarity=one, shift=0, chunks=5) for n, one in enumerate(similarity)
    ]
    found = presence.chances(best, np.linspace(0, 0.3, 99))
    assert np.round(found[:2], 2).tolist() == [0.01, 0.01]
    assert (found[2:4] > 0.9).all()
    assert np.isnan(found[4])  # nothing to compare it with
    assert presence.verdict(found, 99).startswith("2 places stand out (p 0.01)")
    assert presence.verdict(np.array([0.06]), 16).startswith("Nobody can tell")


@pytest.mark.parametrize("most_dead", [0.1, 0.5])
def test_segments_follow_the_library_and_are_kept(index, sounds, model, tmp_path, monkeypatch, most_dead):
    """Whether dead chunks are dropped at once or left out of the search."""
    monkeypatch.setattr(segments, "MOST_DEAD", most_dead)
    monkeypatch.setattr(places, "SHIFTS", 2)  # the snippet lies on the cuts
    chunk, rate = model.config.chunk_samples, model.config.sample_rate
    save(tmp_path / "snippet.wav", sounds[0]["5.wav"][None, 3 * chunk : 7 * chunk], rate)
    index.save(tmp_path / "idx")
    loaded = SimilarityIndex.load(tmp_path / "idx")
    assert loaded.find_segment(tmp_path / "snippet.wav", k=1, device="cpu")["track_id"].item() == "5.wav"
    loaded.remove(["5.wav"])
    assert len(loaded.segments) == 5 * 13
    loaded.save(tmp_path / "idx")
    loaded = SimilarityIndex.load(tmp_path / "idx")
    assert "5.wav" not in loaded.find_segment(tmp_path / "snippet.wav", k=9, device="cpu")["track_id"].tolist()
    store = extract(sounds[1], out=tmp_path / "s", model=MODEL, keep="chunks", device="cpu")
    assert loaded.add(store).added == ("5.wav",)
    loaded.save(tmp_path / "idx")
    loaded = SimilarityIndex.load(tmp_path / "idx")
    found = loaded.find_segment(tmp_path / "snippet.wav", k=1, device="cpu")
    assert found["track_id"].item() == "5.wav"
    assert found["start"].item() == pytest.approx(3 * chunk / rate, abs=1e-3)
    assert len(loaded.rebuild().segments) == 6 * 13


def test_snippets_that_cannot_be_found(index, sounds, model, tmp_path):
    rate = model.config.sample_rate
    save(tmp_path / "short.wav", sounds[0]["2.wav"][None, :9000], rate)
    with pytest.raises(InputError, match="hold no whole audible chunk"):
        index.find_segment(tmp_path / "short.wav", device="cpu")
    save(tmp_path / "silent.wav", np.zeros((1, 90000), np.float32), rate)
    with pytest.raises(InputError, match="is silent there"):
        index.find_segment(tmp_path / "silent.wav", device="cpu")
    store = extract(sounds[1], out=tmp_path / "s", model=MODEL, device="cpu")
    with pytest.raises(StoreError, match=r"kept no chunks.*--keep chunks"):
        SimilarityIndex.build(store, segments=True)
    with pytest.raises(InputError, match="has no segments"):
        SimilarityIndex.build(store).find_segment(tmp_path / "short.wav")
